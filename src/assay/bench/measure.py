"""The core: how a set of tasks is timed side by side.

Each job is first prepared: its memory is predicted and compared with what is free, its first (cold) call is
timed apart, its result is checked against float64, the device is asked whether it had really finished, and it
is warmed up until its medians agree. Then the jobs are timed in rounds, in an order shuffled anew each round
so that drift of clock or temperature meets all alike. A job leaves the rounds when the interval of its median
is narrow enough; all leave when the time is spent. No time is dropped: outliers and disagreements are told,
not hidden.
"""

import contextlib
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from assay.bench import statistics
from assay.bench.device import Device, is_out_of_memory, is_unsupported
from assay.bench.measurement import Check, Limit, Measurement, Reading, Task
from assay.bench.verdict import judged

WARM_SHARE = 0.3  # of a job's fair part of the time
ASKED = 3  # times, before a device is said to be late
LATE_S = 1e-3  # that reading one value may take
Call = Callable[[], Any]
Setting = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Job:
    """A task and how to do it on its device."""

    task: Task
    device: Device
    prepare: Callable[[], Call]  # allocates the inputs and returns the call that is timed
    needs: int = 0  # bytes that preparing and one call will take
    expected_s: float | None = None  # of one call, where it can be told beforehand
    check: Callable[[Any], Check] | None = None
    setting: Setting = contextlib.nullcontext  # threads and precision while it runs
    pool: str = "torch"  # whose threads do the work
    limit: Limit | None = None


@dataclass(frozen=True)
class Rule:
    """When a job has been timed enough."""

    width: float = 0.01  # half the interval of the median, relative to it; 0 never stops
    least: int = 10  # times
    most: int = 200  # times
    sample_s: float = (
        2e-3  # calls are repeated until one time is about this long: the timer's error is then small
    )
    warm_s: float = 0.5  # at most, unless a single call is longer
    agree: float = 0.05  # how near the last medians of the warm-up must be


