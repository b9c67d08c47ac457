"""The schema of every key that the framework itself owns, with its range and its line of help.

Defaults live in conf/ alone. Strict: "5" is no number, true is none either, and unknown keys are errors. What
a config plugs in (data, model, optimizer, ...) is a component: a `_target_` node, which `components.py`
validates against the signature of what it names.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from assay.errors import UserError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)
T = TypeVar("T")
LONGEST_NAME = 100  # a folder's name also carries a date and an id; common file systems take 255 bytes
LETTERS = re.compile(r"[\w.+=,@-][\w.+=,@ -]*", re.ASCII)
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def about(description: str, **rules: Any) -> Any:
    """A field's line of help, and its range."""
    return Field(description=description, **rules)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def schema(cls: type[T]) -> type[T]:
    """A frozen dataclass that pydantic validates strictly, unknown keys refused."""
    made: Any = dataclass(frozen=True, kw_only=True, config=STRICT)(cls)
    return made


def safe_name(text: str) -> str:
    """The text unchanged if it can name a folder anywhere; raises `ValueError` if not."""
    if len(text) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, this one has {len(text)}")
    if not LETTERS.fullmatch(text) or text.startswith((".", "-")) or text.endswith((".", " ")):
        raise ValueError("a name is one word of letters, digits and _ - + = , @ . and cannot be a path")
    if text.partition(".")[0].lower() in RESERVED:
        raise ValueError("the name is reserved on Windows")
    return text


def local_path(text: str) -> str:
    """The path, `~` expanded; raises `ValueError` for an address and for what can be no path."""
    if "\0" in text or not text.strip():
        raise ValueError("a path has at least one character, and no NUL")
    if re.match(r"[A-Za-z][\w+.-]*:(//|:)", text):
        raise ValueError("only a file or folder on this machine can be read, no address")
    return str(Path(text).expanduser()) if text.startswith("~") else text


def inside(root: Path, name: str, key: str) -> Path:
    """The folder `name` of `root`; raises `UserError` if a link of that name leads out of `root`."""
    folder = root / name
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{key}={name} leads out of {root}: {folder} is a link to {os.path.realpath(folder)}\n"
            f"  choose another name, or remove the link"
        )
    return folder


