"""Why Hydra could not compose a word of the command line, or a YAML, said for a person."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import MissingConfigException, OverrideParseException

from assay.config.allowed import RefusedError, resolve
from assay.config.compose import groups, is_group, options
from assay.config.constructor import OURS_ALONE, constructor
from assay.config.describe import show
from assay.config.judge import Known, unknown_key
from assay.config.nearest import nearest, nearest_key
from assay.config.origin import defined_in
from assay.config.problems import Problem
from assay.config.resolve import value_at
from assay.config.tools import Tool
from assay.config.words import parsed


def _lines(error: BaseException) -> list[str]:
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not said and error.__cause__ is not None:
        return _lines(error.__cause__)
    return said or [type(error).__name__]


def unreadable(word: str, error: Exception, known: Known) -> Problem:
    """A word that is no `key=value`, or whose value breaks Hydra's grammar."""
    key = word.partition("=")[0].lstrip("+~")
    if "=" not in word:
        wanted = f"{key}=<{'|'.join(options(key))}>" if is_group(key) else f"{key}=<value>"
        here = [] if is_group(key) else [group for group in groups() if group in known.plain]
        fitting = [f"{group}={key}" for group in here if key in options(group) and key != "none"]
        likely = [*fitting, *(f"{group}=<{'|'.join(options(group))}>" for group in nearest(key, here))]
        notes = (f"did you mean {likely[0]}?",) if likely else ()
        what = f"{word}: a change is written key=value without blanks"
        return Problem(key, what, notes or (f"for example {wanted}",))
    reason = _lines(error)[0].partition(" expecting {")[0].removesuffix(".")
    if reason.startswith(("LexerNoViable", "token recognition")):
        reason = "a character that needs quotes"
    notes = (reason, f"quote blanks, commas, brackets and accents: '{key}=\"...\"'; a list is [a,b]")
    return Problem(key, f"{word}: the value cannot be read", notes)


# options that come with a package of their own, and the extra of pyproject.toml that installs it
EXTRAS = {
    ("hydra/launcher", "submitit_local"): "slurm",
    ("hydra/launcher", "submitit_slurm"): "slurm",
    ("hydra/launcher", "ray"): "ray",
}


def no_option(group: str, value: str, found: list[str]) -> Problem:
    """An option that the group does not have."""
    near = nearest(value, found)
    notes = [f"options of {group}: {', '.join(found) or f'none yet, add conf/{group}/{value}.yaml'}"]
    if (group, value) in EXTRAS:
        notes.append(f"to have it: pip install -e '.[{EXTRAS[group, value]}]'")
    elif near:
        notes.append(f"did you mean {' or '.join(f'{group}={one}' for one in near)}?")
    return Problem(group, f"{group}={value}: there is no {group} called {value}", tuple(notes))


def _slot_key(override: Override, plain: Mapping[str, Any]) -> Problem | None:
    """A key of a slot that its YAML does not name: perhaps the constructor has it, or another option."""
    slot, _, name = override.key_or_group.rpartition(".")
    node = value_at(plain, slot)
    if not isinstance(node, Mapping) or "_target_" not in node or nearest(name, list(node)):
        return None
    what = f"{override.key_or_group}={show(override.value())}: there is no key {name} in {slot}"
    elsewhere = [option for option in options(slot) if is_group(slot) and defined_in(slot, option, name)]
    try:
        taken = constructor(resolve(node["_target_"]))
    except RefusedError:
        return None
    names = [one for one in taken.annotations if one not in OURS_ALONE]
    if name in names:
        notes = (f"{taken.name} has it: +{override.input_line} adds it",)
    elif elsewhere:
        notes = (f"it is a key of {' and '.join(f'{slot}={option}' for option in elsewhere)}",)
    elif near := nearest(name, names):
        notes = (f"did you mean +{slot}.{near[0]}={show(override.value())}?",)
    else:
        notes = (f"{taken.name} takes: {', '.join(names) or 'no values'}",)
    return Problem(override.key_or_group, what, notes)


