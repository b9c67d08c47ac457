"""The table of wrong inputs: what was typed, and the right name or rule that the answer must hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """Words of a command line; `says` must stand in the answer; `{mine}` is a folder of a user's files."""

    words: tuple[str, ...]
    says: tuple[str, ...]
    constructor: bool = False  # whether a class has to be looked at, which imports torch
    command: str = "train"

    @property
    def name(self) -> str:
        return " ".join(self.words)


def _frame(words: str, *says: str) -> Wrong:
    return Wrong(tuple(words.split()), says)


def _slot(words: str, *says: str) -> Wrong:
    return Wrong(tuple(words.split()), says, constructor=True)


def _bench(words: str, *says: str) -> Wrong:
    return Wrong(tuple(words.split()), says, command="bench")


def _mine(words: str, *says: str, constructor: bool = False) -> Wrong:
    return Wrong(("--config-dir", "{mine}", *words.split()), says, constructor)


# YAML files of a user's own, each with one mistake
FILES = {
    "experiment/typo.yaml": "# @package _global_\ntrainer:\n  max_epoch: 3\n",
    "experiment/top.yaml": "# @package _global_\nsead: 3\n",
    "experiment/option.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: adma\n",
    "experiment/range.yaml": "# @package _global_\nseed: -3\n",
    "experiment/broken.yaml": "# @package _global_\ntrainer: {max_epochs: 3\nseed: 3\n",
    "experiment/cycle.yaml": "# @package _global_\nname: ${output_dir}\noutput_dir: ${name}\n",
    "experiment/slot.yaml": "# @package _global_\nmodel:\n  widht: 5\n",
    "trainer/typo.yaml": "defaults: [default, _self_]\nmax_epohcs: 3\n",
    "trainer/text.yaml": "defaults: [default, _self_]\nmax_epochs: three\n",
    "optimizer/missing.yaml": "_target_: torch.optim.Adam\nlr: ???\n",
    "device/typo.yaml": "defaults: [auto, _self_]\naccelerator: gpuu\n",
    "model/target.yaml": "_target_: assay.models.mlp.MNISTClasifier\nwidth: 5\n",
    "model/key.yaml": "_target_: assay.models.mlp.MNISTClassifier\nwidht: 5\n",
    "model/none.yaml": "width: 5\n",
    "model/misspelt.yaml": "target_: assay.models.mlp.MNISTClassifier\n",
    "callbacks/nameless.yaml": "_target_: pytorch_lightning.callbacks.EarlyStopping\n",
    "optimizer/range.yaml": "_target_: torch.optim.Adam\nlr: -1\n",
    "sweep/items.yaml": "params:\n  - seed: [0, 1]\n",
    "sweep/empty.yaml": "params:\n  seed: []\n",
    "sweep/name.yaml": "params:\n  sweep:\n    name: [a, b]\n",
    "sweep/typo.yaml": "parms:\n  seed: [0, 1]\n",
    "callbacks/key.yaml": (
        "stop:\n  _target_: pytorch_lightning.callbacks.EarlyStopping\n  monitor: val/loss\n  patiense: 3\n"
    ),
}

