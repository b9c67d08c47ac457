"""Files replaced whole."""

import os
from pathlib import Path

import pytest

from assay.errors import RunFailed
from assay.training.atomic import WriteError, remove_strays, second_name, write_durably


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    write_durably(path, memoryview(b"two"))
    assert path.read_bytes() == b"two" and names(tmp_path) == ["file"]


def test_an_error_says_which_file_and_how_much(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(WriteError) as failure:
        write_durably(path, b"12345")
    assert str(failure.value) == (
        f"{path} cannot be written: No such file or directory\n"
        "5 bytes are needed, its disk does not say how many it has"
    )
    assert isinstance(failure.value, OSError) and isinstance(failure.value, RunFailed)
    assert isinstance(failure.value.__cause__, FileNotFoundError)


def test_two_names_of_one_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    second_name(one, two)
    second_name(one, two)  # they are one file by now, which a rename leaves alone
    assert two.read_bytes() == b"1" and names(tmp_path) == ["one", "two"]
    write_durably(one, b"3")
    assert two.read_bytes() == b"1"


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "one").write_bytes(b"1")
    second_name(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"1"
    assert (tmp_path / "two").stat().st_ino != (tmp_path / "one").stat().st_ino


def test_strays(tmp_path: Path) -> None:
    for name in (".a.1.tmp", "b.tmp", ".lock"):
        (tmp_path / name).touch()
    remove_strays(tmp_path)
    assert names(tmp_path) == [".lock", "b.tmp"]
