"""Which samples make up which batch: a function of (seed, epoch) alone, so that resuming is exact."""

import hashlib

import torch
from torch import Tensor


def epoch_order(num_samples: int, seed: int, epoch: int) -> Tensor:
    """A permutation of the sample indices, shape (num_samples,), from a generator of its own."""
    return torch.randperm(num_samples, generator=epoch_generator(seed, epoch))


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A generator for one epoch; hashing keeps (seed 0, epoch 1) and (seed 1, epoch 0) apart."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
