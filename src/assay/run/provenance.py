"""Where a result came from: command, process, releases, commit. Needs no torch."""

import hashlib
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from assay import PROJECT
from assay.config.redact import redact_text
from assay.run.process import this_process
from assay.run.signals import slurm_job

PACKAGES = (
    *("assay", "torch", "torchvision", "pytorch-lightning"),
    *("hydra-core", "omegaconf", "tensorboard", "numpy"),
)
CODE = ("src", "conf", "train.py", "my")  # what a result depends on


def provenance() -> dict[str, Any]:
    """What is needed to know where a result came from."""
    return {
        "command": redact_text(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "process": this_process(),
        "slurm_job": slurm_job(),
        "versions": {"python": platform.python_version(), **versions()},
        "git": git_state(),
    }


@cache
def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def git_state() -> dict[str, Any] | None:
    """The commit, whether the code differs from it, and a digest of how; None where this is no checkout."""
    try:
        sha = _git("rev-parse", "HEAD").strip()
        changes = _git("status", "--porcelain", "--untracked-files=all", "--", *CODE)
        fresh = [line[3:] for line in changes.splitlines() if line.startswith("??")]
        diff = _git("diff", "HEAD", "--", *CODE) if changes else ""
        diff += _git("hash-object", "--", *fresh) if fresh else ""
    except (OSError, subprocess.CalledProcessError):
        return None
    digest = hashlib.sha256((changes + diff).encode()).hexdigest()[:8] if changes else None
    return {"sha": sha, "dirty": bool(changes), "diff": digest}


def _git(*words: str) -> str:
    command = ["git", "-C", str(PROJECT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
