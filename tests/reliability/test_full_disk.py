"""R7 and R8: a disk that is full, a folder that cannot be written to."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.run.folder import RunFolder
from assay.training.checkpoint import load_verified
from tests.processes import Zygote
from tests.reliability.harness import WORDS, only_run, strays
from tests.runs import result, rows

NOBODY = 65534
SMALL = "mount -t tmpfs -o size=8m tmpfs"
MEGABYTE = 1024**2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run([*SMALL.split(), str(disk)], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_full_at_a_checkpoint(zygote: Zygote, small_disk: Path) -> None:
    """Someone else fills the disk while the run trains; with room again it is resumed."""
    command = [*WORDS, f"output_dir={small_disk}"]
    assert zygote.train(*command, fault={"step": 90})[0] == -9
    folder = only_run(small_disk)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"\0" * (free - 4096))
    code, text = zygote.train(f"resume={folder}")
    assert code == 2 and "MiB free, this run needs up to" in text and "output_dir" in text
    filler.unlink()
    last = folder / "checkpoints" / "last.ckpt"
    code, text = zygote.train(f"resume={folder}", fault={"fill": str(filler), "fill_at": 30})
    assert code == 1, text
    assert f"{last} cannot be written: No space left on device" in text
    assert "bytes are needed" in text and "are free on its disk" in text and "Traceback" not in text
    state, damage = load_verified(last)
    assert damage is None and state["global_step"] >= 75
    filler.unlink()
    assert RunFolder.open(folder).status in ("failed", "interrupted")
    assert zygote.train(f"resume={folder}")[0] == 0
    assert result(folder)["steps"] == 180 and strays(folder) == []
    print("R7 checkpoint: previous one valid, path, needed and free bytes said, resumed when there was room")


def test_a_checkpoint_larger_than_files_may_be(zygote: Zygote, tmp_path: Path) -> None:
    words = (*WORDS, "model=mlp", "model.width=512")  # some five megabytes with Adam's moments
    code, text = zygote.train(*words, f"output_dir={tmp_path}", fault={"file_size": MEGABYTE})
    folder = only_run(tmp_path)
    assert code == 1 and "File too large" in text and "bytes are needed" in text
    assert result(folder)["status"] == "failed" and "last.ckpt cannot be written" in result(folder)["error"]
    assert not (folder / "checkpoints" / "last.ckpt").exists() and strays(folder) == []
    assert zygote.train(f"resume={folder}")[0] == 0


def test_full_at_the_event_file(zygote: Zygote, undisturbed: Path, tmp_path: Path) -> None:
    """A view costs one warning; the record and the result are whole."""
    fault = {"unwritable": "tfevents", "after": 4}
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault=fault)
    folder = only_run(tmp_path)
    assert code == 0, text
    assert text.count("WARNING") == 1 and "TensorBoard's file cannot be written" in text
    assert "Traceback" not in text and "Exception in thread" not in text
    assert result(folder)["status"] == "completed"
    assert rows(folder) == rows(undisturbed)
    assert result(folder)["metrics"] == result(undisturbed)["metrics"]
    print("R7 event file: one warning, the run completes with the same record")


def test_full_at_metrics(zygote: Zygote, undisturbed: Path, tmp_path: Path) -> None:
    """The record is no view: the run stops, and goes on with no row lost or twice."""
    fault = {"unwritable": "metrics.csv", "mode": "a", "after": 12}
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault=fault)
    folder = only_run(tmp_path)
    assert code == 1 and "metrics.csv cannot be written: No space left on device" in text
    assert result(folder)["status"] == "failed" and "Traceback" not in text
    assert zygote.train(f"resume={folder}")[0] == 0
    assert rows(folder) == rows(undisturbed)


def test_full_at_the_log_and_pictures(zygote: Zygote, tmp_path: Path) -> None:
    for name in ("log.txt", "png"):
        output = tmp_path / name
        code, text = zygote.train(*WORDS, f"output_dir={output}", fault={"unwritable": name})
        assert code == 0, text
        assert text.count("cannot be written") == 1 and "Traceback" not in text
        assert result(only_run(output))["status"] == "completed"


@pytest.mark.parametrize("name", ["config.yaml", "result.json"])
def test_full_at_the_first_files(zygote: Zygote, tmp_path: Path, name: str) -> None:
    """Nothing was trained, and no half file stands there; a folder that would have no config is not made."""
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault={"unwritable": name})
    assert code == 1 and f"{name} cannot be written" in text and "Traceback" not in text
    assert "epoch" not in text and strays(tmp_path) == []
    assert not list(tmp_path.glob(f"runs/*/{name}"))
    assert len(list((tmp_path / "runs").iterdir())) == (0 if name == "config.yaml" else 1)


def test_full_at_the_result(zygote: Zygote, tmp_path: Path) -> None:
    """The last word cannot be written: the run fails, and the next command sees that it is not running."""
    fault = {"unwritable": "result.json", "after": 2}
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault=fault)
    folder = only_run(tmp_path)
    assert code == 1 and "result.json cannot be written" in text and "Traceback" not in text
    assert json.loads((folder / "result.json").read_text())["status"] == "running"
    assert RunFolder.open(folder).status == "interrupted"
    code, _ = zygote.train(f"resume={folder}")
    assert code == 0 and result(folder)["status"] == "completed"


@pytest.mark.parametrize("what", ["no permission", "not even to look", "a file in the way", "read-only"])
def test_unwritable_output(zygote: Zygote, tmp_path: Path, what: str) -> None:
    """Nothing is trained; the message has the folder and the key."""
    if os.name == "nt" or os.getuid() != 0:
        pytest.skip("needs root to become another user and to mount")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    output, uid = tmp_path / "out", None
    if what == "no permission":
        output.mkdir(mode=0o755)
        uid = NOBODY
    elif what == "not even to look":
        tmp_path.chmod(0o700)
        uid = NOBODY
    elif what == "a file in the way":
        output.touch()
    else:
        output.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(output)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this machine does not let us mount a read-only disk")
    try:
        code, text = zygote.train(*WORDS, f"output_dir={output}", uid=uid)
        assert code == 2, text
        assert f"output_dir: {output} cannot be written to" in text and "set output_dir to" in text
        assert "Traceback" not in text and "epoch" not in text and len(text.splitlines()) <= 4
        assert output.is_file() or not output.exists() or list(output.iterdir()) == []
    finally:
        if what == "read-only":
            subprocess.run(["umount", "-l", output], check=True)
    print(f"R8 {what}: exit 2 before a step, the folder and the key named")
