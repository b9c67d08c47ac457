"""The lesson's batches, every way to feed them, and a stream that does not fill the memory."""

import pytest
import torch
from torch.utils.data import TensorDataset

from assay.bench import loader
from assay.bench.loader import BATCH, SAMPLE_BYTES, stream
from assay.bench.model import images
from assay.bench.record import Record
from tests.bench.runs import run

SMALL = ("seconds=60", "samples=64", "batch_sizes=[16]", "stream_megabytes=30", "threads=1")


def test_the_lesson_reads_4_4_2() -> None:
    record, report = run("loader", *SMALL, "workers=[0,1]", "limit_megabytes=20")
    assert report.lines[1:5] == (
        "  batch 1: features [4, 3], labels [4]",
        "  batch 2: features [4, 3], labels [4]",
        "  batch 3: features [2, 3], labels [2]",
        "  batches of 4, 4, 2",
    )
    assert report.failures == ()
    ways = {m.task.by for m in record.ok(what="epoch", size=16)}
    assert ways == {
        "per sample, 0 workers", "per sample, 1 workers", "batched indices, 0 workers",
        "batched indices, 1 workers", "tensors in memory, 0 workers",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grown_bytes": 33_000_000}, "streaming took 33 MB, limit_megabytes=32 allows less"),
        ({"checksum_right": False}, "streaming gave other bytes than were written"),
    ],
)
def test_a_stream_that_fills_the_memory_or_changes_its_bytes_is_a_failure(
    changed: dict[str, object], said: str
) -> None:
    found = {"file_bytes": 10**9, "grown_bytes": 10**6, "seconds": 1.0, "checksum_right": True}
    for stream_found, failures in ((found, ()), (found | changed, (said,))):
        record = Record(details={"shapes": [], "stream": stream_found, "limit_megabytes": 32})
        assert loader.report(record).failures == failures


def test_streaming_does_not_grow_with_the_file() -> None:
    stream(10, seed=0)  # what the first stream of a process loads
    small, large = stream(10, seed=0), stream(160, seed=0)
    assert large["file_bytes"] > 15 * small["file_bytes"]
    assert large["grown_bytes"] < 20 * BATCH * SAMPLE_BYTES < large["file_bytes"] / 8
    assert large["checksum_right"]


@pytest.mark.parametrize("way", loader.WAYS)
def test_every_way_gives_each_sample_once(way: str) -> None:
    numbered = TensorDataset(images(50, seed=0), torch.arange(50))
    batches = list(loader.batches(numbered, way, 16, workers=0)())
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    seen = [int(label) for _, labels in batches for label in labels]
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)
