"""Live bytes of cases that can be counted by hand."""

import torch

from assay.bench.live_memory import live_bytes

X = torch.zeros(1000)  # 4000 bytes


def test_a_chain_frees_what_it_no_longer_needs() -> None:
    assert live_bytes(lambda: ((X + 1) + 1) + 1) == (8000, 4000)


def test_names_keep_tensors_alive() -> None:
    def named() -> torch.Tensor:
        a = X + 1
        b = a + 1
        return b + 1

    assert live_bytes(named) == (12_000, 4000)


def test_views_and_in_place_results_are_no_new_memory() -> None:
    assert live_bytes(lambda: X.view(10, 100)) == (0, 0)
    assert live_bytes(lambda: torch.zeros(1000).add_(1)[:5]) == (4000, 4000)


def test_it_counts_under_inference_mode() -> None:
    def inferred() -> torch.Tensor:
        with torch.inference_mode():
            return (X + 1) + 1

    assert live_bytes(inferred) == (8000, 4000)