WRONG = (
    # a group misspelt
    _frame("optimzer=adam", "optimizer=adam"),
    _frame("modle=cnn", "model=cnn"),
    _frame("datas=mnist", "data=mnist"),
    _frame("shceduler=cosine", "scheduler=cosine"),
    _frame("devise=cpu", "device=cpu"),
    # an option misspelt
    _frame("optimizer=adma", "optimizer=adam", "adam, sgd"),
    _frame("model=mpl", "model=mlp"),
    _frame("data=mnits", "data=mnist"),
    _frame("scheduler=cosin", "scheduler=cosine"),
    _frame("device=cppu", "device=cpu"),
    _frame("device=tpu", "device=cpu", "auto, cpu, ddp, gpu, mps"),
    _frame("model=resnet", "cnn, mlp"),
    _frame("experiment=nothing", "experiment=nothing"),
    # a key misspelt
    _frame("sead=1", "seed=1"),
    _frame("stage=[test]", "stages=[test]"),
    _frame("ouput_dir=x", "output_dir=x"),
    _frame("resum=last", "resume=last"),
    _frame("trainer.max_epoch=5", "trainer.max_epochs=5"),
    _frame("trianer.max_epochs=5", "trainer.max_epochs=5"),
    _frame("trainer.max_epohcs=5", "trainer.max_epochs=5"),
    _frame("device.precison=16-mixed", "device.precision=16-mixed"),
    _frame("sweep.nam=x", "sweep.name=x"),
    _frame("model.widht=5", "model.width=5"),
    _frame("data.batchsize=5", "data.batch_size=5"),
    _frame("optimizer.lrr=0.1", "optimizer.lr=0.1"),
    # words of other tools
    _frame("lr=0.1", "optimizer.lr"),
    _frame("epochs=3", "trainer.max_epochs"),
    _frame("batch_size=32", "data.batch_size"),
    _frame("width=64", "model.width=64"),
    _frame("gpus=1", "device=gpu"),
    _frame("trainer.gpus=1", "device=gpu"),
    _frame("trainer.accumulate_grad_batches=4", "data.batch_size"),
    # behind a plus
    _frame("+trainer.max_epoch=5", "trainer.max_epochs=5"),
    _frame("+sead=1", "seed=1"),
    _frame("++trainer.max_stesp=5", "trainer.max_steps=5"),
    _frame("+trainer.max_epochs=5", "leave the + out: trainer.max_epochs=5"),
    _frame("+model=cnn", "leave the + out: model=cnn"),
    # a wrong type
    _frame("trainer.max_epochs=abc", "a whole number of at least 1", "trainer.max_epochs=5"),
    _frame("trainer.max_epochs=2.5", "a whole number"),
    _frame("seed=zero", "a whole number from 0 to 4294967295"),
    _frame('seed="5"', 'seed="5"', "a whole number"),
    _frame("trainer.detect_anomaly=1", "true or false"),
    _frame("sweep.dry_run=maybe", "true or false"),
    _frame("stages=fit", "a list"),
    _frame("stages=[fit,tset]", "did you mean test"),
    _frame("device.precision=f16", "32-true, 64-true"),
    _frame("device.accelerator=gpuu", "device.accelerator=gpu"),
    _frame("sweep.retry=maybe", "failed, none"),
    _frame("sweep.direction=maxx", "sweep.direction=max"),
    _frame("trainer=5", "options of trainer: default"),
    _frame("optimizer=3", "adam, sgd"),
    # out of range
    _frame("trainer.max_epochs=0", "at least 1"),
    _frame("seed=-1", "from 0"),
    _frame("device.threads=0", "at least 1 or auto"),
    _frame("trainer.limit_train_batches=1.5", "above 0.0 and of at most 1.0"),
    _frame("trainer.gradient_clip_val=-1", "above 0"),
    _frame("trainer.gradient_clip_val=nan", "above 0"),
    _frame("trainer.checkpoint_every=soon", "'500 steps'"),
    _frame("stages=[]", "at least 1"),
    # a value missing, grammar, sweeps without -m
    _frame("trainer.max_epochs=", "a whole number"),
    _frame("seed=null", "a whole number"),
    _frame("seed=???", "seed needs a value"),
    _frame("optimizer", "optimizer=<adam|sgd>"),
    _frame("adam", "optimizer=adam"),
    _frame("stages=[fit", "the value cannot be read"),
    Wrong(("name=a, b {c",), ("quote",)),
    _frame("seed=0,1", "add -m"),
    _frame("seed=range(3)", "add -m"),
    _frame("~trainer.max_epochs", "trainer.max_epochs is missing"),
    _frame("--hepl", "--help"),
    _frame("dif=[a,b]", "diff=[a, b]"),
    _frame("diff=a", "diff=[outputs/runs/A,outputs/runs/B]"),
    _frame("reproduse=outputs/runs/x", "reproduce=outputs/runs/x"),
    _frame("reproduce=no_such_folder", "no run folder"),
    _frame("hydra.job.nmae=x", "hydra.job.nmae=x is refused"),
    _frame("--cfg jbo", "job"),
    # interpolations, paths, names
    _frame("name=${nmae}", "name", "nmae"),
    _frame("output_dir=${output_dir}", "back to itself"),
    _frame("name=../x", "cannot be a path"),
    _frame("ckpt=http://example.org/x.ckpt", "ckpt", "no address"),
    _frame("resume=s3://bucket/run", "no address"),
    _frame("--config-dir no_such_folder", "no_such_folder"),
    _frame("--experimental-rerun x.pickle", "pickle"),
    # in files of a user's own
    _mine("experiment=typo", "experiment/typo.yaml", "trainer.max_epochs=3"),
    _mine("experiment=top", "experiment/top.yaml", "seed=3"),
    _mine("experiment=option", "experiment=option asks for", "optimizer=adam"),
    _mine("experiment=range", "experiment/range.yaml", "from 0"),
    _mine("experiment=broken", "experiment/broken.yaml"),
    _mine("experiment=cycle", "experiment/cycle.yaml", "back to itself"),
    _mine("experiment=tpyo", "experiment=typo"),
    _mine("trainer=typo", "trainer/typo.yaml", "trainer.max_epochs=3"),
    _mine("trainer=text", "trainer/text.yaml", "a whole number"),
    _mine("optimizer=missing", "optimizer/missing.yaml", "needs a value"),
    _mine("device=typo", "device/typo.yaml", "device.accelerator=gpu"),
    _mine("model=target", "MNISTClassifier", "model/target.yaml", constructor=True),
    _mine("model=key", "model/key.yaml", "model.width", constructor=True),
    _mine("model=none", "needs a _target_"),
    _mine("optimizer=range", "Invalid learning rate: -1", constructor=True),
    _mine("callbacks=key", "callbacks/key.yaml", "patience", constructor=True),
    _mine("experiment=slot", "experiment/slot.yaml", "model.width", constructor=True),
    # what a constructor knows
    _slot("optimizer.lr=abc", "a number"),
    _slot("optimizer.lr=-1", "Invalid learning rate: -1"),
    _slot("optimizer.betas=[0.9]", "a list of 2 values"),
    _slot("optimizer.eps=1e-7", "+optimizer.eps=1e-7"),
    _slot("+optimizer.epss=1e-7", "optimizer.eps"),
    _slot("optimizer.momentum=0.9", "optimizer=sgd"),
    _slot("+model.depth=3", "width"),
    _slot("model.width=0", "at least 1"),
    _slot("model.width=wide", "a whole number"),
    _slot("data.batch_size=0", "at least 1"),
    _slot("data.val_size=60000", "59999"),
    _slot("data.in_memory=maybe", "true or false or auto"),
    _slot("scheduler.warmup=2", "below 1"),
    _slot("model._target_=assay.models.mlp.MNISTClasifier", "MNISTClassifier"),
    _slot("optimizer._target_=torch.nn.Linear", "no torch.optim"),
    _slot("scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau", "waits for a metric"),
    # a sweep's jobs, and the bench
    _mine("sweep=items", "sweep/items.yaml", "a list stands where keys with values are needed"),
    _mine("sweep=empty", "seed has no values"),
    _mine("sweep=name", "sweep.name cannot be swept over"),
    _mine("sweep=typo", "sweep/typo.yaml", "sweep.params"),
    _frame("-m seed=0, 1, 2", "without blanks", "type seed=0,1,2"),
    _frame("model = cnn", "without blanks", "type model=cnn"),
    _frame("model= cnn", "without blanks", "type model=cnn"),
    _frame("--model cnn", "no dashes", "model=<value>"),
    _frame("-m seed=0,1 sweep.metric=accuracy", "did you mean sweep.metric=val/accuracy?"),
    _mine("callbacks=nameless", "callbacks/nameless.yaml", "needs a name over it"),
    _mine("model=misspelt", "model/misspelt.yaml", "did you mean _target_ for target_?"),
    _frame("-m ~data._target_ seed=1,2", "data needs a _target_"),
    _frame("-m data.target=foo seed=1,2", "one of label, ink, image"),
    _frame("-m seed=1,1", "jobs 1 and 2 of 2 are the same: seed=1"),
    _frame("-m logger=csv,none seed=0", "the same: logger=csv and logger=none", "all but paths"),
    _frame("-m seed=choice(", "the value cannot be read"),
    _frame("-m adam seed=0,1", "optimizer=adam"),
    _frame("-m output_dir=Läufe", "quote"),
    _frame("-m +experiment=cnn,fast", "leave the + out: experiment=cnn"),
    _frame("-m seed=0,1 stages=[fit] sweep.metric=test/loss", "no job has the stage", "without test"),
    _frame("-m seed=0,1 hydra.launcher.n_jobs=2", "sweep.workers=2"),
    _frame("leaderboard=a,b", "leaderboard=[outputs/sweeps/A,outputs/sweeps/B]"),
    _frame("-m seed=0,x", "seed=x"),
    _frame("-m optimizer=sgd,adma", "optimizer=adam"),
    _frame("-m trainer.max_epoch=1,2", "trainer.max_epochs"),
    _bench("bench=matmull", "bench=matmul"),
    _bench("sizes=[0]", "at least 1"),
    _bench("sizes=[-5]", "at least 1"),
    _bench("dtypes=[flaot32]", "float32"),
    _bench("seconds=abc", "above 0"),
    _bench("size=[3]", "sizes=[3]"),
)
