"""The host as a device, and what is told apart by the words of an exception."""

import numpy as np
import pytest
import torch

from assay.bench.device import (
    Cpu,
    cpu_threads,
    free_host_memory,
    is_out_of_memory,
    is_unsupported,
    matmul_precision,
    read_one,
    usable_threads,
)


def test_threads_are_set_for_torch_and_for_numpys_blas_and_put_back() -> None:
    from threadpoolctl import threadpool_info

    def blas() -> set[int]:
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    before = torch.get_num_threads(), blas()
    with cpu_threads(1):
        assert torch.get_num_threads() == 1 and blas() == {1}
    assert (torch.get_num_threads(), blas()) == before
    with cpu_threads(None):
        assert (torch.get_num_threads(), blas()) == before


def test_precision_is_set_and_put_back() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with matmul_precision("tf32"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    with matmul_precision("bfloat16"):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_real_out_of_memory_errors_are_known() -> None:
    with pytest.raises(RuntimeError) as by_torch:
        torch.empty(2**56)
    with pytest.raises(MemoryError) as by_numpy:
        np.empty(2**56)
    assert is_out_of_memory(by_torch.value) and is_out_of_memory(by_numpy.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_format_that_torch_lacks_is_known() -> None:
    with pytest.raises(NotImplementedError) as caught:
        torch.matmul(torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    assert is_unsupported(caught.value)
    assert not is_unsupported(ValueError("not implemented for"))


def test_one_value_is_read_of_any_output() -> None:
    for output in (torch.ones(3, 3), np.ones((3, 3)), (torch.ones(2), None), [np.ones(1)], torch.tensor(1.0)):
        read_one(output)


def test_the_host_is_a_device() -> None:
    cpu = Cpu()
    assert cpu.now() <= cpu.now()
    assert cpu.mark() is None
    assert 0 < cpu.free_memory() <= free_host_memory() * 1.1
    assert usable_threads()[0] == 1
