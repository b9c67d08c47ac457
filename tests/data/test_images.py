"""MNIST from the committed files: splits, normalization, repair of damaged files."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from assay import PROJECT
from assay.data import files
from assay.data.images import MNIST, FashionMNIST, _chosen  # pyright: ignore[reportPrivateUsage]
from assay.errors import UserError

RAW = PROJECT / "data" / "MNIST" / "raw"
LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def mnist() -> MNIST:
    source = MNIST(str(PROJECT / "data"))
    source.prepare()
    return source


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A data root with the packed files alone."""
    shutil.copytree(RAW, tmp_path / "MNIST" / "raw", ignore=shutil.ignore_patterns("*-ubyte", ".lock"))
    return tmp_path


def test_official_split(mnist: MNIST) -> None:
    splits: dict[str, Any] = {name: mnist.dataset(name) for name in ("train", "val", "test")}  # type: ignore[arg-type]
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 55_000,
        "val": 5_000,
        "test": 10_000,
    }
    images = torch.cat([splits["train"].tensors[0], splits["val"].tensors[0]])
    assert images.shape == (60_000, 1, 28, 28)
    assert abs(images.mean().item()) < 1e-3 and abs(images.std().item() - 1) < 1e-3
    # the ten official test digits that every tutorial prints first
    assert splits["test"].tensors[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_training_and_validation_images_never_mix() -> None:
    train, val = _chosen("train", 5_000, 60_000), _chosen("val", 5_000, 60_000)
    assert sorted(torch.cat([train, val]).tolist()) == list(range(60_000))


def test_streamed_images_are_those_in_memory(mnist: MNIST) -> None:
    streamed: Any = MNIST(str(PROJECT / "data"), in_memory=False).dataset("val")
    features, labels = next(iter(DataLoader(streamed, batch_size=8)))
    held: Any = mnist.dataset("val")
    assert torch.allclose(features, held.tensors[0][:8], atol=1e-6)
    assert torch.equal(labels, held.tensors[1][:8])


def test_sources_of_the_same_files_share_what_one_has_read_until_a_file_is_another(copy: Path) -> None:
    def read(**settings: Any) -> Any:
        source = MNIST(str(copy), **settings)
        source.prepare()
        return source.dataset("test")

    first, other_batches = read(), read(batch_size=256)
    assert first.tensors[0] is other_batches.tensors[0]
    labels = copy / "MNIST" / "raw" / LABELS
    labels.write_bytes(labels.read_bytes())
    again = read()
    assert again.tensors[0] is not first.tensors[0] and torch.equal(again.tensors[0], first.tensors[0])


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped"])
def test_a_damaged_file_is_repaired_from_its_packed_one(copy: Path, damage: str) -> None:
    source = MNIST(str(copy))
    digest = source.prepare()
    path = copy / "MNIST" / "raw" / LABELS
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:50] + bytes([content[50] ^ 1]) + content[51:]
        path.write_bytes({"empty": b"", "truncated": content[:500], "flipped": flipped}[damage])
    assert source.prepare() == digest
    assert path.read_bytes() == content


def test_what_cannot_be_repaired_is_refused_with_a_remedy(copy: Path) -> None:
    packed = copy / "MNIST" / "raw" / f"{LABELS}.gz"
    packed.write_bytes(packed.read_bytes()[:1000])
    with pytest.raises(UserError) as refusal:
        MNIST(str(copy), download=False).prepare()
    lines = str(refusal.value).splitlines()
    assert LABELS in lines[0] and len(lines) <= 4
    assert any(MNIST.checksums[LABELS] in line for line in lines)
    assert "again" in lines[-1]
    assert not list(packed.parent.glob(".t10k*"))  # no half file is left


def test_missing_files_without_a_network_are_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="FashionMNIST"):
        FashionMNIST(str(tmp_path), download=False).prepare()


def test_a_read_only_folder_needs_no_lock_when_the_files_are_there(copy: Path) -> None:
    MNIST(str(copy)).prepare()
    (copy / "MNIST" / "raw" / ".lock").unlink(missing_ok=True)
    MNIST(str(copy)).prepare()
    assert not (copy / "MNIST" / "raw" / ".lock").exists()


def test_checksums_are_those_of_the_files(mnist: MNIST) -> None:
    assert files.damaged(RAW, MNIST.checksums) == {}
    wrong = {**MNIST.checksums, LABELS: "0" * 64}
    assert files.damaged(RAW, wrong) == {LABELS: MNIST.checksums[LABELS]}
