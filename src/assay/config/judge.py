"""Judges a composed config against a schema and lists every problem at once."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from assay.errors import UserError

T = TypeVar("T")


def judge(schema: type[T], node: Any, key: str = "") -> T:
    """The node as a frozen, typed object of `schema`; `key` is where the node stands in the whole config.

    Raises `UserError` with all problems of the node.
    """
    plain: Mapping[str, Any] = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    try:
        # as JSON, strict means what a YAML author expects: a list is a tuple, but "5" and true are no numbers
        return TypeAdapter(schema).validate_json(json.dumps(plain))
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in (*filter(None, [key]), *problem['loc']))}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise UserError("\n".join(lines)) from None
