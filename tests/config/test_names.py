from pathlib import Path

import pytest

from assay.config.schema import inside, safe_name
from assay.errors import UserError


@pytest.mark.parametrize("name", ["demo", "lr=0.1", "a_b-c.1", "first try", "x" * 100])
def test_a_word_is_a_name(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["../x", "/abs", "a/../../b", "a\\b", "a\0b", "x" * 300, "", ".", "..", "nul", "a.", "~"]
)
def test_what_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        safe_name(name)


def test_a_link_cannot_lead_out(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    assert inside(tmp_path / "root", "new", "name") == tmp_path / "root" / "new"
    with pytest.raises(UserError, match="leads out of"):
        inside(tmp_path / "root", "link", "name")
