"""Words that ask for something else than a run: `diff=[A,B]`, `reproduce=<run>`, `leaderboard=<sweeps>`."""

from collections.abc import Sequence
from enum import Enum

from hydra.errors import HydraException

from assay.config.words import parsed
from assay.errors import UserError


class Tool(Enum):
    """What can be asked for, by the word's key."""

    DIFF = "diff"
    REPRODUCE = "reproduce"
    LEADERBOARD = "leaderboard"


WANTED = {
    Tool.DIFF: ("two run folders are compared", "diff=[outputs/runs/A,outputs/runs/B]"),
    Tool.REPRODUCE: ("one run folder is compared", "reproduce=outputs/runs/A"),
    Tool.LEADERBOARD: (
        "one or several sweep folders are listed",
        "leaderboard=[outputs/sweeps/A,outputs/sweeps/B]",
    ),
}
BESIDE = ("sweep.metric=", "sweep.direction=")  # what may stand beside `leaderboard`


def tool_of(words: Sequence[str]) -> tuple[Tool, tuple[str, ...]] | None:
    """The tool that a word asks for and its folders; raises `UserError` for a wrong number of folders."""
    asked = [word for word in words if word.partition("=")[0] in [tool.value for tool in Tool]]
    if not asked:
        return None
    tool = Tool(asked[0].partition("=")[0])
    needed, example = WANTED[tool]
    others = [word for word in words if word != asked[0]]
    if any(tool is not Tool.LEADERBOARD or not word.startswith(BESIDE) for word in others):
        raise UserError(f"{asked[0]} stands alone, without {' '.join(others)}\n  for example {example}")
    try:
        value = parsed(asked[0]).value()
    except HydraException:
        value = None
    folders = value if isinstance(value, list) else [value]
    count = {Tool.DIFF: 2, Tool.REPRODUCE: 1, Tool.LEADERBOARD: max(1, len(folders))}[tool]
    if len(folders) != count or not all(isinstance(folder, str) and folder for folder in folders):
        raise UserError(f"{asked[0]}: {needed}\n  for example {example}")
    return tool, tuple(str(folder) for folder in folders)
