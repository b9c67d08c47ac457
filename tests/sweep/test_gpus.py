from pathlib import Path

import pytest

from assay.sweep import gpus


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


def test_each_job_gets_a_gpu_of_its_own_and_gives_it_back() -> None:
    with gpus.one_gpu(["0", "1"], 1) as first:
        with gpus.one_gpu(["0", "1"], 1) as second:
            assert (first, second) == (0, 1)
        with gpus.one_gpu(["0", "1"], 1) as third:
            assert third == 1


def test_the_emptiest_gpu_comes_first_where_jobs_share() -> None:
    with gpus.one_gpu(["0", "1"], 2) as a, gpus.one_gpu(["0", "1"], 2) as b, gpus.one_gpu(["0", "1"], 2) as c:
        assert (a, b, c) == (0, 1, 0)


def test_without_a_gpu_nothing_is_waited_for() -> None:
    with gpus.one_gpu([], 1) as none:
        assert none is None


def test_what_cuda_visible_devices_hides_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    assert gpus.visible_gpus() == ["3", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible_gpus() == []
