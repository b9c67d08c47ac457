"""Forty `_target_` nodes that would run a stranger's code, read or delete files, or hide such a call."""

from typing import Any


def _node(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, **arguments}


def _partial(target: str) -> dict[str, Any]:
    return _node("functools.partial", _args_=[_node(target)])


MLP = "assay.models.mlp.MNISTClassifier"

# each stands in the slot `model`
DANGEROUS: tuple[dict[str, Any], ...] = (
    # a shell
    _node("os.system", command="touch pwned"),
    _node("posix.system", command="touch pwned"),
    _node("os.popen", cmd="touch pwned"),
    _node("os.execv", path="/bin/sh", argv=["sh"]),
    _node("os._exit", status=0),
    _node("subprocess.run", args=["touch", "pwned"]),
    _node("subprocess.Popen", args=["touch", "pwned"]),
    _node("subprocess.check_output", args=["touch", "pwned"]),
    _node("pty.spawn", argv=["sh"]),
    _node("asyncio.create_subprocess_shell", cmd="touch pwned"),
    # the same by another name
    _node("logging.os.system", command="touch pwned"),
    _node("torch.nn.parallel.distributed.os.system", command="touch pwned"),
    _node("torch.optim.lr_scheduler.warnings.sys.exit", status=0),
    _node("assay.data.images.psutil.os.system", command="touch pwned"),
    _node("assay.data.files.gzip.os.system", command="touch pwned"),
    _node("assay.training.durable.write_durably", path="pwned", data="x"),
    _node("pytorch_lightning.callbacks.model_checkpoint.os.system", command="touch pwned"),
    _node("pytorch_lightning.callbacks.model_checkpoint.shutil.rmtree", path="x"),
    # Python itself
    _node("builtins.eval", expression="1"),
    _node("builtins.exec", source="1"),
    _node("builtins.open", file="pwned", mode="w"),
    _node("builtins.__import__", name="os"),
    _node("importlib.import_module", name="os"),
    _node("runpy.run_path", path_name="x.py"),
    _node("torch.nn.Module.__init__.__globals__.__getitem__", key="torch"),
    _node("torch.nn.Module.__subclasses__"),
    # pickles
    _node("torch.load", f="x.pt", weights_only=False),
    _node("torch.hub.load", repo_or_dir="a/b", model="c"),
    _node("torch.jit.load", f="x.pt"),
    _node("torch.nn.modules.module.torch.load", f="x.pt"),
    _node("numpy.load", file="x.npy", allow_pickle=True),
    _node("joblib.load", filename="x.joblib"),
    _node("pickle.loads", data="x"),
    # files
    _node("pathlib.Path.unlink", self="x"),
    _node("shutil.rmtree", path="x"),
    # dispatchers and nesting
    _partial("os.system"),
    _partial("torch.load"),
    _node("torch.nn.parallel.distributed.functools.partial", func="os.system"),
    _node(MLP, width=_node("os.system", command="touch pwned")),
    _node("torch.nn.Sequential", layers=[{"inner": [_node("subprocess.run", args=["touch", "pwned"])]}]),
)
