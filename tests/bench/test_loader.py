"""The lesson's batches, every way to feed them, and a stream that does not fill the memory."""

import pytest

from assay.bench import loader
from assay.bench.streaming import BATCH, SAMPLE_BYTES, stream
from tests.bench.runs import run

SMALL = ("seconds=4", "samples=64", "batch_sizes=[16]", "stream_megabytes=30", "threads=1")


def test_the_lesson_reads_4_4_2() -> None:
    record, report = run("loader", *SMALL, "workers=[0,1]", "limit_megabytes=25")
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


def test_a_stream_that_takes_more_than_its_limit_is_a_failure() -> None:
    _, report = run("loader", *SMALL, "workers=[0]", "limit_megabytes=1")
    taken = [failure for failure in report.failures if "limit_megabytes=1 allows less" in failure]
    grown = [line for line in report.lines if line.startswith("streamed")]
    assert taken or "memory grew by 0 B" in grown[0]


def test_streaming_does_not_grow_with_the_file() -> None:
    stream(10, seed=0)  # what the first stream of a process loads
    small, large = stream(10, seed=0), stream(160, seed=0)
    assert large.file_bytes > 15 * small.file_bytes
    assert large.grown_bytes < 40 * BATCH * SAMPLE_BYTES < large.file_bytes / 4
    assert large.samples * SAMPLE_BYTES == large.file_bytes
    assert large.checksum_right


@pytest.mark.parametrize("way", loader.WAYS)
def test_every_way_gives_each_sample_once(way: str) -> None:
    images = loader.Images(50, seed=0)
    images.labels = loader.torch.arange(50)
    batches = list(loader.batches(images, way, 16, workers=0)())
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    seen = [int(label) for _, labels in batches for label in labels]
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)
