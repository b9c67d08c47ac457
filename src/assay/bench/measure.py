"""The core: how a set of tasks is timed side by side.

Each job is first prepared: its memory is predicted and compared with what is free, its first (cold) call is
timed apart, its result is checked against float64, the device is asked whether it had really finished, and it
is warmed up until its medians agree. Then the jobs are timed in rounds, in an order shuffled anew each round
so that drift of clock or temperature meets all alike. A job leaves the rounds when the interval of its median
is narrow enough; all leave when the time is spent. No time is dropped: outliers and disagreements are told,
not hidden.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from assay.bench import statistics
from assay.bench.device import Device, cpu_threads, is_out_of_memory, is_unsupported, matmul_precision
from assay.bench.record import Check, Limit, Measurement, Reading, Task, skipped, with_verdict
from assay.report import in_bytes

WARM_SHARE = 0.3  # of a job's fair part of the time
ASKED = 3  # times, before a device is said to be late
LATE_S = 1e-3  # that reading one value may take
Call = Callable[[], Any]
Keep = Callable[[list[Measurement]], None]


@dataclass(frozen=True)
class Job:
    """A task and how to do it on its device."""

    task: Task
    device: Device
    prepare: Callable[[], Call]  # allocates the inputs and returns the call that is timed
    needs: int = 0  # bytes that preparing and one call will take
    expected_s: float | None = None  # of one call, where it can be told beforehand
    check: Callable[[Any], Check] | None = None
    pool: str = "torch"  # whose threads do the work
    limit: Limit | None = None
    alone: bool = False  # each call waits for the device: latency, not throughput
    own_s: Callable[[Any], Mapping[str, float]] | None = (
        None  # by the call's own clock: "call", and its parts
    )


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
    prepared: Measurement
    wall: list[float] = field(default_factory=list[float])
    event: list[float] = field(default_factory=list[float])
    parts: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    readings: list[Reading] = field(default_factory=list[Reading])

    def fits(self, deadline: float) -> bool:
        """Whether one more time can be taken before the deadline; the first one is always taken."""
        return not self.wall or self.job.device.now() + self.wall[-1] * self.calls <= deadline

    def time(self, rule: Rule, warm: bool) -> None:
        """Take one time; `warm` says that the last one was of this job, too."""
        task = self.job.task
        with cpu_threads(task.threads), matmul_precision(task.precision):
            if not warm and self.wall and self.wall[-1] * self.calls < rule.sample_s * 10:
                self.call()  # the job before it left its own data in the caches and its own thread count
            wall, event, output = _timed(self.job, self.call, self.calls)
        own = dict(self.job.own_s(output)) if self.job.own_s else {}
        self.wall.append(own.pop("call", wall / self.calls))
        if event is not None:
            self.event.append(event / self.calls)
        for name, seconds in own.items():
            self.parts.setdefault(name, []).append(seconds)
        self.readings.append(self.job.device.reading())

    def done(self, rule: Rule) -> bool:
        times = self.event or self.wall
        narrow = len(times) >= rule.least and statistics.relative_width(times) < rule.width
        return narrow or len(times) >= rule.most

    def measurement(self) -> Measurement:
        raw = replace(
            self.prepared,
            wall_s=tuple(self.wall),
            event_s=tuple(self.event),
            parts_s={name: tuple(times) for name, times in self.parts.items()},
            readings=tuple(self.readings),
            calls=self.calls,
        )
        return with_verdict(raw) if self.wall else raw


def measure(
    jobs: Sequence[Job],
    deadline: float,
    seed: int = 0,
    rule: Rule | None = None,
    tell: Callable[[str], None] = lambda text: None,
    keep: Keep = lambda measurements: None,
) -> list[Measurement]:
    """Time the jobs side by side until `deadline` on their devices' clocks; one measurement each, in order.

    Earlier jobs come first where the time does not suffice for all. `keep` gets what there is after each
    round, and whatever ends the rounds.
    """
    rule = rule or Rule()
    ended: dict[int, Measurement] = {}
    running: dict[int, _Running] = {}
    pool = ""

    def so_far() -> list[Measurement]:
        timed = {index: row.measurement() for index, row in running.items() if row.wall}
        return [m for _, m in sorted((ended | timed).items())]

    def use(job: Job) -> None:
        """The threads of another library spin for a while before they sleep."""
        nonlocal pool
        if job.pool != pool:
            pool = job.pool
            job.device.let_sleep()
        tell(job.task.key)

    try:
        for index, job in enumerate(jobs):
            use(job)
            promised = sum(row.prepared.cold_s or 0.0 for row in running.values())  # one time each, at least
            fair = (deadline - job.device.now() - promised) / (len(jobs) - index)
            briefly = replace(rule, warm_s=max(0.0, min(rule.warm_s, WARM_SHARE * fair)))
            ready = _prepare(job, deadline - promised, briefly)
            if isinstance(ready, Measurement):
                ended[index] = ready
            else:
                running[index] = ready
        active = list(running.values())
        order = random.Random(seed)
        while active:
            order.shuffle(active)
            for row in list(active):
                if row.fits(deadline):
                    use(row.job)
                    row.time(rule, warm=len(active) == 1)
                if not row.fits(deadline) or row.done(rule):
                    active.remove(row)
            keep(so_far())
    except BaseException:  # Ctrl-C, or a bug: what is measured is kept, then it goes on its way
        keep(so_far())
        raise
    return so_far()


def _prepare(job: Job, deadline: float, rule: Rule) -> _Running | Measurement:
    device, task = job.device, job.task
    left = deadline - device.now()
    expected = job.expected_s or 0.0
    if left <= 0:
        return skipped(task, "no time was left")
    if 2 * expected > left:  # the cold call and one time
        return skipped(task, f"needs about {2 * expected:.3g} s, {left:.3g} s are left")
    if job.needs > (free := device.free_memory()):
        return skipped(task, f"needs {in_bytes(job.needs)}, free {in_bytes(free)}")
    try:
        with cpu_threads(task.threads), matmul_precision(task.precision):
            return _first_call(job, deadline, rule)
    except Exception as error:
        if is_out_of_memory(error):
            return skipped(task, f"out of memory: needs {in_bytes(job.needs)}, free {in_bytes(free)}")
        if is_unsupported(error):
            return skipped(task, f"{device.name} cannot do it: {str(error).splitlines()[0]}")
        raise


def _first_call(job: Job, deadline: float, rule: Rule) -> _Running | Measurement:
    call = job.prepare()
    output, cold, behind = _drained(job, call, 1)
    check = job.check(output) if job.check else None
    del output
    prepared = Measurement(job.task, cold_s=cold, check=check, limit=job.limit)
    if check and not check.right:
        error = f": error {check} against float64, at most {check.limit:.1e} is right" if check.limit else ""
        return replace(prepared, status="invalid", reason=f"wrong result{error}{check.suspicion}")
    if late := _still_working(job, call, 1, cold, behind):
        return replace(prepared, status="invalid", reason=late)
    calls = _warm_up(job, call, cold, deadline, rule)
    if cold < rule.warm_s:
        _, said, behind = _drained(job, call, calls)
        if late := _still_working(job, call, calls, said, behind):
            return replace(prepared, status="invalid", reason=late)
    return _Running(job, call, calls, prepared)


def _drained(job: Job, call: Call, calls: int) -> tuple[Any, float, float]:
    """The result of the last call, the seconds until the device said it was done, and those until it was."""
    device = job.device
    device.synchronize()
    start = device.now()
    output = None
    for _ in range(calls):
        output = call()
    device.synchronize()
    said = device.now() - start
    if job.own_s is None:  # such a call waits for its own end
        device.read(output)
    return output, said, device.now() - start - said


def _still_working(job: Job, call: Call, calls: int, said: float, behind: float) -> str:
    """What is wrong if the device goes on after it said it was done, else nothing.

    A busy host may be late once; only a device that is late every time is accused.
    """
    for _ in range(ASKED):
        if behind <= max(said, LATE_S):
            return ""
        _, said, behind = _drained(job, call, calls)
    told = f"said to be done after {said:.3g} s, it worked on for {behind:.3g} s"
    return f"missing synchronize: the device was {told}"


def _warm_up(job: Job, call: Call, cold: float, deadline: float, rule: Rule) -> int:
    """Call until two medians of three agree or the time is up; returns how many calls make one time."""
    if cold > rule.warm_s:
        return max(1, round(rule.sample_s / cold))
    device = job.device
    end = min(device.now() + rule.warm_s, deadline)
    calls, before, last = 1, None, cold
    while device.now() < end:
        last = median(_timed(job, call, calls)[0] / calls for _ in range(3))
        wanted = max(1, round(rule.sample_s / last))
        if before and abs(last - before) <= rule.agree * before and calls >= wanted / 2:
            break
        before, calls = last, wanted
    return max(1, round(rule.sample_s / last))


def _timed(job: Job, call: Call, calls: int) -> tuple[float, float | None, Any]:
    """Seconds for so many calls by the wall clock, and by the device's own where it has one; the last result.

    Of calls that wait for the device each, only the wall clock sees all.
    """
    device, output = job.device, None
    device.synchronize()
    start = device.now()
    first = None if job.alone else device.mark()
    for _ in range(calls):
        output = call()
        if job.alone:
            device.synchronize()
    last = None if job.alone else device.mark()
    device.synchronize()
    wall = device.now() - start
    return wall, None if first is None else device.between(first, last), output
