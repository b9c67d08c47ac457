"""What `bench=matmul` says of its record: the headline, sizes with their crossover, burst and sustained."""

from collections.abc import Sequence
from typing import Any

from assay.bench import words
from assay.bench.measurement import Measurement, Record
from assay.bench.peaks import DATE
from assay.bench.report import Figure, Report, Series, Table
from assay.bench.statistics import crossover, median
from assay.config.schema import MatmulConfig

REUSED = 10  # products for which "moved once" moves the data one time


def report(config: MatmulConfig, record: Record) -> Report:
    """The lesson's lines first: devices, times, speedup."""
    size = headline_size(record)
    facts: dict[str, Any] = {"headline_size": size}
    lines: list[str] = []
    tables: list[Table] = []
    if size is not None:
        found = record.all(what="matmul", size=size)
        tables.append(_headline(size, found, record))
        facts["speedups"] = {name: speedups(name, found) for name in record.titles if name != "cpu"}
        lines += [
            line for name in facts["speedups"] for line in _speedup_lines(facts["speedups"][name], name)
        ]
    lines += [f"no {'GPU' if kind == 'cuda' else kind}: {reason}" for kind, reason in record.absent.items()]
    facts["crossover"] = {name: crossovers(record, name) for name in record.titles if name != "cpu"}
    lines += [_crossover_line(name, found) for name, found in facts["crossover"].items()]
    facts["sustained"] = [_sustained(m) for m in record.ok(what="sustained")]
    lines += [_sustained_line(found) for found in facts["sustained"]]
    tables += [_by_size(record), words.rows("all rows", record.measurements, screen=False)]
    return Report(tuple(lines), tuple(tables), _figures(record, facts["crossover"]), facts)


def headline_size(record: Record) -> int | None:
    """The largest size that has a time."""
    sizes = [m.task.size for m in record.ok(what="matmul") if m.task.size]
    return max(sizes, default=None)


def best_cpu(found: Sequence[Measurement], precision: str = "float32") -> Measurement | None:
    """Torch on the CPU with the thread count that is fastest."""
    rows = [m for m in found if m.ok and m.task.device == "cpu" and m.task.by == "torch"]
    return min((m for m in rows if m.task.precision == precision), key=lambda m: m.median_s, default=None)


def speedups(gpu: str, found: Sequence[Measurement]) -> dict[str, float]:
    """How many times as fast as the CPU the GPU is, float32 against float32, counted in four ways."""
    ours = {
        m.task.by: m.median_s
        for m in found
        if m.ok and m.task.device == gpu and m.task.precision == "float32"
    }
    best = best_cpu(found)
    cpu = [
        m for m in found if m.ok and m.task.device == "cpu" and m.task.by == "torch" and m.task.threads == 1
    ]
    one = min((m.median_s for m in cpu if m.task.precision == "float32"), default=None)
    told: dict[str, float] = {}
    for how, by in (("", "torch"), (", transfers included", "torch, moved")):
        if by not in ours:
            continue
        if best:
            told[f"best CPU ({best.task.threads} threads){how}"] = best.median_s / ours[by]
        if one:
            told[f"one CPU thread{how}"] = one / ours[by]
    return told


def crossovers(record: Record, gpu: str) -> dict[str, int | None]:
    """From which size on the GPU wins against the best CPU thread count, for three ways to place the data."""
    cpu = {
        size: best.median_s
        for size in _sizes(record)
        if (best := best_cpu(record.all(what="matmul", size=size)))
    }
    kernel = _times(record, gpu, "torch")
    moved = _times(record, gpu, "torch, moved")
    once = {n: kernel[n] + (moved[n] - kernel[n]) / REUSED for n in kernel if n in moved}
    ways = (("kernel only", kernel), (f"moved once for {REUSED} products", once), ("moved every call", moved))
    return {name: crossover(list(times.items()), list(cpu.items())) for name, times in ways}


def _sizes(record: Record) -> list[int]:
    return sorted({m.task.size for m in record.all(what="matmul") if m.task.size})


def _times(record: Record, device: str, by: str) -> dict[int, float]:
    rows = record.ok(what="matmul", device=device, by=by, precision="float32")
    return {m.task.size: m.median_s for m in rows if m.task.size}


