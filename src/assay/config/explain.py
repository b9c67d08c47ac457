"""What is said of a word that cannot be composed (a misspelt key or option) or a YAML file; no torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from assay import CONF, PROJECT
from assay.config.messages import Problem, hint, nearest, nearest_key, show

TOOLS = ("diff", "reproduce", "leaderboard")  # words that look back, and are no keys of the config
# launchers of packages that an extra of pyproject.toml installs
EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def groups(folders: Sequence[Path] = (CONF,)) -> list[str]:
    """All config groups of the folders."""
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/*.yaml")})


def options(group: str, folders: Sequence[Path] = (CONF,)) -> list[str]:
    """The options of a config group."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def key_of(word: str) -> str:
    """The key or group that a word is about."""
    return word.partition("=")[0].lstrip("+~").partition("@")[0]


def unreadable(word: str, config_name: str) -> Problem:
    """A word that is no `key=value`, or whose value breaks Hydra's grammar."""
    key = word.partition("=")[0].lstrip("+~")
    if "=" in word:
        notes = (f"quote blanks, commas, brackets and accents: '{key}=\"...\"'; a list is [a,b]",)
        return Problem(key, f"{word}: the value cannot be read", notes)
    here = [group for group in groups() if (group == "bench") == (config_name == "bench")]
    fitting = [f"{group}={key}" for group in here if key in options(group) and key != "none"]
    likely = [*fitting, *(f"{group}=<{'|'.join(options(group))}>" for group in nearest(key, here))]
    note = f"did you mean {likely[0]}?" if likely else f"for example {key}=<value>"
    return Problem(key, f"{word}: a change is written key=value without blanks", (note,))


def unfit(override: Override, folders: Sequence[Path]) -> Problem | None:
    """What can be wrong with a word whatever the config holds."""
    key, word = override.key_or_group, str(override.input_line)
    if override.is_sweep_override():
        return _several(override)
    here = options(key, folders)
    value = override.value()
    if here and "/" not in key and not override.is_delete():
        if override.is_add() and (CONF / key).is_dir():
            return Problem(key, f"{word}: {key} is there already", (f"leave the + out: {word.lstrip('+')}",))
        if isinstance(value, (dict, list)) or value is None:
            return None
        return None if str(value) in here else no_option(key, show(value), here)
    return None


def no_option(group: str, value: str, here: Sequence[str]) -> Problem:
    """An option that the group does not have."""
    notes = [f"options of {group}: {', '.join(here)}"]
    if group == "hydra/launcher" and value in EXTRAS:
        notes.append(f"to have it: pip install -e '.[{EXTRAS[value]}]'")
    elif near := nearest(value, here):
        notes.append(f"did you mean {' or '.join(f'{group}={option}' for option in near)}?")
    return Problem(group, f"{group}={value}: there is no {group} called {value}", tuple(notes))


def _several(override: Override) -> Problem:
    key, word = override.key_or_group, str(override.input_line)
    value = word.partition("=")[2]
    if key.partition(".")[0] == "sweep":
        what = f"{word}: several values, and a sweep takes one"
        return Problem(key, what, ("type the key with one of them",))
    notes = ["to sweep over them: add -m (--cfg shows one job)"]
    if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP:
        notes.append(f"as a list: {key}=[{value}]; as text: '{key}=\"{value}\"'")
    return Problem(key, f"{word}: several values for one run", tuple(notes))


def unknown_key(key: str, value: Any, siblings: Sequence[str], known: Sequence[str]) -> Problem:
    """A key that is not there; `siblings` are the names in its place, `known` all keys of the config."""
    above, _, name = key.rpartition(".")
    advice = hint(key)
    sure = 0.75 if advice else 0.6
    near = [f"{above}.{one}".lstrip(".") for one in nearest(name, siblings, sure)]
    near = near or nearest(key, known, 0.75) or ([] if advice else nearest_key(key, known))
    notes = [advice] if advice and not near else []
    if near:
        notes.append(f"did you mean {' or '.join(f'{one}={show(value)}' for one in near)}?")
    if not notes:
        notes = [f"keys {f'of {above}' if above else 'there are'}: {', '.join(siblings)}"]
    what = f"{key}={show(value)}: there is no key {name}{f' in {above}' if above else ''}"
    return Problem(key, what, tuple(notes))


