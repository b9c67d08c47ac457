"""What is said to a person whose run was interrupted."""

from pathlib import Path

from assay.run.folder import RunFolder
from assay.run.screen import kept


def test_what_is_kept_is_named_with_the_command_to_go_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "seed=1,a")
    assert "no checkpoint was saved yet\nto begin again in this folder: " in kept(folder)
    folder.last.parent.mkdir(parents=True)
    folder.last.touch()
    said = kept(folder).splitlines()
    assert said[0] == f"kept: {folder.last}"
    assert said[1].startswith("to go on: ") and said[1].endswith(f"resume={folder.path}")
