"""What a person sees: a bar on a terminal, one plain line an epoch in a file."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from assay.run.run import run_new
from assay.run.signals import StopRequest
from tests.runs import SHORT, config


def shown(tmp_path: Path, terminal: bool) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    words = [*SHORT, f"output_dir={tmp_path}"]
    run_new(config(*words), words, console, StopRequest())
    return out.getvalue()


def test_plain_lines_in_a_file(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=False)
    assert "\x1b" not in text
    lines = [line for line in text.splitlines() if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "101,770" in text and "test accuracy" in text
    assert "tensorboard --logdir" in text
    assert "'stages=[test]' ckpt=" in text and "resume=" not in text  # nothing is left to go on with


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=True)
    assert "samples/s" in text and "steps" in text
    assert "\x1b[?25l" in text and "\x1b[?25h" in text  # the cursor is hidden, and given back


def test_no_color_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(tmp_path, terminal=True)
