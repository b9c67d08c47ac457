"""The typed frame of `train.yaml`: what the framework itself owns, with ranges; defaults live in conf/."""

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.config.names import LocalPath, SafeName
from assay.config.schema import Slot, schema

Count = Annotated[int, Field(ge=1)]
Limit = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, le=1.0)] | None


@schema
class DeviceConfig:
    accelerator: Annotated[
        Literal["auto", "cpu", "gpu", "mps"],
        Field(description="where to train; auto takes a GPU if there is one"),
    ]
    devices: Annotated[Count | Literal["auto"], Field(description="how many devices, one process each")]
    precision: Annotated[
        Literal["32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed"],
        Field(description="number format of weights and arithmetic"),
    ]
    strategy: Annotated[Literal["auto", "ddp"], Field(description="how several devices share the work")]
    threads: Annotated[
        Count | Literal["auto"], Field(description="CPU threads; auto follows the model's size")
    ]
    deterministic: Annotated[bool, Field(description="refuse operations that differ from run to run")]


@schema
class TrainerConfig:
    max_epochs: Annotated[Count, Field(description="passes over the training data")]
    max_steps: Annotated[Count | None, Field(description="stop after this many optimizer steps")]
    steps_per_execution: Annotated[
        Count, Field(description="optimizer steps in one call of the training step")
    ]
    gradient_clip_val: Annotated[
        Annotated[float, Field(gt=0)] | None, Field(description="clip gradients at this size")
    ]
    gradient_clip_algorithm: Annotated[
        Literal["norm", "value"], Field(description="clip the norm of all gradients, or each value")
    ]
    check_val_every_n_epoch: Annotated[Count, Field(description="validate after every so many epochs")]
    log_every_n_steps: Annotated[Count, Field(description="steps averaged into one row of metrics.csv")]
    overfit_batches: Annotated[
        Count | None, Field(description="train on the samples of so many batches only, to see it can learn")
    ]
    limit_train_batches: Annotated[Limit, Field(description="batches an epoch, as a count or a share")]
    limit_val_batches: Annotated[Limit, Field(description="the same for validation")]
    limit_test_batches: Annotated[Limit, Field(description="the same for testing")]
    checkpoint_every: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]* (steps|seconds)$",
            description="also save inside an epoch: '500 steps' or '60 seconds'",
        ),
    ]
    detect_anomaly: Annotated[bool, Field(description="find the operation that made a NaN; slow")]
    profiler: Annotated[
        Literal["simple", "advanced", "pytorch"] | None, Field(description="where the time goes")
    ]


@schema
class SweepConfig:
    name: Annotated[SafeName | None, Field(description="its folder's name: the same name goes on with it")]
    params: Annotated[
        dict[str, Any], Field(description="what a sweep file sweeps over: key: [a, b] or key: range(1,4)")
    ]
    mode: Annotated[
        Literal["product", "zip"], Field(description="all combinations, or the i-th values together")
    ]
    retry: Annotated[
        Literal["failed", "none"], Field(description="whether failed jobs are run again with the sweep")
    ]
    on_failure: Annotated[
        Literal["continue", "stop"], Field(description="whether jobs are started after one has failed")
    ]
    dry_run: Annotated[bool, Field(description="list the jobs, run none")]
    metric: Annotated[
        Literal["val/accuracy", "val/loss", "test/accuracy", "test/loss", "train/accuracy", "train/loss"],
        Field(description="what the leaderboard is sorted by"),
    ]
    direction: Annotated[
        Literal["auto", "max", "min"], Field(description="which end is best; auto: less of a loss, else more")
    ]
    workers: Annotated[
        Count | Literal["auto"], Field(description="jobs at once on this machine; auto: one a GPU, or a core")
    ]
    jobs_per_gpu: Annotated[Count, Field(description="jobs that share one GPU at a time")]


@schema
class TrainConfig:
    """One run, as judged: the frame is typed, the slots are `_target_` nodes."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="fixes weights, batch order and dropout")]
    name: Annotated[SafeName | None, Field(description="a word of yours in the run folder's name")]
    stages: Annotated[
        tuple[Literal["fit", "validate", "test"], ...],
        Field(min_length=1, description="what to do, in order"),
    ]
    resume: Annotated[LocalPath | None, Field(description="a run folder to continue, or `last`")]
    ckpt: Annotated[
        LocalPath | None, Field(description="a run folder or checkpoint whose weights to start from")
    ]
    output_dir: Annotated[LocalPath, Field(description="where runs, sweeps and benches are written")]
    data: Slot
    model: Slot
    optimizer: Slot
    scheduler: Slot | None
    device: DeviceConfig
    trainer: TrainerConfig
    logger: Annotated[dict[str, Slot] | None, Field(description="loggers beside TensorBoard and CSV")]
    callbacks: Annotated[dict[str, Slot] | None, Field(description="Lightning callbacks beside our own")]
    sweep: SweepConfig