def _unknown(override: Override, plain: Mapping[str, Any], known: Known) -> Problem:
    key = override.key_or_group
    tools = nearest(key, [tool.value for tool in Tool])
    if tools:
        notes = (f"did you mean {tools[0]}={show(override.value())}?",)
        return Problem(key, f"{override.input_line}: there is no key {key}", notes)
    near = nearest(key, groups()) if "." not in key else []
    if near:
        value = show(override.value())
        fitting = [f"{one}={value}" for one in near if value in options(one)]
        likely = fitting or [f"{one}=<{'|'.join(options(one))}>" for one in near]
        notes = (f"did you mean {' or '.join(likely)}?",)
        return Problem(key, f"{override.input_line}: there is no key or group {key}", notes)
    above = key.rpartition(".")[0]
    node = value_at(plain, above)
    if above and not isinstance(node, Mapping):
        found = nearest_key(key, known.keys)
        notes = [f"did you mean {one}={show(override.value())}?" for one in found[:1]]
        tops = [name for name, value in plain.items() if isinstance(value, Mapping)]
        what = f"{override.input_line}: there is no group {above}"
        return Problem(key, what, tuple(notes) or (f"groups: {', '.join(tops)}",))
    siblings = list(node) if isinstance(node, Mapping) else list(plain)
    return _slot_key(override, plain) or unknown_key(key, override.value(), siblings, known)


def _sweep(override: Override) -> Problem:
    key, line = override.key_or_group, str(override.input_line)
    value = line.partition("=")[2]
    if key.partition(".")[0] == "sweep":
        return Problem(
            key, f"{line}: several values, and a sweep takes one", ("type the key with one of them",)
        )
    notes = ["to sweep over them: add -m (--cfg shows one job)"]
    if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP:
        notes.append(f"as a list: {key}=[{value}]; as text: '{key}=\"{value}\"'")
    return Problem(key, f"{line}: several values for one run", tuple(notes))


def _missing(error: MissingConfigException, word: str | None) -> Problem:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    first = _lines(error)[0]
    place = first.split("'")[1] if first.startswith("In '") else None
    problem = no_option(group, option, sorted(error.options or options(group)))
    if word is None:
        return replace(problem, where=place and f"conf/{place}.yaml")
    if parsed(word).key_or_group == group:
        return problem
    return replace(problem, what=f"{word} asks for {problem.what}")


def bad_word(word: str, error: Exception, plain: Mapping[str, Any], known: Known) -> Problem:
    """What is wrong with the one word that could not be added to the composed config `plain`."""
    if isinstance(error, OverrideParseException):
        return unreadable(word, error, known)
    override = parsed(word)
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override():
        return _sweep(override)
    if is_group(key) and not isinstance(value, (str, list)):
        return no_option(key, show(value), options(key))
    if isinstance(error, MissingConfigException):
        return _missing(error, word)
    if (key in known.keys or is_group(key)) and override.is_add():
        return Problem(key, f"{word}: {key} is there already", (f"leave the + out: {word.lstrip('+')}",))
    if key == "hydra.launcher.n_jobs":
        notes = (f"for several jobs at once: hydra/launcher=joblib {word.lstrip('+')}",)
        return Problem(key, f"{word}: this launcher runs one job after the other", notes)
    if override.is_hydra_override():
        return bad_file(error, word)
    if value_at(plain, key) is None and key not in known.keys and not is_group(key):
        return _unknown(override, plain, known)
    return bad_file(error, word)


MERGED = ("Cannot merge DictConfig with ListConfig", "a list stands where keys with values are needed")


def bad_file(error: Exception, word: str | None = None) -> Problem:
    """What is wrong with the YAML files, or with a word for a reason that only Hydra knows."""
    if isinstance(error, MissingConfigException):
        return _missing(error, word)
    lines = _lines(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = f"{mark.name}:{mark.line + 1}: this is no YAML: {error.problem}"
        return Problem(word or mark.name, f"{word}: {what}" if word else what)
    key = word.partition("=")[0].lstrip("+~") if word else ""
    if lines[0].endswith("raised while composing config:"):  # In '<file>': <exception> raised while ...
        lines = [f"conf/{lines[0].split(chr(39))[1]}.yaml: {lines[1]}"]
    first = lines[0].replace(*MERGED).removesuffix(".")
    return Problem(key, f"{word}: {first}" if word else first, tuple(lines[1:3]))
