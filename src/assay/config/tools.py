"""Words that ask for something else than a run: `diff=[runA,runB]` and `reproduce=<run folder>`."""

from collections.abc import Sequence
from enum import Enum

from hydra.errors import HydraException

from assay.config.words import parsed
from assay.errors import UserError


class Tool(Enum):
    """What can be asked for, by the word's key."""

    DIFF = "diff"
    REPRODUCE = "reproduce"


def tool_of(words: Sequence[str]) -> tuple[Tool, tuple[str, ...]] | None:
    """The tool that a word asks for and its folders; raises `UserError` for a wrong number of folders."""
    asked = [word for word in words if word.partition("=")[0] in [tool.value for tool in Tool]]
    if not asked:
        return None
    tool = Tool(asked[0].partition("=")[0])
    wanted = "diff=[outputs/runs/A,outputs/runs/B]" if tool is Tool.DIFF else "reproduce=outputs/runs/A"
    if len(words) > 1:
        others = [word for word in words if word != asked[0]]
        raise UserError(f"{asked[0]} stands alone, without {' '.join(others)}\n  for example {wanted}")
    try:
        value = parsed(asked[0]).value()
    except HydraException:
        value = None
    folders = value if isinstance(value, list) else [value]
    count = 2 if tool is Tool.DIFF else 1
    if len(folders) != count or not all(isinstance(folder, str) and folder for folder in folders):
        needed = "two run folders" if count == 2 else "one run folder"
        raise UserError(f"{asked[0]}: {needed} are compared\n  for example {wanted}")
    return tool, tuple(str(folder) for folder in folders)
