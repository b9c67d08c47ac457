"""How much memory a piece of work holds at its peak, on any device: the bytes of all tensors alive at once.

PyTorch counts allocations on a GPU but not on the CPU. Here every operation's outputs are followed until
their storage is freed, so that both are counted alike; what a kernel takes for itself inside an operation
is not seen.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@final
class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of storages made while it is active, and the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known = set[int]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # what goes in was there before: views and in-place results of it are no new memory
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}  # pyright: ignore[reportPrivateUsage]
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if _is_tensor(leaf) and leaf.untyped_storage()._cdata not in given | self._known:  # pyright: ignore[reportPrivateUsage]
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        size, identity = storage.nbytes(), storage._cdata  # pyright: ignore[reportPrivateUsage]
        self._known.add(identity)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, identity, size)

    def _forget(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.live -= size


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


class LiveBytes(NamedTuple):
    """Bytes of tensors beyond those that were there before the call."""

    peak: int  # the most that were alive at once
    kept: int  # alive at the end, with the result


def live_bytes(call: Callable[[], Any]) -> LiveBytes:
    """Do the call once and follow its tensors."""
    with _LiveTensors() as counted:
        result = call()
        kept = counted.live
    del result
    return LiveBytes(counted.peak, kept)