SafeName: TypeAlias = Annotated[str, AfterValidator(safe_name)]
LocalPath: TypeAlias = Annotated[str, AfterValidator(local_path)]
Component: TypeAlias = Mapping[str, Any]  # a `_target_` node
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Limit = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, le=1.0)] | None
TrainLimit = Count | Annotated[float, Field(gt=0.0, le=1.0)] | None
Sizes = Annotated[tuple[Count, ...], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Accelerator = Literal["auto", "cpu", "gpu", "mps"]
Precision = Literal["32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed"]
Sampler = Literal["tpe", "random", "gp", "cmaes", "grid"]
Pruner = Literal["none", "median", "hyperband"]
Format = Literal["float32", "tf32", "bfloat16", "float16"]
Arm = Literal["bare", "assay", "stock", "textbook"]
SAVING = r"^[1-9][0-9]* (steps|seconds)$"


@schema
class DeviceConfig:
    accelerator: Annotated[Accelerator, about("where to train; auto takes a GPU if there is one")]
    devices: Annotated[Count | Literal["auto"], about("how many devices, one process each")]
    precision: Annotated[Precision, about("number format of weights and arithmetic")]
    threads: Annotated[Count | Literal["auto"], about("CPU threads; auto follows the model's size")]
    deterministic: Annotated[bool, about("refuse operations that differ from run to run")]


@schema
class TrainerConfig:
    max_epochs: Annotated[Count, about("passes over the training data")]
    max_steps: Annotated[Count | None, about("stop after this many optimizer steps")]
    steps_per_execution: Annotated[Count, about("optimizer steps in one call of the training step")]
    gradient_clip_val: Annotated[Positive | None, about("clip gradients at this size")]
    gradient_clip_algorithm: Annotated[
        Literal["norm", "value"], about("clip their common norm, or each value")
    ]
    check_val_every_n_epoch: Annotated[Count, about("validate after every so many epochs")]
    log_every_n_steps: Annotated[Count, about("steps averaged into one row of metrics.csv")]
    overfit_batches: Annotated[Count | None, about("train on so many batches only, to see it can learn")]
    limit_train_batches: Annotated[TrainLimit, about("batches an epoch, as a count or a share")]
    limit_val_batches: Annotated[Limit, about("the same for validation")]
    limit_test_batches: Annotated[Limit, about("the same for testing")]
    checkpoint_every: Annotated[
        str | None, about("also save inside an epoch: '500 steps' or '60 seconds'", pattern=SAVING)
    ]
    detect_anomaly: Annotated[bool, about("find the operation that made a NaN; slow")]
    profiler: Annotated[Literal["simple", "advanced", "pytorch"] | None, about("where the time goes")]


@schema
class PredictConfig:
    images: Annotated[
        LocalPath | tuple[LocalPath, ...] | None, about("pictures: files, folders, or photos/*.png")
    ]


@schema
class ExportConfig:
    formats: Annotated[
        tuple[Literal["safetensors", "pt2", "onnx"], ...], about("files that are written", min_length=1)
    ]


@schema
class SweepConfig:
    name: Annotated[SafeName | None, about("its folder's name: the same name goes on with it")]
    params: Annotated[dict[str, Any], about("what a sweep file sweeps over: key: [a, b] or key: range(1,4)")]
    mode: Annotated[Literal["product", "zip"], about("all combinations, or the i-th values together")]
    retry: Annotated[Literal["failed", "none"], about("whether failed jobs are run again with the sweep")]
    on_failure: Annotated[Literal["continue", "stop"], about("whether jobs are started after one has failed")]
    dry_run: Annotated[bool, about("list the jobs, run none")]
    metric: Annotated[
        str | None, about("what is best, such as val/loss; null: the task's first metric", min_length=1)
    ]
    direction: Annotated[Literal["auto", "max", "min"], about("which end is best; auto: as the task says")]
    workers: Annotated[Count | Literal["auto"], about("jobs at once here; auto: one a core or GPU")]
    jobs_per_gpu: Annotated[Count, about("jobs that share one GPU at a time")]
    search: Annotated[Sampler | None, about("what draws the values of a search; null: a grid")]
    trials: Annotated[Count | None, about("configs that a search tries in all")]
    seeds: Annotated[Count, about("jobs of a trial, each with a seed of its own; their mean counts")]
    prune: Annotated[Pruner, about("what stops the trials of a search that fall behind")]


@schema
class TrainConfig:
    """One run: the framework's own keys, typed, and its components."""

    seed: Annotated[Seed, about("fixes weights, batch order and dropout")]
    name: Annotated[SafeName | None, about("a word of yours in the run folder's name")]
    stages: Annotated[
        tuple[Literal["fit", "validate", "test", "predict", "export"], ...],
        about("what to do, in this order: fit, validate, test, predict, export", min_length=1),
    ]
    resume: Annotated[LocalPath | None, about("a run folder to continue, or `last`")]
    ckpt: Annotated[LocalPath | None, about("a run folder, `last`, or a checkpoint: weights to start from")]
    output_dir: Annotated[LocalPath, about("where runs, sweeps and benches are written")]
    data: Component
    model: Component
    task: Component
    optimizer: Component
    scheduler: Component | None
    device: DeviceConfig
    trainer: TrainerConfig
    logger: Annotated[dict[str, Component] | None, about("loggers beside TensorBoard and CSV")]
    callbacks: Annotated[dict[str, Component] | None, about("Lightning callbacks beside our own")]
    predict: PredictConfig
    export: ExportConfig
    sweep: SweepConfig


@schema
class BenchConfig:
    """What every bench has."""

    bench: Annotated[str, about("which bench; the others are listed by --help")]
    seconds: Annotated[Positive, about("time budget for measuring, kept")]
    devices: Annotated[
        Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)],
        about("cpu, cuda:0, mps, ...; auto takes the CPU and every GPU"),
    ]
    threads: Annotated[Literal["auto"] | Count | Sizes, about("CPU threads; auto tries one and every core")]
    seed: Annotated[Seed, about("draws the data and the order of the rounds")]
    output_dir: Annotated[LocalPath, about("where runs, sweeps and benches are written")]
    compare: Annotated[
        Annotated[tuple[str, str], Field(min_length=2, max_length=2)] | None,
        about("two result files or folders to compare instead of measuring"),
    ]
    report: Annotated[LocalPath | None, about("a result whose tables and figures are drawn again")]
    processes: Annotated[Count, about("fresh processes that share the time budget; compare wants 5")]
    fail_if_slower: Annotated[bool, about("with compare: exit 1 when a row is SLOWER")]


