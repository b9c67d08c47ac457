"""The core: how a set of tasks is timed side by side.

Each job is first prepared: memory predicted, the cold call timed apart, its result checked in float64, the
device asked whether it had really finished, and warmed up. Then the jobs are timed in rounds, in an order
shuffled anew each round so that drift meets all alike. A job leaves them when the interval of its median
is narrow enough; all leave when the time is spent. No time is dropped.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from assay.bench import statistics
from assay.bench.device import Device, is_out_of_memory, is_unsupported, setting
from assay.bench.record import Check, Limit, Measurement, Task
from assay.report import in_bytes

WARM_SHARE = 0.3  # of a job's fair part of the time
ASKED = 3  # times, before a device is said to be late
LATE_S = 1e-3  # that reading one value may take
Call = Callable[[], Any]


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
    # by the call's own clock: "call", and its parts
    own_s: Callable[[Any], Mapping[str, float]] | None = None
    tells_load: bool = True  # whether all CPU time that it takes can be told from that of other programs


@dataclass(frozen=True)
class Rule:
    """When a job has been timed enough."""

    width: float = 0.01  # half the interval of the median, relative to it; 0 never stops
    least: int = 10  # times
    most: int = 200  # times
    sample_s: float = 2e-3  # of one time, to which calls are repeated: the timer's error is then small
    warm_s: float = 0.5  # at most, unless a single call is longer
    agree: float = 0.05  # how near the last medians of the warm-up must be

    @classmethod
    def rounds(cls, count: int) -> "Rule":
        """So many times of a call that is seconds long, whatever their spread."""
        return cls(width=0.0, least=count, most=count, sample_s=0.0, warm_s=0.0)


class _Refused(Exception):
    """A job that gets no time: its status and the reason."""


def measure(
    jobs: Sequence[Job],
    deadline: float,
    seed: int = 0,
    rule: Rule | None = None,
    tell: Callable[[str], None] = lambda text: None,
    rows: list[Measurement] | None = None,
) -> list[Measurement]:
    """Time the jobs side by side until `deadline` on their devices' clocks; one measurement each, in order.

    They are added to `rows`, or go on with those of the same tasks that an earlier process left there. `tell`
    gets the task before each of its times. Earlier jobs come first where the time does not suffice for all.
    """
    rule, rows = rule or Rule(), [] if rows is None else rows
    earlier = {row.task: row for row in rows}
    measured: list[Measurement] = []
    active: list[_Timed] = []
    pool = ""

    def use(job: Job) -> None:
        """The threads of another library spin for a while before they sleep."""
        nonlocal pool
        if job.pool != pool:
            pool = job.pool
            job.device.let_sleep()
        tell(job.task.key)

    for index, job in enumerate(jobs):
        use(job)
        promised = sum(timed.row.cold_s or 0.0 for timed in active)  # one time each, at least
        fair = (deadline - job.device.now() - promised) / (len(jobs) - index)
        briefly = replace(rule, warm_s=max(0.0, min(rule.warm_s, WARM_SHARE * fair)))
        new = Measurement(job.task, "skipped", "no time was left", limit=job.limit)
        row = earlier.get(job.task, new)
        try:
            call = _prepare(job, row, deadline - promised, briefly)
        except _Refused as refused:
            status, reason = refused.args
            if status == "invalid" or not row.times:
                row.status, row.reason = status, reason
        else:
            active.append(_Timed(job, call, row))
        measured.append(row)
        if row is new:
            rows.append(row)
    order = random.Random(seed)
    while active:
        order.shuffle(active)
        for timed in list(active):
            if timed.fits(deadline):
                use(timed.job)
                timed.take(rule, warm=len(active) == 1)
            if not timed.fits(deadline) or timed.done(rule):
                active.remove(timed)
    return measured


@dataclass(frozen=True)
class _Timed:
    """A job in the rounds."""

    job: Job
    call: Call
    row: Measurement

    def fits(self, deadline: float) -> bool:
        """Whether one more time can be taken before the deadline; the first one is always taken."""
        row = self.row
        last = row.wall_s[-1] * row.calls if row.per_process[-1] else None
        return last is None or self.job.device.now() + last <= deadline

    def take(self, rule: Rule, warm: bool) -> None:
        """Take one time; `warm` says that the last one was of this job, too."""
        row, job = self.row, self.job
        with setting(job.task.threads, job.task.precision):
            if not warm and row.wall_s and row.wall_s[-1] * row.calls < rule.sample_s * 10:
                self.call()  # the job before it left its own data in the caches and its own thread count
            wall, event, output = _time(job, self.call, row.calls)
        own = dict(job.own_s(output)) if job.own_s else {}
        row.per_process[-1] += 1
        row.wall_s.append(own.pop("call", wall / row.calls))
        if event is not None:
            row.event_s.append(event / row.calls)
        for name, seconds in own.items():
            row.parts_s.setdefault(name, []).append(seconds)
        reading = job.device.reading()
        row.readings += [reading] if job.tells_load else []
        row.judge()

    def done(self, rule: Rule) -> bool:
        times = self.row.groups[-1]
        narrow = len(times) >= rule.least and statistics.relative_width(times) < rule.width
        return narrow or len(times) >= rule.most


def _prepare(job: Job, row: Measurement, deadline: float, rule: Rule) -> Call:
    """The call, warmed up, with what its first times said in the row. Raises `_Refused`."""
    device, task = job.device, job.task
    left, free = deadline - device.now(), device.free_memory()
    if row.status == "invalid":
        raise _Refused(row.status, row.reason)
    if left <= 0:
        raise _Refused("skipped", "no time was left")
    if job.expected_s and 2 * job.expected_s > left:  # the cold call and one time
        raise _Refused("skipped", f"needs about {2 * job.expected_s:.3g} s, {left:.3g} s are left")
    if job.needs > free:
        raise _Refused("skipped", f"needs {in_bytes(job.needs)}, free {in_bytes(free)}")
    try:
        with setting(task.threads, task.precision):
            return _first_calls(job, row, deadline, rule)
    except Exception as error:
        if is_out_of_memory(error):
            reason = f"out of memory: needs {in_bytes(job.needs)}, free {in_bytes(free)}"
            raise _Refused("skipped", reason) from error
        if is_unsupported(error):
            reason = f"{device.name} cannot do it: {str(error).splitlines()[0]}"
            raise _Refused("skipped", reason) from error
        raise


def _first_calls(job: Job, row: Measurement, deadline: float, rule: Rule) -> Call:
    call = job.prepare()
    cold, _, output = _time(job, call, 1)
    behind = _behind(job, output)
    check = job.check(output) if job.check else None
    del output
    row.cold_s, row.check = row.cold_s or cold, check
    if check and not check.right:
        error = f": error {check} against float64, at most {check.limit:.1e} is right" if check.limit else ""
        raise _Refused("invalid", f"wrong result{error}{check.suspicion}")
    _refuse_late(job, call, 1, cold, behind)
    calls = _warm_up(job, call, cold, deadline, rule)
    if cold < rule.warm_s:
        said, _, output = _time(job, call, calls)
        _refuse_late(job, call, calls, said, _behind(job, output))
    row.calls = calls
    row.per_process.append(0)
    return call


def _behind(job: Job, output: Any) -> float:
    """Seconds for which the device still works at a result that it has said to be done."""
    start = job.device.now()
    if job.own_s is None:  # such a call waits for its own end
        job.device.read(output)
    return job.device.now() - start


def _refuse_late(job: Job, call: Call, calls: int, said: float, behind: float) -> None:
    """Refuse a device that goes on after it said that it was done; a busy host may be late once."""
    for _ in range(ASKED):
        if behind <= max(said, LATE_S):
            return
        said, _, output = _time(job, call, calls)
        behind = _behind(job, output)
    late = f"said to be done after {said:.3g} s, it worked on for {behind:.3g} s"
    raise _Refused("invalid", f"missing synchronize: the device was {late}")


def _warm_up(job: Job, call: Call, cold: float, deadline: float, rule: Rule) -> int:
    """Call until two medians of three agree or the time is up; returns how many calls make one time."""
    calls, before, last = 1, None, cold
    end = min(job.device.now() + rule.warm_s, deadline)
    while cold <= rule.warm_s and job.device.now() < end:
        last = median(_time(job, call, calls)[0] / calls for _ in range(3))
        wanted = max(1, round(rule.sample_s / last))
        if before and abs(last - before) <= rule.agree * before and calls >= wanted / 2:
            break
        before, calls = last, wanted
    return max(1, round(rule.sample_s / last))


def _time(job: Job, call: Call, calls: int) -> tuple[float, float | None, Any]:
    """Seconds of so many calls by the wall clock, by the device's own where there is one; the last result."""
    device, output = job.device, None
    device.synchronize()
    start = device.now()
    first = None if job.alone else device.mark()  # of calls that wait each, only the wall clock sees all
    for _ in range(calls):
        output = call()
        if job.alone:
            device.synchronize()
    last = None if job.alone else device.mark()
    device.synchronize()
    wall = device.now() - start
    return wall, None if first is None else device.between(first, last), output
