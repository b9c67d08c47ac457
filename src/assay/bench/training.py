"""`bench=training`: what Assay costs over a bare tensor loop, and what stock Lightning and a DataLoader cost.

In every round each arm trains once, in shuffled order, so that a machine that slows down slows all of them;
an arm is compared with the bare loop of its own round. The bare loop and Assay must end in the same weights,
bit for bit: a faster loop that trains something else proves nothing.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from assay.bench import words
from assay.bench.measurement import Measurement, Record, Task
from assay.bench.report import Figure, Report, Table
from assay.bench.session import Session
from assay.bench.training_arms import ARMS, Trained
from assay.config.schema import TrainingConfig
from assay.config.compose import compose
from assay.config.schema import TrainConfig
from assay.config.judge import judge

TITLES = {"bare": "bare loop", "assay": "assay", "stock": "stock Lightning", "textbook": "DataLoader loop"}


def measure(config: TrainingConfig, session: Session) -> None:
    """All arms in every round, for each optimizer and batch size."""
    cases = [(optimizer, batch) for optimizer in config.optimizers for batch in config.batch_sizes]
    for left, case in zip(range(len(cases), 0, -1), cases, strict=True):
        _measure_case(config, session, *case, session.left / left)


def _measure_case(
    config: TrainingConfig, session: Session, optimizer: str, batch_size: int, seconds: float
) -> None:
    overrides = [
        f"optimizer={optimizer}", "scheduler=none", "device=cpu", f"data.batch_size={batch_size}",
        f"seed={config.seed}", f"device.threads={max(session.cpu_threads(config.threads))}",
    ]  # fmt: skip
    full = judge(TrainConfig, compose("train", [*overrides, f"trainer.max_epochs={config.epochs}"]))
    short = judge(TrainConfig, compose("train", [*overrides, "trainer.max_epochs=1"]))
    quick = [arm for arm in config.arms if arm != "textbook"]
    for arm in quick:
        session.tell(f"warming up {TITLES[arm]}")
        _train(arm, short)
    rounds: list[dict[str, Trained]] = []
    shuffle = random.Random(config.seed)
    stop_at = session.left - seconds
    while len(rounds) < config.repeats and (session.left > stop_at or not rounds):
        order = shuffle.sample(config.arms, len(config.arms))
        done: dict[str, Trained] = {}
        for arm in order:
            session.tell(f"{optimizer}, batch {batch_size}, round {len(rounds) + 1}: {TITLES[arm]}")
            done[arm] = _train(arm, full)
        rounds.append(done)
    threads = torch.get_num_threads()
    for arm in config.arms:
        session.add(_measurement("epoch", arm, optimizer, batch_size, threads, rounds))
        session.add(_measurement("fit", arm, optimizer, batch_size, threads, rounds))
    if {"bare", "assay"} <= set(config.arms):
        same = session.facts.setdefault("same_weights", {})
        same[f"{optimizer} {batch_size}"] = all(_same(done["bare"], done["assay"]) for done in rounds)


def _train(arm: str, config: TrainConfig) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        return ARMS[arm](config, Path(folder))


def _same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


def _measurement(
    what: str, arm: str, optimizer: str, batch_size: int, threads: int, rounds: Sequence[dict[str, Trained]]
) -> Measurement:
    """One time a round: the median epoch of the round, or its whole fit."""
    times = [median(done[arm].epoch_s) if what == "epoch" else done[arm].fit_s for done in rounds]
    task = Task(f"{what} {optimizer}", arm, "cpu", threads=threads, size=batch_size)
    return Measurement(task, wall_s=tuple(times))


def report(config: TrainingConfig, record: Record) -> Report:
    """Assay's two ratios first."""
    lines: list[str] = []
    rows: list[tuple[str, ...]] = []
    bars: dict[str, float] = {}
    for m in record.all():
        what, optimizer = m.task.what.split()
        base = record.all(what=m.task.what, size=m.task.size, by="bare")
        ratios = _ratios(m, base[0]) if base else []
        if what == "epoch":
            rows.append(_row(optimizer, m, ratios, record))
            bars[f"{optimizer} {m.task.size}: {TITLES[m.task.by]}"] = m.median_s
        if m.task.by == "assay" and ratios:
            part = (
                "an epoch's training" if what == "epoch" else "the whole fit with validation and checkpoints"
            )
            lines.append(
                f"{optimizer}, batch {m.task.size}: {part} takes {median(ratios):.3f} times the bare loop's"
                f" ({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)"
            )
    failures = [f"{case}: Assay and the bare loop end in different weights" for case in _different(record)]
    if record.facts.get("same_weights") and not failures:
        lines.append("Assay and the bare loop end in the same weights, bit for bit")
    columns = (
        "optimizer", "batch", "arm", "an epoch", "a step", "times bare", "whole fit", "times bare"
    )  # fmt: skip
    figure = Figure("epoch", "one epoch of MNIST, 784-128-10", "", "seconds", bars=bars, logarithmic=False)
    return Report(
        tuple(lines),
        (Table(f"training, {config.epochs} epochs a round", columns, tuple(rows)),),
        (figure,),
        failures=tuple(failures),
    )


def _ratios(found: Measurement, base: Measurement) -> list[float]:
    return [one / other for one, other in zip(found.wall_s, base.wall_s, strict=True)]


def _row(optimizer: str, epoch: Measurement, ratios: Sequence[float], record: Record) -> tuple[str, ...]:
    fit = record.all(what=f"fit {optimizer}", size=epoch.task.size, by=epoch.task.by)[0]
    base = record.all(what=f"fit {optimizer}", size=epoch.task.size, by="bare")
    steps = -(-55_000 // (epoch.task.size or 1))
    return (
        optimizer,
        str(epoch.task.size),
        TITLES[epoch.task.by],
        words.seconds(epoch.median_s),
        f"{epoch.median_s / steps * 1e6:.0f} us",
        _spread(ratios),
        words.seconds(fit.median_s),
        _spread(_ratios(fit, base[0]) if base else []),
    )


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""


def _different(record: Record) -> list[str]:
    return [case for case, same in record.facts.get("same_weights", {}).items() if not same]
