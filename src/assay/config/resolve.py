"""Resolves the interpolations of a composed config, and says what is wrong with each that cannot be."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from assay.config.describe import show
from assay.config.problems import Problem

MISSING = "???"


def _reason(error: Exception) -> str:
    """The first line of an interpolation error in a person's words."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RecursionError) or "Recursive" in text or "recursion" in text:
        return "the interpolation leads back to itself"
    return text[:1].lower() + text[1:]


def _leaf(node: DictConfig | ListConfig, name: Any, raw: Any, key: str, problems: list[Problem]) -> Any:
    """The resolved value of one leaf; None and a problem where there is none."""
    if raw == MISSING:
        problems.append(Problem(key, f"{key} needs a value", (f"give one: {key}=...",)))
        return None
    try:
        value: Any = node[name]
    except (OmegaConfBaseException, RecursionError) as error:
        problems.append(Problem(key, f"{key}={raw} cannot be resolved: {_reason(error)}"))
        return None
    return _walk(value, key, problems) if OmegaConf.is_config(value) else value


def _walk(node: DictConfig | ListConfig, key: str, problems: list[Problem]) -> Any:
    raw: Any = OmegaConf.to_container(node, resolve=False)
    if raw is None:
        return None
    values: dict[Any, Any] = {}
    for name, inner in raw.items() if isinstance(raw, dict) else enumerate(raw):
        full = f"{key}.{name}" if key else str(name)
        values[name] = _leaf(node, name, inner, full, problems)
    return values if isinstance(raw, dict) else list(values.values())


def resolved(node: DictConfig, key: str = "") -> tuple[dict[str, Any], list[Problem]]:
    """The plain, resolved mapping and one problem for each value that is missing or cannot be resolved."""
    problems: list[Problem] = []
    plain = _walk(node, key, problems)
    return plain if isinstance(plain, dict) else {}, problems


def keys_of(plain: Any, key: str = "") -> list[str]:
    """All dotted keys of a plain config, those of mappings too."""
    if not isinstance(plain, dict):
        return [key]
    inner = [
        name
        for part, value in plain.items()
        for name in keys_of(value, f"{key}.{part}" if key else str(part))
    ]
    return [key, *inner] if key else inner


def value_at(plain: Any, key: str) -> Any:
    """The value at a dotted key of a plain config; None where there is none."""
    for part in key.split(".") if key else []:
        if isinstance(plain, list) and part.isdigit() and int(part) < len(plain):
            plain = plain[int(part)]
        elif isinstance(plain, dict) and part in plain:
            plain = plain[part]
        else:
            return None
    return plain


def shown_with(key: str, value: object) -> str:
    """`key=value` as it would be typed."""
    return f"{key}={show(value)}"