def unknown_word(override: Override, config: DictConfig, known_groups: Sequence[str]) -> Problem:
    """A word such as `modle=cnn`, whose key the composed config does not have."""
    key, word = override.key_or_group, str(override.input_line)
    value = None if override.is_delete() else override.value()
    near = nearest(key, known_groups) if "." not in key else []
    if near:
        fitting = [f"{group}={value}" for group in near if str(value) in options(group)]
        likely = fitting or [f"{group}=<{'|'.join(options(group))}>" for group in near]
        what = f"{word}: there is no key or group {key}"
        return Problem(key, what, (f"did you mean {' or '.join(likely)}?",))
    above, _, name = key.rpartition(".")
    node = OmegaConf.select(config, above) if above else config
    siblings = [str(sibling) for sibling in node] if isinstance(node, DictConfig) else []
    tools = TOOLS if "trainer" in config and not above else ()
    problem = unknown_key(key, value, siblings, [*tools, *keys_of(OmegaConf.to_container(config))])
    if not isinstance(node, DictConfig) or "_target_" not in node or nearest(name, siblings):
        return problem
    elsewhere = [option for option in options(above) if name in _yaml(CONF / above / f"{option}.yaml")]
    if elsewhere:
        note = f"it is a key of {' and '.join(f'{above}={option}' for option in elsewhere)}"
    else:
        note = f"if {show(node.get('_target_'))} has such a parameter: +{word.lstrip('+')}"
    own = ", ".join(sibling for sibling in siblings if sibling != "_target_")
    return replace(problem, notes=(f"keys of {above}: {own}", note) if own else (note,))


def _yaml(path: Path) -> Any:
    """What the file holds; an empty mapping where it cannot be read as YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, RecursionError, UnicodeDecodeError):
        return {}


def file_of(key: str, choices: Mapping[str, Any], folders: Sequence[Path]) -> str | None:
    """The YAML file that had the last word on `key`, as short as it can be given."""
    for folder in reversed(folders):
        for group, option in choices.items():  # the last entries of the defaults list come first
            path = folder / str(group) / f"{option}.yaml"
            if not path.is_file():
                continue
            is_global = "@package _global_" in path.read_text(encoding="utf-8")
            inner = key if is_global else key.removeprefix(f"{group}.")
            if (is_global or inner != key) and value_at(_yaml(path), inner, ...) is not ...:
                return shown(path)
    return None


def file_of_group(key: str, choices: Mapping[str, Any], folders: Sequence[Path]) -> str | None:
    """The YAML file of the option that was chosen for the key's group: of what is missing in it."""
    group = key.partition(".")[0]
    paths = [folder / group / f"{choices.get(group)}.yaml" for folder in reversed(folders)]
    return next((shown(path) for path in paths if path.is_file()), None)


def shown(path: Path) -> str:
    """The path from the project's folder on where it lies there."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip().strip(":")]
    lines = [line for line in lines if not line.endswith("composing config:")]  # it names the file alone
    text = lines[0] if lines else type(error).__name__
    if "DictConfig with ListConfig" in text:
        return "a list stands where keys with values are needed"
    return text.removesuffix(".")


def bad_file(error: Exception, chosen: Sequence[str], folders: Sequence[Path]) -> Problem:
    """Why the options cannot be composed: a missing option, a broken YAML, or Hydra's own reason."""
    paths = [
        (word, folder / key_of(word) / f"{word.partition('=')[2]}.yaml")
        for word in chosen
        for folder in folders
    ]
    files = [(word, path) for word, path in paths if path.is_file()]
    if isinstance(error, MissingConfigException):
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        problem = no_option(group, option, sorted(error.options or options(group, folders)))
        asking = [word for word, path in files if option in path.read_text(encoding="utf-8")]
        return replace(problem, what=f"{asking[0]} asks for {problem.what}") if asking else problem
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return Problem("", f"{mark.name}:{mark.line + 1}: this is no YAML: {error.problem}")
    cause = error.__cause__ or error
    said = f"{error} {error.__cause__}"
    blamed = [word for word in chosen if key_of(word) in said and "." in key_of(word)]
    blamed += [shown(path) for _, path in files if path.stem in said]
    return Problem("", f"{blamed[0] if blamed else 'conf/'}: {reason(cause)}")


def keys_of(plain: Any, key: str = "") -> list[str]:
    """All dotted keys of a plain config, those of mappings too."""
    if not isinstance(plain, dict):
        return [key]
    inner = [name for part, value in plain.items() for name in keys_of(value, f"{key}.{part}".lstrip("."))]
    return [key, *inner] if key else inner


def value_at(plain: Any, key: str, default: Any = None) -> Any:
    """The value at a dotted key of a plain config; `default` where there is none."""
    for part in key.split(".") if key else []:
        if isinstance(plain, list) and part.isdigit() and int(part) < len(plain):
            plain = plain[int(part)]
        elif isinstance(plain, dict) and part in plain:
            plain = plain[part]
        else:
            return default
    return plain