@schema
class MatmulConfig(BenchConfig):
    """Concept 1: the same matrix product on the CPU and on the GPU."""

    sizes: Annotated[Sizes, about("n of the n x n matrices; the largest is the headline")]
    dtypes: Annotated[
        tuple[Format, ...], about("number formats; what a device lacks is left out", min_length=1)
    ]
    sustained_seconds: Annotated[
        float, about("length of the back-to-back run that shows throttling; 0 leaves it out", ge=0)
    ]


@schema
class TransferConfig(BenchConfig):
    """Concept 1: moving data is slow."""

    megabytes: Annotated[
        tuple[Positive, ...], about("sizes of the block that is moved, in 10^6 bytes", min_length=1)
    ]
    sizes: Annotated[Sizes, about("n of the n x n tensors that are added")]


@schema
class AutogradConfig(BenchConfig):
    """Concept 2: autograd against calculus, and what the graph costs."""

    model: Annotated[Component, about("the network whose gradients are checked and timed")]
    batch_sizes: Annotated[Sizes, about("samples in one forward pass")]


@schema
class LoaderConfig(BenchConfig):
    """Concept 3: ways to feed batches."""

    samples: Annotated[Count, about("samples of shape (1, 28, 28) in the data set")]
    batch_sizes: Annotated[Sizes, about("samples in a batch")]
    workers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], about("DataLoader processes", min_length=1)]
    stream_megabytes: Annotated[Count, about("size of the memory-mapped data set, in 10^6 bytes")]
    limit_megabytes: Annotated[Count, about("memory that streaming it may add, in 10^6 bytes")]


@schema
class ModelConfig(BenchConfig):
    """Concept 4: what a network is made of and how fast it answers."""

    model: Annotated[Component, about("the network")]
    batch_sizes: Annotated[Sizes, about("samples in one forward pass")]


@schema
class OptimizerConfig(BenchConfig):
    """Concept 5: what one optimizer step costs."""

    model: Annotated[Component, about("the network whose parameters are stepped")]
    depth: Annotated[Count, about("layers of the second network, of many small tensors")]
    width: Annotated[Count, about("units in each of its layers")]


@schema
class TrainingConfig(BenchConfig):
    """Concept 6: an epoch of `train.py` against a bare tensor loop."""

    epochs: Annotated[Count, about("epochs that each arm trains, in every round")]
    repeats: Annotated[Count, about("rounds, each with every arm once, in shuffled order")]
    optimizers: Annotated[tuple[Literal["sgd", "adam"], ...], about("optimizers to train with", min_length=1)]
    batch_sizes: Annotated[Sizes, about("samples in one optimizer step")]
    arms: Annotated[
        tuple[Arm, ...], about("bare loop, Assay, stock Lightning, DataLoader loop", min_length=1)
    ]


@schema
class OverheadConfig(BenchConfig):
    """Concept 6: what a user waits for beside the training."""

    epochs: Annotated[Count, about("epochs of each run")]
    repeats: Annotated[Count, about("rounds, each with everything once")]
    jobs: Annotated[int, about("jobs of the longer of two sweeps", ge=3)]


@schema
class HardwareConfig(BenchConfig):
    """The doctor: what is here, and why something is not."""


BENCHES: dict[str, type[BenchConfig]] = {
    **{
        "matmul": MatmulConfig,
        "transfer": TransferConfig,
        "autograd": AutogradConfig,
        "loader": LoaderConfig,
    },
    **{"model": ModelConfig, "optimizer": OptimizerConfig, "training": TrainingConfig},
    **{"overhead": OverheadConfig, "hardware": HardwareConfig},
}
