"""R11, R12 and R13: damaged data, first runs at once, and a device that is not here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from assay import PROJECT
from assay.data.files import damaged
from assay.data.images import MNIST
from tests.processes import KILLED, Zygote
from tests.reliability.fetching import mirror
from tests.reliability.harness import WORDS, only_run
from tests.runs import result

RAW = PROJECT / "data" / "MNIST" / "raw"
PREPARE = "tests.reliability.fetching:prepare"


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "missing"])
@pytest.mark.parametrize("name", MNIST.checksums)
def test_damaged_data(zygote: Zygote, tmp_path: Path, name: str, how: str) -> None:
    """The extracted file and its packed original: found by SHA-256 before a step, nothing written."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in RAW.glob("*ubyte*"):
        os.link(path, raw / path.name)
    content = (raw / name).read_bytes()
    (raw / name).unlink()
    (raw / f"{name}.gz").unlink()
    (raw / f"{name}.gz").write_bytes(b"no archive")
    if how != "missing":
        changed = content[:-1] + bytes([content[-1] ^ 1])
        (raw / name).write_bytes({"truncated": content[:-1], "empty": b"", "flipped": changed}[how])
    words = (f"data.root={tmp_path / 'data'}", "data.download=false", f"output_dir={tmp_path / 'out'}")
    code, text = zygote.train(*WORDS, *words)
    assert code == 2, text
    for expected in (str(raw / name), f"expected SHA-256 {MNIST.checksums[name]}", "got ", "original"):
        assert expected in text
    assert "Traceback" not in text and not (tmp_path / "out").exists()


def race(zygote: Zygote, tmp_path: Path, rounds: int) -> None:
    succeeded = 0
    for index in range(rounds):
        root = tmp_path / str(index)
        with mirror(RAW) as (address, asked):
            first = [zygote.start(PREPARE, root=str(root), mirror=address) for _ in range(4)]
            codes = [child.wait() for child in first]
        assert codes == [0, 0, 0, 0], [child.text for child in first]
        assert dict(asked) == {f"{name}.gz": 1 for name in MNIST.checksums}
        succeeded += len(codes)
        shutil.rmtree(root)
    print(
        f"R12: {succeeded}/{4 * rounds} first runs succeed, each file fetched once in each of {rounds} rounds"
    )


def test_four_first_runs_at_once(zygote: Zygote, tmp_path: Path) -> None:
    race(zygote, tmp_path, 2)


@pytest.mark.full
def test_twenty_rounds_of_first_runs(zygote: Zygote, tmp_path: Path) -> None:
    race(zygote, tmp_path, 20)


@pytest.mark.parametrize("where", [".gz.part", "ubyte.part"])
def test_the_holder_is_killed(zygote: Zygote, tmp_path: Path, where: str) -> None:
    """While it fetches, or extracts: the next run does it, and leaves no half file."""
    with mirror(RAW) as (address, _):
        assert zygote.run(PREPARE, root=str(tmp_path), mirror=address, kill_in=where)[0] == KILLED
        raw = tmp_path / "MNIST" / "raw"
        assert list(raw.glob(".*.part"))
        code, text = zygote.run(PREPARE, root=str(tmp_path), mirror=address)
    assert code == 0, text
    assert damaged(raw, MNIST.checksums) == {} and not list(raw.glob(".*.part"))


def test_a_mirror_that_lies(tmp_path: Path, zygote: Zygote) -> None:
    lies = tmp_path / "lies"
    lies.mkdir()
    for name in MNIST.checksums:
        (lies / f"{name}.gz").write_bytes(b"not what was asked for")
    with mirror(lies) as (address, _):
        code, text = zygote.run(PREPARE, root=str(tmp_path / "data"), mirror=address)
    assert code == 1 and "UserError" in text and "its MD5 is" in text
    assert not list((tmp_path / "data").rglob("*.gz*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu(zygote: Zygote, tmp_path: Path) -> None:
    code, text = zygote.train(*WORDS, "device=gpu", f"output_dir={tmp_path / 'gpu'}")
    assert code == 2 and "device=cpu works here" in text and "Traceback" not in text
    assert not (tmp_path / "gpu").exists()
    code, text = zygote.train(*WORDS, "device=auto", "device.threads=1", f"output_dir={tmp_path / 'auto'}")
    assert code == 0 and "device  cpu (" in text
    assert result(only_run(tmp_path / "auto"))["device"]["accelerator"] == "cpu"


@pytest.mark.full
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_bench_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "bench.py", "sizes=[64,128]", "seconds=10", f"output_dir={tmp_path}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA GPU" in done.stdout + done.stderr or "no GPU" in done.stdout + done.stderr
