"""The core against a device whose truth is known."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from assay.bench.measure import Rule, measure
from assay.bench.record import Check, Limit, Measurement, Reading, Record, Task, load, save
from tests.bench.fake import LAUNCH_S, FakeDevice, job


def only(measurements: list[Measurement]) -> Measurement:
    assert len(measurements) == 1
    return measurements[0]


def read_back(measurement: Measurement, folder: Path) -> Measurement:
    save(Record([measurement], bench="matmul"), folder)
    return load(folder, "report").measurements[0]


def test_a_known_delay_is_found_by_both_clocks() -> None:
    found = only(measure([job(FakeDevice(), 5e-3)], deadline=10.0))
    assert found.status == "ok"
    assert found.median_s == pytest.approx(5e-3, rel=1e-3)
    assert found.event_s and found.times == found.event_s
    assert found.wall_s[0] == pytest.approx(5e-3, rel=2e-3)
    assert found.per_second("flop") == pytest.approx(2e9 / 5e-3, rel=1e-3)
    assert found.warnings == ()


def test_short_calls_are_repeated_until_the_timer_is_good_enough() -> None:
    found = only(measure([job(FakeDevice(), 2e-5)], deadline=10.0))
    assert found.calls == pytest.approx(100, rel=0.1)
    assert found.median_s == pytest.approx(2e-5, rel=1e-2)


def test_the_cold_call_is_reported_apart() -> None:
    delays = iter([0.3])
    found = only(measure([job(FakeDevice(), lambda: next(delays, 1e-2))], deadline=10.0))
    assert found.cold_s == pytest.approx(0.3, rel=1e-3)
    assert found.median_s == pytest.approx(1e-2, rel=1e-3)


def test_warming_up_goes_on_until_the_medians_agree() -> None:
    calls = 0

    def slow_at_first() -> float:
        nonlocal calls
        calls += 1
        return 1e-2 * (1 + 2 * max(0.0, 1 - calls / 20))

    found = only(measure([job(FakeDevice(), slow_at_first)], deadline=10.0))
    assert found.median_s == pytest.approx(1e-2, rel=0.05)


def test_a_missing_synchronize_is_caught_and_named() -> None:
    found = only(measure([job(FakeDevice(synchronizes=False), 5e-3)], deadline=10.0))
    assert found.status == "invalid"
    assert "missing synchronize" in found.reason
    assert found.times == []


def test_a_host_that_is_late_once_is_not_accused() -> None:
    device = FakeDevice()
    reads = 0

    def read_late_once(output: object) -> None:
        nonlocal reads
        reads += 1
        device.host_s += 0.05 if reads in (1, 3) else 0.0

    device.read = read_late_once  # type: ignore[method-assign]
    found = only(measure([job(device, 5e-3)], deadline=10.0))
    assert found.ok


def test_a_missing_synchronize_of_long_work_is_not_queued_a_thousand_times() -> None:
    device = FakeDevice(synchronizes=False)
    found = only(measure([job(device, 10.0)], deadline=100.0))
    assert "missing synchronize" in found.reason
    assert device.worked_s <= 50.0


def test_clocks_that_disagree_are_told() -> None:
    device = FakeDevice()
    device.between = lambda start, end: 0.5 * (end - start)  # type: ignore[method-assign]
    found = only(measure([job(device, 5e-3)], deadline=10.0))
    assert any("clocks disagree" in warning for warning in found.warnings)


def test_a_result_faster_than_the_device_can_be_is_refused() -> None:
    peak = Limit(1e12, "FLOP/s", "data sheet")
    fast = only(measure([job(FakeDevice(), 1e-3, limit=peak)], deadline=10.0))  # 2 TFLOP/s
    assert fast.status == "invalid"
    assert fast.reason.startswith("faster than the device can be: 1.999 TFLOP/s, its peak is 1 TFLOP/s")
    assert fast.times  # the raw times are kept
    slow = only(measure([job(FakeDevice(), 2.0e-3, limit=peak)], deadline=10.0))
    assert slow.ok
    estimate = Limit(1e12, "FLOP/s", "listed clock", bound=False)
    assert only(measure([job(FakeDevice(), 1e-3, limit=estimate)], deadline=10.0)).ok


def test_memory_is_predicted_before_it_is_taken() -> None:
    prepared: list[str] = []
    tight = job(FakeDevice(memory=10**6), 1e-3, needs=3 * 10**6)
    found = only(measure([tight], deadline=10.0))
    assert (found.status, found.reason) == ("skipped", "needs 3 MB, free 1 MB")
    assert not prepared


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried ..."), MemoryError("cannot allocate")]
)
def test_running_out_of_memory_skips_the_row_and_goes_on(error: BaseException) -> None:
    def run_out() -> float:
        raise error

    device = FakeDevice()
    first, second = measure([job(device, run_out, needs=10**6), job(device, 1e-3)], deadline=10.0)
    assert first.status == "skipped"
    assert first.reason == "out of memory: needs 1 MB, free 1 GB"
    assert second.ok


def test_an_operation_that_the_device_lacks_skips_the_row() -> None:
    def lack() -> float:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    found = only(measure([job(FakeDevice(), lack)], deadline=10.0))
    assert found.status == "skipped"
    assert "not implemented for 'Half'" in found.reason


def test_any_other_error_is_a_bug_and_rises() -> None:
    def break_down() -> float:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        measure([job(FakeDevice(), break_down)], deadline=10.0)


def test_a_wrong_product_has_no_time(tmp_path: Path) -> None:
    wrong = job(FakeDevice(), 1e-3, check=lambda output: Check(0.3, 1e-5))
    found = only(measure([wrong], deadline=10.0))
    assert found.status == "invalid"
    assert found.reason == "wrong result: error 3.0e-01 against float64, at most 1.0e-05 is right"
    assert found.times == []
    missing = only(measure([job(FakeDevice(), 1e-3, check=lambda output: Check.of(math.nan, 1e-5))], 10.0))
    assert missing.reason.startswith("wrong result: error not finite")
    assert read_back(missing, tmp_path) == missing


def test_throttling_is_told_with_its_reason_and_the_fallen_clock() -> None:
    found = only(measure([job(FakeDevice(hot_after_s=0.5), 1e-2)], 3.0, rule=Rule(width=0.0, most=100)))
    assert found.ok
    assert "throttled: hardware thermal slowdown" in found.warnings
    assert "clock fell from 2000 to 1400 MHz" in found.warnings


def test_outliers_are_flagged_and_kept() -> None:
    noise = random.Random(1)
    calls = 0

    def with_hiccups() -> float:
        nonlocal calls
        calls += 1
        return 5e-3 * (1 + 0.02 * noise.random()) * (4 if calls % 25 == 0 else 1)

    found = only(measure([job(FakeDevice(), with_hiccups)], 10.0, rule=Rule(width=0.0, most=100)))
    assert len(found.times) == 100
    assert 4 <= len(found.outliers) <= 9  # every 25th call, and some calls are not timed
    assert any("outliers" in warning for warning in found.warnings)
    assert found.median_s == pytest.approx(5.05e-3, rel=0.01)


def test_noise_takes_more_times_than_quiet() -> None:
    noise = random.Random(1)
    device = FakeDevice()
    jobs = [job(device, 5e-3, "quiet"), job(device, lambda: 5e-3 * (1 + noise.random()), "noisy")]
    quiet, noisy = measure(jobs, deadline=10.0)
    assert len(quiet.times) == Rule().least
    assert len(noisy.times) > 3 * len(quiet.times)


def test_drift_meets_all_jobs_alike() -> None:
    device = FakeDevice()

    def drifting() -> float:
        return 5e-3 * (1 + device.host_s)  # twice as slow after a second

    jobs = [job(device, drifting, name) for name in ("a", "b", "c")]
    medians = [m.median_s for m in measure(jobs, 3.0, rule=Rule(width=0.0, most=50))]
    assert max(medians) / min(medians) < 1.05


def test_the_threads_of_another_library_are_given_time_to_sleep() -> None:
    alike, mixed = FakeDevice(), FakeDevice()
    measure([job(alike, 5e-3, "a"), job(alike, 5e-3, "b")], deadline=10.0)
    measure([job(mixed, 5e-3, "a"), job(mixed, 5e-3, "b", pool="numpy")], deadline=10.0)
    assert alike.slept == 1  # before the first
    assert mixed.slept > 10


def test_the_deadline_is_kept() -> None:
    device = FakeDevice()
    measure([job(device, 0.4, "a"), job(device, 0.4, "b")], deadline=5.0)
    assert device.now() <= 5.0


def test_a_job_that_cannot_be_done_in_time_is_skipped_with_the_numbers() -> None:
    device = FakeDevice()
    jobs = [job(device, 3.0, "fits", expected_s=3.0), job(device, 3.0, "late", expected_s=3.0)]
    fits, late = measure(jobs, deadline=8.0)
    assert len(fits.times) >= 1
    assert "1 time: no interval" in fits.warnings
    assert (late.status, late.reason) == ("skipped", "needs about 6 s, 2 s are left")
    assert device.now() <= 8.0


def test_ctrl_c_keeps_what_is_measured() -> None:
    device = FakeDevice(interrupt_at_s=0.5)
    jobs = [job(device, 5e-3, "a"), job(device, 5e-3, "b")]
    rows: list[Measurement] = []
    counts: list[int] = []

    def count(text: str) -> None:
        counts.append(sum(len(m.times) for m in rows))

    with pytest.raises(KeyboardInterrupt):
        measure(jobs, 100.0, rule=Rule(width=0.0, most=10_000), tell=count, rows=rows)
    assert [len(m.times) > 3 for m in rows] == [True, True]
    assert counts[-3:] == [counts[-1] - 2, counts[-1] - 1, counts[-1]]  # they can be kept time after time


def test_ctrl_c_while_preparing_loses_only_the_job_in_hand() -> None:
    device = FakeDevice()

    def interrupt() -> float:
        raise KeyboardInterrupt

    rows: list[Measurement] = []
    with pytest.raises(KeyboardInterrupt):
        measure([job(device, 5e-3, needs=10**10), job(device, interrupt)], 10.0, rows=rows)
    assert [m.status for m in rows] == ["skipped"]


def test_each_job_runs_in_its_own_setting() -> None:
    seen: list[tuple[str, int, bool | str]] = []

    def noted(name: str) -> Callable[[], float]:
        def seconds() -> float:
            seen.append((name, torch.get_num_threads(), torch.backends.cuda.matmul.fp32_precision))
            return 5e-3

        return seconds

    before = torch.get_num_threads(), torch.backends.cuda.matmul.fp32_precision
    jobs = [
        replace(job(FakeDevice(), noted(name)), task=Task("matmul", name, "cpu", name, threads))
        for name, threads in (("float32", 1), ("tf32", 2))
    ]
    measure(jobs, deadline=10.0)
    assert set(seen) == {("float32", 1, "ieee"), ("tf32", 2, "tf32")}
    assert (torch.get_num_threads(), torch.backends.cuda.matmul.fp32_precision) == before


def test_a_peak_is_raised_by_the_clock_that_was_read_and_never_lowered() -> None:
    def limited(clock_mhz: float | None) -> Measurement:
        device = FakeDevice()
        device.reading = lambda: Reading(clock_mhz=clock_mhz)  # type: ignore[method-assign]
        peak = Limit(1.8e12, "FLOP/s", "data sheet", clock_mhz=1000.0)
        return only(measure([job(device, 1e-3, limit=peak)], deadline=10.0))  # 2 TFLOP/s

    assert not limited(1000.0).ok and not limited(500.0).ok
    assert limited(1100.0).ok
    assert limited(None).ok  # it may have boosted
    assert limited(1100.0).of_limit == pytest.approx(1.999 / 1.98, rel=1e-3)


def test_latency_waits_for_each_call_and_throughput_does_not() -> None:
    device = FakeDevice()
    together, alone = measure([job(device, 1e-5), replace(job(device, 1e-5, "b"), alone=True)], deadline=10.0)
    assert together.event_s and not alone.event_s
    assert alone.median_s == pytest.approx(1e-5 + LAUNCH_S, rel=0.01)
    assert together.median_s == pytest.approx(1e-5, rel=0.01)


def test_a_row_that_was_measured_beside_other_programs_says_so() -> None:
    def beside(others_s: float) -> Measurement:
        device = FakeDevice()
        device.reading = lambda: Reading(others_s=others_s, cpu_s=0.1)  # type: ignore[method-assign]
        return only(measure([job(device, 5e-3)], deadline=10.0))

    assert beside(0.08).warnings == ("under load: others used 80 % of the CPU",)
    assert beside(0.001).warnings == ()


def test_a_call_with_a_clock_of_its_own_says_how_long_it_and_its_parts_took(tmp_path: Path) -> None:
    timed = replace(job(FakeDevice(), 5e-3), own_s=lambda output: {"call": 4e-3, "epoch": 1e-3})
    found = only(measure([timed], deadline=10.0))
    assert set(found.wall_s) == {4e-3} and set(found.parts_s["epoch"]) == {1e-3}
    assert read_back(found, tmp_path) == found