@dataclass
class _Running:
    """A job in the rounds, with the times it has so far."""

    job: Job
    call: Call
    calls: int
    found: Measurement
    wall: list[float] = field(default_factory=list[float])
    event: list[float] = field(default_factory=list[float])
    readings: list[Reading] = field(default_factory=list[Reading])

    def take(self, times: tuple[float, float | None]) -> None:
        wall, event = times
        self.wall.append(wall / self.calls)
        if event is not None:
            self.event.append(event / self.calls)
        self.readings.append(self.job.device.reading())

    def done(self, rule: Rule) -> bool:
        times = self.event or self.wall
        narrow = len(times) >= rule.least and statistics.relative_width(times) < rule.width
        return narrow or len(times) >= rule.most

    def measurement(self) -> Measurement:
        raw = replace(
            self.found,
            wall_s=tuple(self.wall),
            event_s=tuple(self.event),
            readings=tuple(self.readings),
            calls=self.calls,
        )
        return judged(raw)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came while measuring; `measurements` is what there was until then."""

    def __init__(self, measurements: list[Measurement]) -> None:
        super().__init__("interrupted")
        self.measurements = measurements


def measure(
    jobs: Sequence[Job],
    deadline: float,
    seed: int = 0,
    rule: Rule | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Measurement]:
    """Time the jobs side by side until `deadline` on their devices' clocks; one measurement each, in order.

    Earlier jobs come first where the time does not suffice for all. Raises `Interrupted` on Ctrl-C.
    """
    rule = rule or Rule()
    finished: dict[int, Measurement] = {}
    running: dict[int, _Running] = {}
    pool = ""
    try:
        for index, job in enumerate(jobs):
            tell(job.task.key)
            if job.pool != pool:
                pool = job.pool
                job.device.settle()
            promised = sum(state.found.cold_s or 0.0 for state in running.values())  # one time each, at least
            fair = (deadline - job.device.now() - promised) / (len(jobs) - index)
            briefly = replace(rule, warm_s=max(0.0, min(rule.warm_s, WARM_SHARE * fair)))
            ready = _prepare(job, deadline - promised, briefly)
            if isinstance(ready, Measurement):
                finished[index] = ready
            else:
                running[index] = ready
        _rounds(list(running.values()), deadline, rule, random.Random(seed), tell, pool)
    except KeyboardInterrupt:
        finished |= {index: state.measurement() for index, state in running.items() if state.wall}
        raise Interrupted([finished[index] for index in sorted(finished)]) from None
    finished |= {index: state.measurement() for index, state in running.items()}
    return [finished[index] for index in range(len(jobs))]


def _rounds(
    active: list[_Running],
    deadline: float,
    rule: Rule,
    order: random.Random,
    tell: Callable[[str], None],
    pool: str,
) -> None:
    while active:
        order.shuffle(active)
        for state in list(active):
            if not _fits(state, deadline):
                active.remove(state)
                continue
            tell(state.job.task.key)
            if state.job.pool != pool:
                pool = state.job.pool
                state.job.device.settle()
            with state.job.setting():
                if len(active) > 1 and state.wall and state.wall[-1] * state.calls < rule.sample_s * 10:
                    state.call()  # the job before it left its own data in the caches and its own thread count
                state.take(_timed(state.job.device, state.call, state.calls))
            if state.done(rule):
                active.remove(state)


def _fits(state: _Running, deadline: float) -> bool:
    """Whether one more time can be taken before the deadline; the first one is always taken."""
    if not state.wall:
        return True
    return state.job.device.now() + state.wall[-1] * state.calls <= deadline


def _prepare(job: Job, deadline: float, rule: Rule) -> _Running | Measurement:
    device = job.device
    device.release()
    left = deadline - device.now()
    expected = job.expected_s or 0.0
    if left <= 0:
        return _skipped(job.task, "no time was left")
    if 2 * expected > left:  # the cold call and one time
        return _skipped(job.task, f"needs about {2 * expected:.3g} s, {left:.3g} s are left")
    if job.needs > (free := device.free_memory()):
        return _skipped(job.task, f"needs {in_bytes(job.needs)}, free {in_bytes(free)}")
    try:
        with job.setting():
            return _first_call(job, deadline, rule)
    except Exception as error:
        if is_out_of_memory(error):
            device.release()
            return _skipped(job.task, f"out of memory: needs {in_bytes(job.needs)}, free {in_bytes(free)}")
        if is_unsupported(error):
            return _skipped(job.task, f"{device.name} cannot do it: {str(error).splitlines()[0]}")
        raise


def _first_call(job: Job, deadline: float, rule: Rule) -> _Running | Measurement:
    device = job.device
    call = job.prepare()
    output, cold, behind = _drained(device, call, 1)
    check = job.check(output) if job.check else None
    del output
    found = Measurement(job.task, cold_s=cold, check=check, limit=job.limit)
    if check and not check.right:
        reason = f"wrong result: error {check} against float64, at most {check.limit:.1e} is right"
        return replace(found, status="invalid", reason=f"{reason}{check.suspicion}")
    if late := _still_working(device, call, 1, cold, behind):
        return replace(found, status="invalid", reason=late)
    calls = _warm_up(device, call, cold, deadline, rule)
    if cold < rule.warm_s:
        _, said, behind = _drained(device, call, calls)
        if late := _still_working(device, call, calls, said, behind):
            return replace(found, status="invalid", reason=late)
    return _Running(job, call, calls, found)


def _drained(device: Device, call: Call, calls: int) -> tuple[Any, float, float]:
    """The result of the last call, the seconds until the device said it was done, and those until it was."""
    device.synchronize()
    start = device.now()
    output = None
    for _ in range(calls):
        output = call()
    device.synchronize()
    said = device.now() - start
    device.read(output)
    return output, said, device.now() - start - said


def _still_working(device: Device, call: Call, calls: int, said: float, behind: float) -> str:
    """What is wrong if the device goes on after it said it was done, else nothing.

    A busy host may be late once; only a device that is late every time is accused.
    """
    for _ in range(ASKED):
        if behind <= max(said, LATE_S):
            return ""
        _, said, behind = _drained(device, call, calls)
    told = f"said to be done after {said:.3g} s, it worked on for {behind:.3g} s"
    return f"missing synchronize: the device was {told}"


def _warm_up(device: Device, call: Call, cold: float, deadline: float, rule: Rule) -> int:
    """Call until two medians of three agree or the time is up; returns how many calls make one time."""
    if cold > rule.warm_s:
        return max(1, round(rule.sample_s / cold))
    end = min(device.now() + rule.warm_s, deadline)
    calls, before, last = 1, None, cold
    while device.now() < end:
        times = [_timed(device, call, calls)[0] / calls for _ in range(3)]
        last = statistics.median(times)
        wanted = max(1, round(rule.sample_s / last))
        if before and abs(last - before) <= rule.agree * before and calls >= wanted / 2:
            break
        before, calls = last, wanted
    return max(1, round(rule.sample_s / last))


def _timed(device: Device, call: Call, calls: int) -> tuple[float, float | None]:
    """Seconds for so many calls by the wall clock, and by the device's own where it has one."""
    device.synchronize()
    start = device.now()
    first = device.mark()
    for _ in range(calls):
        call()
    last = device.mark()
    device.synchronize()
    wall = device.now() - start
    return wall, None if first is None else device.between(first, last)


def _skipped(task: Task, reason: str) -> Measurement:
    return Measurement(task, status="skipped", reason=reason)


def in_bytes(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
