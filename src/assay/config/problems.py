"""A problem in a config: one to four lines for a person, and a list of them as one `UserError`."""

from collections.abc import Iterable
from dataclasses import dataclass

from assay.errors import UserError


@dataclass(frozen=True)
class Problem:
    """What is wrong at `key` (as typed, value included), then up to three notes: rule, name, example."""

    key: str
    what: str
    notes: tuple[str, ...] = ()
    where: str | None = None  # "conf/model/mlp.yaml:3"; None on the command line

    @property
    def text(self) -> str:
        """One to four lines, the first unindented."""
        first = f"{self.where}: {self.what}" if self.where else self.what
        return "\n  ".join([first, *self.notes[:3]])


def unique(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without repetitions, in order: the jobs of a sweep share most of theirs."""
    return list({problem.text: problem for problem in problems}.values())


def refuse(problems: Iterable[Problem]) -> UserError:
    """All problems as one error to raise; several are counted first."""
    texts = [problem.text for problem in unique(problems)]
    head = [f"{len(texts)} problems:"] if len(texts) > 1 else []
    return UserError("\n".join([*head, *texts]))
