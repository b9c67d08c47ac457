"""One bench while it runs: its devices, its time, the record that it fills, and the file of that record."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from pydantic import TypeAdapter

from assay.bench.device import Device, usable_threads
from assay.bench.measure import Job, Rule, measure
from assay.bench.record import Measurement, Record, from_json, to_json
from assay.errors import UserError
from assay.training.atomic import write_durably

SAVE_EVERY_S = 2.0  # while rounds go on: writing the record must not become part of what is measured


@final
class Session:
    """Measures, and hands the record to `save` as it grows, so that whatever ends the bench, it is kept."""

    def __init__(
        self,
        devices: Sequence[Device],
        record: Record,
        seconds: float,
        seed: int,
        save: Callable[[Record], None] = lambda record: None,
        tell: Callable[[str, float], None] = lambda text, left: None,
        rule: Rule | None = None,
    ) -> None:
        self.devices = devices
        self.seed = seed
        self.details: dict[str, Any] = dict(record.details)
        self._start = record  # with the rows of the processes before this one
        self._rows: list[Measurement] = []
        self._save = save
        self._saved = 0.0
        self._tell = tell
        self._rule = rule
        self._deadline = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._deadline - time.perf_counter())

    @property
    def record(self) -> Record:
        return self._with(self._rows)

    def _with(self, rows: Sequence[Measurement]) -> Record:
        measurements = merged(self._start.measurements, rows)
        return replace(self._start, measurements=measurements, details=self.details)

    def measure(self, jobs: Sequence[Job], seconds: float | None = None, rule: Rule | None = None) -> None:
        """Time the jobs side by side, within so many seconds or all that are left."""
        end = self._deadline if seconds is None else min(time.perf_counter() + seconds, self._deadline)

        latest: list[Measurement] = []

        def keep(rows: list[Measurement]) -> None:
            nonlocal latest
            latest = rows
            if time.perf_counter() > self._saved + SAVE_EVERY_S:
                self._save(self._with([*self._rows, *rows]))
                self._saved = time.perf_counter()

        try:
            latest = measure(jobs, end, self.seed, rule or self._rule, self.tell, keep)
        finally:  # also at Ctrl-C, and where a bug ends the bench
            self._rows += latest
            if self._rows:
                self._save(self.record)

    def measure_each(self, groups: Iterable[Callable[[], Sequence[Job]]], rule: Rule | None = None) -> None:
        """Group after group, each made when its turn comes and within its share of the time left."""
        waiting = list(groups)
        while waiting:
            jobs = waiting.pop(0)
            self.measure(jobs(), self.left / (len(waiting) + 1), rule)

    def tell(self, text: str) -> None:
        """Say what is being done now."""
        self._tell(text, self.left)

    def cpu_threads(self, wanted: str | int | Sequence[int]) -> list[int]:
        """The thread counts that `threads` asks for; `auto` is one and every core."""
        if isinstance(wanted, str):
            return usable_threads()
        return [wanted] if isinstance(wanted, int) else list(wanted)


def merged(before: Sequence[Measurement], after: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The rows of earlier processes and of one more; of a row that only some could time, those times."""
    rows = {m.task.key: m for m in before}
    for m in after:
        rows[m.task.key] = _joined(rows[m.task.key], m) if m.task.key in rows else m
    return tuple(rows.values())


def _joined(one: Measurement, other: Measurement) -> Measurement:
    if one.status == "invalid" or not other.times:
        return one
    if other.status == "invalid" or not one.times:
        return other
    return replace(
        one,
        wall_s=one.wall_s + other.wall_s,
        event_s=one.event_s + other.event_s,
        parts_s={name: times + other.parts_s[name] for name, times in one.parts_s.items()},
        per_process=tuple(len(times) for times in (*one.groups, *other.groups)),
        readings=one.readings + other.readings,
        warnings=tuple(dict.fromkeys(one.warnings + other.warnings)),
    )


def save(record: Record, folder: Path, **more: Any) -> None:
    """Replace the folder's `result.json` whole; the folder is made with it."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in vars(record).items() if name != "measurements"}
    rows = [to_json(m) for m in record.measurements]
    text = json.dumps(plain | more | {"measurements": rows}, indent=1, allow_nan=False)
    write_durably(folder / "result.json", text.encode())


def load(name: str | Path, key: str) -> Record:
    """The record in a folder or file that `key` names. Raises `UserError` where there is none."""
    path = Path(name)
    path = path / "result.json" if path.is_dir() else path
    needed = "\n  a result.json of a bench or its folder is needed"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(from_json(row) for row in raw["measurements"])
        given = {name: raw[name] for name in vars(Record()) if name in raw}
        return TypeAdapter(Record).validate_python(given | {"measurements": rows})
    except OSError as error:
        raise UserError(f"{key}: {name} cannot be read: {error.strerror}{needed}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{key}: {name} is no result of a bench{needed}") from None
