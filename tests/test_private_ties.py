"""Every use of a private name of Hydra, Lightning, torch or submitit: what breaks when one changes."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from assay import CONF, PROJECT
from assay.config.compose import LAUNCHERS

SOURCE = PROJECT / "src" / "assay"
# file, and the private name in it; each has its reason beside it there
TIES = {
    ("config/compose.py", "hydra._internal.core_plugins.basic_launcher.BasicLauncher"),
    ("config/compose.py", "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"),
    ("sweep/clusters.py", "job._process"),
    ("training/history.py", "trainer.fit_loop.epoch_loop._batches_that_stepped"),
}
PUBLIC = ("_exit", "_asdict")  # of os and of named tuples, by their documentation


def private_names(path: Path) -> Iterator[str]:
    """Attributes of others that begin with one underscore, private modules, and their names as text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in PUBLIC:
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                parts = [*(node.module or "").split("."), alias.name]
                if any(part.startswith("_") and not part.startswith("__") for part in parts):
                    yield ".".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "._internal." in node.value:
            yield node.value


def test_there_are_no_others() -> None:
    found = {
        (str(path.relative_to(SOURCE)), name)
        for path in sorted(SOURCE.rglob("*.py"))
        for name in private_names(path)
    }
    assert found == TIES and len(TIES) < 10


@pytest.mark.parametrize("part", ["launcher", "sweeper"])
def test_hydras_basic_plugin_has_its_name(part: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = OmegaConf.select(compose("train", [], return_hydra_config=True), f"hydra.{part}._target_")
    (name,) = [name for _, name in TIES if f"basic_{part}" in name]
    assert node == name
    assert part != "launcher" or node == LAUNCHERS["basic"]


def test_submitits_local_job_has_a_process() -> None:
    from submitit.local.local import LocalJob

    assert "self._process" in inspect.getsource(LocalJob.__init__), "LocalJob._process"


def test_lightnings_loop_counts_the_batches_that_stepped() -> None:
    from pytorch_lightning import Trainer

    loop = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu").fit_loop.epoch_loop
    assert hasattr(loop, "_batches_that_stepped"), "_batches_that_stepped"


def test_a_checkpoint_of_lightning_has_the_loops_that_are_rewritten() -> None:
    """No private names, but no promise either: keys of the loops' state, and the counter of manual steps."""
    from pytorch_lightning import Trainer

    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    state = trainer.fit_loop.state_dict()
    for key in (
        "epoch_progress", "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress",
        "epoch_loop.manual_optimization.optim_step_progress", "epoch_loop.state_dict",
    ):  # fmt: skip
        assert key in state, key
    counter = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    assert hasattr(counter.total, "ready") and hasattr(counter.total, "completed")
