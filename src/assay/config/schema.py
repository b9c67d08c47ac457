"""What a schema is made of: strict pydantic dataclasses whose fields carry type, range and one line of help."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, extra="forbid")
schema = dataclass(frozen=True, kw_only=True, config=STRICT)

Slot = Mapping[str, Any]  # a `_target_` node, judged against its constructor by `slots.py`