def _headline(size: int, found: Sequence[Measurement], record: Record) -> Table:
    columns = ("device", "by", "threads", "precision", "time", "rate", "of peak", "error", "notes")
    rows: list[tuple[str, ...]] = []
    for m in found:
        if m.task.by == "torch, moved" and not m.ok:
            continue
        rows.append(
            (
                f"{m.task.device}: {record.titles[m.task.device]}",
                m.task.by,
                str(m.task.threads or ""),
                m.task.precision,
                words.seconds(m.median_s) if m.ok else "",
                words.rate(m) if m.ok else "",
                words.share(m) if m.ok else "",
                str(m.check or ""),
                words.notes(m),
            )
        )
    return Table(f"{size} x {size}", columns, tuple(rows))


def _speedup_lines(found: dict[str, float], gpu: str) -> list[str]:
    return [f"speedup of {gpu} against {name}: {words.digits(ratio)} x" for name, ratio in found.items()]


def _crossover_line(gpu: str, found: dict[str, int | None]) -> str:
    said = [f"{way}: {'at no size' if size is None else f'from {size}'}" for way, size in found.items()]
    return f"{gpu} beats the CPU, {'; '.join(said)}"


def _sustained(found: Measurement) -> dict[str, Any]:
    """Burst is the first half second after a pause, sustained the second half of the run."""
    times, spent, burst = found.times, 0.0, 0
    while burst < len(times) and (spent < 0.5 or burst < 3):
        spent += times[burst] * found.calls
        burst += 1
    flop = found.task.flop or 0.0
    return {
        "device": found.task.device,
        "size": found.task.size,
        "seconds": sum(times) * found.calls,
        "burst_tflops": flop / median(times[:burst]) / 1e12,
        "sustained_tflops": flop / median(times[len(times) // 2 :]) / 1e12,
    }


def _sustained_line(found: dict[str, Any]) -> str:
    burst, sustained = found["burst_tflops"], found["sustained_tflops"]
    change = 100 * (sustained / burst - 1)
    return (
        f"{found['device']} at {found['size']} for {found['seconds']:.1f} s back to back: "
        f"burst {words.flops(burst)}, sustained {words.flops(sustained)} ({change:+.1f} %)"
    )


def _column(found: Measurement) -> str:
    task = found.task
    threads = f" {task.threads}t" if task.threads else ""
    return f"{task.device}{threads} {task.by} {task.precision}"


def _by_size(record: Record) -> Table:
    columns = list(dict.fromkeys(_column(m) for m in record.all(what="matmul")))
    rows: list[tuple[str, ...]] = []
    for size in _sizes(record):
        found = {_column(m): m for m in record.all(what="matmul", size=size)}
        cells = [words.rate(found[c]) if c in found and found[c].ok else "-" for c in columns]
        rows.append((str(size), *(cell.replace("FLOP/s", "") for cell in cells)))
    return Table("FLOP/s by size", ("n", *columns), tuple(rows))


def _figures(record: Record, marks: dict[str, dict[str, int | None]]) -> tuple[Figure, ...]:
    times: list[Series] = []
    rates: list[Series] = []
    for name in dict.fromkeys(_column(m) for m in record.ok(what="matmul")):
        found = [m for m in record.ok(what="matmul") if _column(m) == name]
        found.sort(key=lambda m: m.task.size or 0)
        times.append(Series(name, tuple((float(m.task.size or 0), m.median_s) for m in found)))
        rates.append(Series(name, tuple((float(m.task.size or 0), m.tflops or 0.0) for m in found)))
    lines = {
        f"{gpu}: {way}": float(size)
        for gpu, ways in marks.items()
        for way, size in ways.items()
        if size is not None
    }
    figures = [
        Figure("time", "Time of one n x n product", "n", "seconds", tuple(times), lines),
        Figure("rate", f"Arithmetic rate (peaks: table of {DATE})", "n", "TFLOP/s", tuple(rates), lines),
    ]
    sustained = [
        Series(f"{m.task.device} n={m.task.size}", _over_time(m)) for m in record.ok(what="sustained")
    ]
    if sustained:
        title = "Back-to-back products after a pause"
        figures.append(Figure("sustained", title, "seconds", "TFLOP/s", tuple(sustained), logarithmic=False))
    return tuple(figures)


def _over_time(found: Measurement) -> tuple[tuple[float, float], ...]:
    spent, points = 0.0, list[tuple[float, float]]()
    for seconds in found.times:
        spent += seconds * found.calls
        points.append((spent, (found.task.flop or 0.0) / seconds / 1e12))
    return tuple(points)
