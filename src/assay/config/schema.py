"""What a schema is made of: strict pydantic dataclasses whose fields carry type, range and a line of help."""

from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def schema(cls: type[T]) -> type[T]:
    """A frozen dataclass that pydantic judges strictly, unknown keys refused."""
    made: Any = dataclass(frozen=True, kw_only=True, config=STRICT)(cls)
    return made


Slot = Mapping[str, Any]  # a `_target_` node, judged against its constructor by `slots.py`
