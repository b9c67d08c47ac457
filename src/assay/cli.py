"""The two commands, and the exit code of whatever ends them."""

import sys

from assay.errors import Interrupted, RunFailed, UserError


def train() -> int:
    """`python train.py` and `assay-train`: the exit code."""
    return _exit_code("train")


def bench() -> int:
    """`python bench.py` and `assay-bench`: the exit code."""
    return _exit_code("bench")


def _exit_code(name: str) -> int:
    try:
        from assay.command import command  # Ctrl-C while it is imported is no bug either

        return command(name)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except RunFailed as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as stopped:
        return 128 + stopped.signum
    except KeyboardInterrupt:
        return 130
