"""Blocks arrive unchanged, and both ways of adding are there."""

import torch

from assay.bench import transfer
from assay.bench.device import Device
from tests.bench.fake import HostAsGpu
from tests.bench.runs import run

SMALL = ("seconds=60", "megabytes=[0.004,0.1]", "sizes=[16,32]", "threads=1")


def test_without_a_gpu_there_are_host_rows_only() -> None:
    record, report = run("transfer", *SMALL)
    assert {(m.task.what, m.task.size) for m in record.ok()} == {
        ("host copy", 4_000), ("host copy", 100_000), ("sum", 16), ("sum", 32)
    }  # fmt: skip
    assert report.lines[0].startswith("host copy: at most ")
    found = record.ok(what="host copy", size=100_000)[0]
    assert found.task.moved == 200_000  # each byte is read and written


def test_with_a_gpu_all_directions_and_both_kinds_of_memory_are_there() -> None:
    record, report = run("transfer", *SMALL, devices=[Device("cpu"), HostAsGpu()])
    ways = {(m.task.what, m.task.by) for m in record.ok(device="cuda:0")}
    assert ways == {
        ("device copy", "torch"), ("host to device", "pageable"), ("host to device", "pinned"),
        ("device to host", "pageable"), ("device to host", "pinned"),
        ("sum", "in place"), ("sum", "moved every call"),
    }  # fmt: skip
    assert any("beats the CPU" in line for line in report.lines)
    assert set(report.summary["crossover"]["cuda:0"]) == {"in place", "moved every call"}


def test_a_number_that_changed_on_the_way_is_seen() -> None:
    block = transfer.block(4_000, seed=0)
    assert transfer.same(block.clone(), 4_000, 0).right
    block[17] += 1
    check = transfer.same(block, 4_000, 0)
    assert not check.right
    assert check.suspicion == "; 1 numbers changed on the way"


def test_large_blocks_repeat_what_was_drawn() -> None:
    block = transfer.block(4 * (transfer.DRAWN + 10), seed=0)
    assert len(block) == transfer.DRAWN + 10
    assert torch.equal(block[:10], block[-10:])


def test_adding_in_place_allocates_nothing() -> None:
    (job,) = transfer.sum_jobs(16, [(Device("cpu"), 1)], seed=0)
    add = job.prepare()
    first, second = add(), add()
    assert first.data_ptr() == second.data_ptr()  # both are there: no new memory was taken
