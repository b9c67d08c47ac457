"""Runs that are killed, starved and signalled, in processes of their own; and what must hold afterwards."""

from pathlib import Path

# three epochs of 60 batches, saved inside epochs too; a CNN, because it has dropout
WORDS = (
    "device=cpu", "device.threads=1", "model=cnn", "model.width=2", "data.batch_size=32",
    "trainer.max_epochs=3", "trainer.limit_train_batches=60", "trainer.limit_val_batches=64",
    "trainer.limit_test_batches=10", "trainer.steps_per_execution=8", "trainer.log_every_n_steps=7",
    "trainer.checkpoint_every='25 steps'", "stages=[fit]",
)  # fmt: skip
STEPS = 180
VALIDATIONS = 9  # batches of validation, three an epoch


def only_run(output_dir: Path) -> Path:
    """The folder of the one run there is."""
    (folder,) = (output_dir / "runs").iterdir()
    return folder


def strays(folder: Path) -> list[Path]:
    """Files that no run should leave behind."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]
