"""Every optimizer in every form, with the memory that its definition asks for."""

from assay.bench.optimizer import FORMS, OPTIMIZERS
from tests.bench.fake import HostAsGpu
from tests.bench.runs import cells, run


def test_every_form_is_timed_and_its_state_counted() -> None:
    record, report = run("optimizer", "seconds=60", "depth=3", "width=8", "model.width=4", "threads=1")
    assert len(record.ok()) == 2 * len(OPTIMIZERS) * len(FORMS)
    parameters = record.details["networks"]["3 layers of 8"]["parameters"]
    assert parameters == 3 * (8 * 8 + 8)
    state = {key: size for key, size in record.details["state_bytes"].items() if "3 layers of 8" in key}
    assert len(state) == len(OPTIMIZERS) * len(FORMS)
    for key, size in state.items():
        averages = 0 if key.startswith("SGD, ") else 1 if key.startswith("SGD with") else 2
        counters = 6 * 4  # the number of steps, once a tensor, where the form keeps it beside the averages
        assert averages * parameters * 4 <= size <= averages * parameters * 4 + counters, key
    assert set(cells(report, "3 layers of 8", "by")) == set(FORMS)


def test_it_runs_on_a_gpu() -> None:
    words = ("seconds=60", "depth=2", "width=4", "model.width=4")
    record, _ = run("optimizer", *words, devices=[HostAsGpu()])
    assert {m.task.device for m in record.ok()} == {"cuda:0"}
