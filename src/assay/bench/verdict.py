"""Whether times can be believed: against the device's peak, its second clock, its sensors, and each other."""

from dataclasses import replace

from assay.bench import statistics
from assay.bench.measurement import Measurement

TOLERANCE = 1.05  # a boosting card can pass its data sheet a little
CLOCKS_APART = 0.10  # wall clock against events, relative
CLOCKS_FLOOR_S = 100e-6  # starting and waiting cost this much: no disagreement
CLOCK_DROP = 0.05


def judged(found: Measurement) -> Measurement:
    """The measurement with its verdict: invalid where faster than the device can be, warned where odd."""
    if not found.times:
        return found
    found = replace(found, warnings=(*found.warnings, *_warnings(found)))
    share, limit = found.of_limit, found.limit
    if share is None or limit is None or not limit.bound or share <= TOLERANCE:
        return found
    scale, unit = (1e12, "TFLOP/s") if limit.unit == "FLOP/s" else (1e9, "GB/s")
    rates = f"{share * limit.rate / scale:.4g} {unit}, its peak is {limit.rate / scale:.4g} {unit}"
    return replace(
        found, status="invalid", reason=f"faster than the device can be: {rates}; was it synchronized?"
    )


def _warnings(found: Measurement) -> list[str]:
    told: list[str] = []
    if found.event_s:
        wall, event = statistics.median(found.wall_s), statistics.median(found.event_s)
        apart = abs(wall - event)
        if apart > CLOCKS_APART * wall and apart * found.calls > CLOCKS_FLOOR_S:
            told.append(f"clocks disagree: wall {wall:.3g} s, events {event:.3g} s a call")
    reasons = sorted({reason for reading in found.readings for reason in reading.throttle})
    if reasons:
        told.append(f"throttled: {', '.join(reasons)}")
    clocks = [reading.clock_mhz for reading in found.readings if reading.clock_mhz]
    if found.task.device != "cpu" and clocks and min(clocks) < (1 - CLOCK_DROP) * max(clocks):
        told.append(f"clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    if far := found.outliers:
        told.append(f"{len(far)} of {len(found.times)} are outliers")
    if len(found.times) < 6:
        told.append(f"{len(found.times)} time{'s' if len(found.times) > 1 else ''}: no interval")
    return told
