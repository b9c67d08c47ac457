"""The typed keys of every bench, with ranges; defaults live in conf/bench/ alone. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from assay.config.schema import Slot, schema
from assay.errors import UserError

Count = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[Count, ...], Field(min_length=1)]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]


@schema
class BenchConfig:
    """What every bench has."""

    bench: Annotated[str, Field(description="which bench; the others are listed by --help")]
    seconds: Annotated[float, Field(gt=0, description="time budget for measuring, kept")]
    devices: Annotated[
        Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)],
        Field(description="cpu, cuda:0, mps, ...; auto takes the CPU and every GPU"),
    ]
    threads: Annotated[
        Literal["auto"] | Count | Annotated[tuple[Count, ...], Field(min_length=1)],
        Field(description="CPU threads, one number or a list; auto tries one and every core"),
    ]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="draws the data and the order of the rounds")]
    output_dir: Annotated[str, Field(min_length=1, description="where runs, sweeps and benches are written")]
    compare: Annotated[
        Annotated[tuple[str, str], Field(min_length=2, max_length=2)] | None,
        Field(description="two result files or folders to compare instead of measuring"),
    ]
    report: Annotated[
        str | None, Field(min_length=1, description="a result whose tables and figures are drawn again")
    ]
    processes: Annotated[
        Count, Field(description="fresh processes that share the time budget; compare wants 5")
    ]
    fail_if_slower: Annotated[bool, Field(description="with compare: exit 1 when a row is SLOWER")]


@schema
class MatmulConfig(BenchConfig):
    """Concept 1: the same matrix product on the CPU and on the GPU."""

    sizes: Annotated[Sizes, Field(description="n of the n x n matrices; the largest is the headline")]
    dtypes: Annotated[
        tuple[Precision, ...],
        Field(min_length=1, description="number formats; what a device lacks is left out"),
    ]
    sustained_seconds: Annotated[
        float,
        Field(ge=0, description="length of the back-to-back run that shows throttling; 0 leaves it out"),
    ]


@schema
class TransferConfig(BenchConfig):
    """Concept 1: moving data is slow."""

    megabytes: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(min_length=1, description="sizes of the block that is moved, in 10^6 bytes"),
    ]
    sizes: Annotated[Sizes, Field(description="n of the n x n tensors that are added")]


@schema
class AutogradConfig(BenchConfig):
    """Concept 2: autograd against calculus, and what the graph costs."""

    model: Annotated[Slot, Field(description="the network whose gradients are checked and timed")]
    batch_sizes: Annotated[Sizes, Field(description="samples in one forward pass")]


@schema
class LoaderConfig(BenchConfig):
    """Concept 3: ways to feed batches."""

    samples: Annotated[Count, Field(description="samples of shape (1, 28, 28) in the data set")]
    batch_sizes: Annotated[Sizes, Field(description="samples in a batch")]
    workers: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, description="DataLoader processes")
    ]
    stream_megabytes: Annotated[Count, Field(description="size of the memory-mapped data set, in 10^6 bytes")]
    limit_megabytes: Annotated[Count, Field(description="memory that streaming it may add, in 10^6 bytes")]


@schema
class ModelConfig(BenchConfig):
    """Concept 4: what a network is made of and how fast it answers."""

    model: Annotated[Slot, Field(description="the network")]
    batch_sizes: Annotated[Sizes, Field(description="samples in one forward pass")]


@schema
class OptimizerConfig(BenchConfig):
    """Concept 5: what one optimizer step costs."""

    model: Annotated[Slot, Field(description="the network whose parameters are stepped")]
    depth: Annotated[Count, Field(description="layers of the second network, of many small tensors")]
    width: Annotated[Count, Field(description="units in each of its layers")]


@schema
class TrainingConfig(BenchConfig):
    """Concept 6: an epoch of `train.py` against a bare tensor loop."""

    epochs: Annotated[Count, Field(description="epochs that each arm trains, in every round")]
    repeats: Annotated[Count, Field(description="rounds, each with every arm once, in shuffled order")]
    optimizers: Annotated[
        tuple[Literal["sgd", "adam"], ...], Field(min_length=1, description="optimizers to train with")
    ]
    batch_sizes: Annotated[Sizes, Field(description="samples in one optimizer step")]
    arms: Annotated[
        tuple[Literal["bare", "assay", "stock", "textbook"], ...],
        Field(min_length=1, description="ways to train: bare loop, Assay, stock Lightning, textbook loop"),
    ]


@schema
class HardwareConfig(BenchConfig):
    """The doctor: what is here, and why something is not."""


BENCHES: dict[str, type[BenchConfig]] = {
    "matmul": MatmulConfig,
    "transfer": TransferConfig,
    "autograd": AutogradConfig,
    "loader": LoaderConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "training": TrainingConfig,
    "hardware": HardwareConfig,
}


def bench_schema(name: str) -> type[BenchConfig]:
    """The schema of the bench that `bench=<name>` chose. Raises `UserError` where none is chosen."""
    if name not in BENCHES:
        raise UserError(f"bench: one is needed\n  allowed: {', '.join(BENCHES)}")
    return BENCHES[name]
