"""R14: too little memory is explained, and the next run of the same process gets it back."""

from pathlib import Path

import pytest

from assay.errors import RunFailed
from assay.run.failures import explained_out_of_memory
from tests.processes import Zygote
from tests.reliability.harness import WORDS, only_run
from tests.runs import config, result

MEGABYTE = 1024**2


def test_on_a_gpu(zygote: Zygote, tmp_path: Path) -> None:
    """Simulated: the error that torch raises."""
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault={"out_of_memory": 100})
    found = result(only_run(tmp_path))
    assert code == 1 and found["status"] == "failed", text
    for expected in ("out of memory with data.batch_size=32", "GiB", "data.batch_size=16", "model.width=1"):
        assert expected in text and expected in found["error"]
    assert "Traceback" not in text
    assert found["epochs"] == 1 and "val/accuracy" in found["metrics"]


def test_on_the_cpu(zygote: Zygote, tmp_path: Path) -> None:
    """The system gives the process no more memory: while it trains, and while the network is made."""
    words = (*WORDS, "model.width=64", "data.batch_size=20000", "data.in_memory=true")
    code, text = zygote.train(*words, f"output_dir={tmp_path}", fault={"address_space": 1500 * MEGABYTE})
    assert code == 1, text
    assert "out of memory with data.batch_size=20000" in text and "try data.batch_size=10000" in text
    assert result(only_run(tmp_path))["status"] == "failed" and "Traceback" not in text
    wide = (*WORDS, "model=mlp", "model.width=2000000", f"output_dir={tmp_path / 'wide'}")
    code, text = zygote.train(*wide, fault={"address_space": 2000 * MEGABYTE})
    assert code == 1 and "or model.width=1000000" in text and "Traceback" not in text
    assert not (tmp_path / "wide").exists()
    print("R14 CPU: explained with batch size, peak and two suggestions, while training and while building")


def test_the_next_run_gets_the_memory(zygote: Zygote, tmp_path: Path) -> None:
    """One process: a run that fails, then one that fits, under one limit."""
    code, text = zygote.run("tests.reliability.test_out_of_memory:fail_then_fit", output_dir=str(tmp_path))
    assert code == 0, text
    (failed,) = (tmp_path / "large" / "runs").iterdir()
    (fitted,) = (tmp_path / "small" / "runs").iterdir()
    assert result(failed)["status"] == "failed" and result(fitted)["status"] == "completed"
    print("R14: after a run that failed for memory the next one in the process completes")


def fail_then_fit(output_dir: str) -> int:
    """In a child: the codes of a run that is too large and of one that needs most of what there is."""
    from tests.reliability.faults import train

    large = (*WORDS, "model.width=64", "data.batch_size=20000", f"output_dir={output_dir}/large")
    code = train(large, {"address_space": 1500 * MEGABYTE})
    small = (
        *WORDS,
        "model.width=4",
        "data.batch_size=2000",
        "trainer.limit_train_batches=3",
        "trainer.max_epochs=1",
        f"output_dir={output_dir}/small",
    )
    return 0 if (code, train(small)) == (1, 0) else 1


def test_other_errors_are_no_memory_errors() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained_out_of_memory(config()):
        raise RuntimeError("shapes differ")
    with (
        pytest.raises(RunFailed, match=r"batch_size=32, or model\.width=64"),
        explained_out_of_memory(config()),
    ):
        raise MemoryError
