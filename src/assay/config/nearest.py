"""Did you mean: the names nearest to a misspelt one.

A name is near when at most two letters were added, dropped, changed or swapped with their neighbour
(Damerau's distance, restricted form), or when `difflib` finds it at least 75 % alike, for long names.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher


def distance(one: str, other: str) -> int:
    """How many letters to add, drop, change or swap with their neighbour to turn one word into the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        current = [i]
        for j, other_letter in enumerate(other, start=1):
            best = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (letter != other_letter))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other_letter:
                best = min(best, before[j - 2] + 1)
            current.append(best)
        before, row = row, current
    return row[-1]


def _is_near(word: str, name: str, apart: int) -> bool:
    changed_wholly = apart >= max(len(word), len(name))  # "x" is two letters from "lr", but not like it
    alike = SequenceMatcher(None, word.lower(), name.lower()).ratio()
    return (apart <= 2 and not changed_wholly) or (len(word) > 3 and alike >= 0.75)


def nearest(word: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The near names that are as near as the best one, at most `most`."""
    apart = {name: distance(word.lower(), name.lower()) for name in names}
    near = sorted((steps, name) for name, steps in apart.items() if _is_near(word, name, steps))
    return [name for steps, name in near if steps == near[0][0]][:most]


def nearest_key(key: str, keys: Iterable[str]) -> list[str]:
    """The near ones among dotted keys: near part by part, or of that last part elsewhere."""
    known = list(dict.fromkeys(keys))
    parts = key.split(".")
    alike = [
        name
        for name in known
        if len(found := name.split(".")) == len(parts)
        and all(p == f or nearest(p, [f]) for p, f in zip(parts, found, strict=True))
    ]
    if alike:
        return sorted(alike, key=lambda name: distance(key, name))[:1]
    named = [name for name in known if "." in name and not name.rpartition(".")[2].startswith("_")]
    same_leaf = [name for name in named if name.rpartition(".")[2] == parts[-1]]
    if same_leaf:
        return same_leaf[:3]
    whole = nearest(key, named if "." in key else known)
    if whole or len(parts) > 1:
        return whole
    # in another place than typed, only a slip of one letter: "foo" is not meant to be data.root
    return [name for name in named if distance(parts[-1], name.rpartition(".")[2]) <= 1 < len(parts[-1]) - 1][
        :3
    ]
