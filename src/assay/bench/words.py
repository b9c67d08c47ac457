"""Numbers as people read them, and measurements as rows of a table."""

from collections.abc import Sequence

from assay.bench.measurement import Measurement
from assay.bench.report import Table

ROW_COLUMNS = ("what", "device", "threads", "precision", "by", "time", "95 % interval", "rate", "notes")


def seconds(value: float) -> str:
    """Three significant digits with the unit that suits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{digits(value / scale)} {unit}"
    return f"{digits(value / 1e-9)} ns"


def digits(value: float, count: int = 3) -> str:
    """So many significant digits, never in powers of ten for ordinary numbers."""
    if value == 0:
        return "0"
    text = f"{value:.{count}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def rate(found: Measurement) -> str:
    """The rate that suits the task: arithmetic, samples or bytes a second."""
    if found.tflops is not None:
        return flops(found.tflops)
    if found.samples_per_second is not None:
        return f"{found.samples_per_second:,.0f} samples/s"
    if found.bytes_per_second is not None:
        return f"{digits(found.bytes_per_second / 1e9)} GB/s"
    return ""


def flops(tflops: float) -> str:
    return f"{digits(tflops)} TFLOP/s" if tflops >= 1 else f"{digits(tflops * 1e3)} GFLOP/s"


def share(found: Measurement) -> str:
    """The rate as a share of the device's peak; "about" where that peak is an estimate."""
    if found.of_limit is None or found.limit is None:
        return "unknown"
    return f"{'' if found.limit.bound else 'about '}{100 * found.of_limit:.0f} %"


def notes(found: Measurement) -> str:
    """Why a row has no time, or what is odd about it."""
    if not found.ok:
        return f"{found.status} ({found.reason})"
    return "; ".join(found.warnings)


def spread(found: Measurement) -> str:
    """The interval of the median as a percentage around it."""
    interval = found.interval_s
    if interval is None:
        return "none"
    middle = found.median_s
    return f"{100 * (interval.low / middle - 1):+.1f} .. {100 * (interval.high / middle - 1):+.1f} %"


def rows(title: str, measurements: Sequence[Measurement], screen: bool = True) -> Table:
    """One line a measurement, with all that a reader can ask of it."""
    lines: list[tuple[str, ...]] = []
    for found in measurements:
        task = found.task
        timed = bool(found.times) and found.status != "invalid"  # what is wrong has no time
        lines.append(
            (
                task.what if task.size is None else f"{task.what} {task.size}",
                task.device,
                str(task.threads or ""),
                task.precision,
                task.by,
                seconds(found.median_s) if timed else "",
                spread(found) if timed else "",
                rate(found) if timed else "",
                notes(found),
            )
        )
    return Table(title, ROW_COLUMNS, tuple(lines), screen)
