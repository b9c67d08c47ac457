"""Parameters of our own classes, read from their source: help shows types and ranges without torch."""

import ast
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from assay.config.describe import Annotation

WORDS: Mapping[str, Any] = {"Annotated": Annotated, "Literal": Literal, "Field": Field}


def _tree(module: str) -> ast.Module | None:
    """The parsed source of a module of ours; packages above it are imported, and they are empty."""
    spec = find_spec(module) if module.startswith("assay.") else None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Annotation:
    """The annotation that an expression of our own source is; `Any` if it needs more than plain types."""
    builtin = {"int": int, "float": float, "bool": bool, "str": str, "tuple": tuple, "list": list}
    try:
        return eval(
            compile(ast.Expression(node), "<annotation>", "eval"), {"__builtins__": builtin, **WORDS, **names}
        )
    except (NameError, AttributeError, TypeError):
        return Any


def _aliases(tree: ast.Module) -> dict[str, Any]:
    """Types that the module names itself (`BatchSize = Annotated[...]`) or takes from another of ours."""
    names: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("assay."):
            other = _tree(node.module)
            known = _aliases(other) if other else {}
            names |= {one.asname or one.name: known[one.name] for one in node.names if one.name in known}
        elif isinstance(node, ast.Assign) and "Annotated" in ast.dump(node.value):
            names |= {one.id: _value(node.value, names) for one in node.targets if isinstance(one, ast.Name)}
    return names


def _arguments(tree: ast.Module, name: str) -> Iterator[ast.arg]:
    """The parameters of the function, or of the `__init__` of the class or its nearest base in the module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield from [*node.args.args, *node.args.kwonlyargs]
        elif isinstance(node, ast.ClassDef) and node.name == name:
            own = [
                part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"
            ]
            for part in own[:1]:
                yield from [*part.args.args[1:], *part.args.kwonlyargs]
            for base in node.bases if not own else []:
                yield from _arguments(tree, base.id) if isinstance(base, ast.Name) else ()


def parameters(target: str) -> dict[str, Annotation]:
    """The annotated parameters of `assay.<module>.<name>`; empty for any other target."""
    module, _, name = target.rpartition(".")
    tree = _tree(module)
    if tree is None:
        return {}
    names = _aliases(tree)
    return {one.arg: _value(one.annotation, names) for one in _arguments(tree, name) if one.annotation}
