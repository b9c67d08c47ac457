"""Checkpoints from strangers, all refused: a pickle that runs code, an `_instantiator`, an address."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import start


class Malicious:
    """Unpickling it would make a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


def pickled(path: Path) -> str:
    torch.save({"state_dict": {"linear1.weight": Malicious()}}, path)
    return str(path)


def instantiated(path: Path) -> str:
    state = {"linear1.weight": torch.zeros(1)}
    torch.save(
        {
            "state_dict": state,
            "hyper_parameters": {"_instantiator": "os.system", "command": "touch pwned"},
            "pytorch-lightning_version": "2.6.5",
        },
        path,
    )
    return str(path)


def address(path: Path) -> str:
    return "http://localhost:9/evil.ckpt"


@pytest.mark.parametrize("make", [pickled, instantiated, address])
def test_it_is_refused_and_nothing_runs(make: Any, tmp_path: Path) -> None:
    ckpt = make(tmp_path / "evil.ckpt")
    words = ["stages=[test]", "data=random", "device=cpu", f'ckpt="{ckpt}"']
    done = start("train", tmp_path, *words).completed()
    assert done.returncode == 2, done.stderr
    assert "ckpt" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "pwned").exists()
