"""`stages=[export]`: files that hold what the checkpoint holds."""

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assay.run import export
from tests.runs import checkpoint, result, run, train

ALL = "export.formats=[safetensors,pt2,onnx]"


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), f"model={request.param}", "model.width=8")


def test_every_format_is_loaded_back_and_compared(trained: Path, tmp_path: Path) -> None:
    assert run("stages=[export]", f"ckpt={trained}", ALL, f"output_dir={tmp_path}") == 0
    (folder,) = tmp_path.glob("runs/*")
    exported = result(folder)["export"]
    assert list(exported) == ["safetensors", "pt2", "onnx"]
    assert all(one["difference"] <= 1e-5 and one["samples"] == 1_000 for one in exported.values())
    weights = load_file(folder / "export" / "model.safetensors")
    saved = checkpoint(trained, "best")["state_dict"]
    assert all(torch.equal(tensor, saved[f"model.{name}"]) for name, tensor in weights.items())
    for example in ("example.py", "example_onnx.py"):
        ended = subprocess.run(
            [sys.executable, "-W", "error", example], cwd=folder / "export", capture_output=True, text=True
        )
        assert ended.returncode == 0 and "-" in ended.stdout, ended.stderr


def test_a_file_that_gives_other_logits_does_not_count(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, name = export.FORMATS["safetensors"]

    def wrong(model: torch.nn.Module, samples: torch.Tensor, file: Path) -> export.Forward:
        again = write(model, samples, file)
        return lambda inputs: again(inputs) + 0.1

    monkeypatch.setitem(export.FORMATS, "safetensors", (wrong, name))
    assert run("stages=[export]", f"ckpt={trained}", f"output_dir={tmp_path}") == 1
    assert "gives other logits" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*/export/model.safetensors"))


def test_a_missing_package_is_said_with_the_command(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        export, "find_spec", lambda name: None if name == "onnxruntime" else util.find_spec(name)
    )
    assert run("stages=[export]", f"ckpt={trained}", ALL, f"output_dir={tmp_path / 'out'}") == 2
    said = capsys.readouterr().err
    assert "onnx needs onnxruntime" in said and "pip install -e '.[export]'" in said
    assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "best.ckpt"
    content = bytearray((trained / "checkpoints" / "best.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert run("stages=[export]", f"ckpt={damaged}", f"output_dir={tmp_path / 'out'}") == 2
