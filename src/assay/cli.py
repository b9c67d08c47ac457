"""The two commands: words of the command line in, exit code out."""

import sys

import hydra
from omegaconf import DictConfig

from assay.config.compose import PROJECT, compose
from assay.config.frame import TrainConfig
from assay.config.judge import judge
from assay.errors import UserError


def train() -> int:
    """`python train.py` and `assay-train`."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    try:
        judge(TrainConfig, compose("train", words))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    code = 0

    def task(composed: DictConfig) -> None:
        nonlocal code
        from assay.run.run import main  # torch and Lightning take seconds: not before the config is judged

        code = main(judge(TrainConfig, composed), words)

    hydra.main(config_path=str(PROJECT / "conf"), config_name="train", version_base="1.3")(task)()
    return code
