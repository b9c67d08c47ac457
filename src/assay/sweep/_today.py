"""ADAPTER, deleted at the merge: the interfaces of config/ and run/ that are to come, on today's code."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from assay.config.compose import compose_whole, composer
from assay.config.frame import TrainConfig
from assay.config.judge import judge
from assay.config.judged import _seen, slot_problems  # pyright: ignore[reportPrivateUsage]
from assay.config.problems import Problem
from assay.config.secrets import redact
from assay.errors import Interrupted, RunFailed, UserError
from assay.run.folder import RunFolder, provenance
from assay.run.identity import config_id, plain
from assay.run.place import Place
from assay.run.signals import StopRequest


@dataclass(frozen=True)
class Loaded:
    words: tuple[str, ...]
    config: Any
    problems: list[Problem]

    @property
    def launcher(self) -> Mapping[str, Any]:
        return self._hydra()["launcher"]

    @property
    def env(self) -> Mapping[str, str]:
        return self._hydra()["job"]["env_set"]

    def _hydra(self) -> Any:
        with composer():
            return OmegaConf.to_container(compose_whole("train", self.words).hydra, resolve=False)


@contextmanager
def composing(config_name: str = "train") -> Generator[Callable[[Sequence[str]], Loaded]]:
    """`assay.config.load.composing`."""

    def compose(words: Sequence[str]) -> Loaded:
        job, schema, problems = _seen(config_name, words, slots=False)
        config: Any = None if problems else judge(schema, job)
        if config is not None and config.ckpt is not None:
            from assay.run.resume import started_from

            stored = started_from(config.ckpt, config, list(words))
            config = replace(stored, sweep=config.sweep, output_dir=config.output_dir)
        return Loaded(tuple(words), config, problems)

    with composer():
        yield compose


def component_problems(config: TrainConfig) -> list[Problem]:
    """`assay.config.components.component_problems`."""
    with composer():
        return next(slot_problems("train", [((), plain(config))]))


def run_in(
    folder: RunFolder,
    config: TrainConfig,
    overrides: Sequence[str],
    console: Console,
    request: StopRequest,
    place: Place,
) -> None:
    """`assay.run.run.run_in`."""
    from assay.run.run import execute

    code = execute(config, list(overrides), console, request, folder, place)
    if code in (130, 143):
        raise Interrupted(code - 128)
    if code == 2:
        raise UserError(str(folder.result.get("error")))
    if code:
        raise RunFailed(str(folder.result.get("error")))


def record_failure(
    folder: RunFolder, config: TrainConfig, overrides: Sequence[str], status: str, error: str
) -> None:
    """`assay.run.folder.record_failure`."""
    if not (folder.path / "config.yaml").exists():
        folder.write_config(plain(config), list(overrides))
    if "seconds" not in folder.result:
        folder.result |= {
            "metrics": {},
            "epochs": 0,
            "steps": 0,
            "seconds": {"total": 0.0, "fit": None, "test": None, "epochs": []},
            "samples_per_second": None,
            "seed": config.seed,
            "overrides": redact(list(overrides)),
            "config_id": config_id(config),
            "checkpoint": None,
            **provenance(),
        }
    folder.update(status=status, error=error)
