"""What is taken for too little memory, and what is said of it; R14 in tests/reliability has whole runs."""

import pytest
import torch

from assay.errors import RunFailed
from assay.run.failures import explained_out_of_memory, is_out_of_memory, peak_bytes
from tests.runs import config


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can allocate"), False),
    ],
)
def test_which_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained_out_of_memory(config()):
        raise RuntimeError("shapes")


def test_the_message() -> None:
    with pytest.raises(RunFailed) as failure, explained_out_of_memory(config("data.batch_size=1")):
        raise MemoryError
    assert "with data.batch_size=1 (peak " in str(failure.value)
    assert "try data.batch_size=1, or model.width=64" in str(failure.value)
    assert isinstance(failure.value.__cause__, MemoryError)


def test_the_peak_is_that_of_the_process() -> None:
    before = peak_bytes(on_gpu=False)
    block = torch.ones(64 * 1024**2, dtype=torch.uint8)
    assert peak_bytes(on_gpu=False) >= before > block.numel() // 2
