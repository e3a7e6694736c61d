"""Files that are replaced or created as a whole."""

import errno
from pathlib import Path

import pytest

from trainers.common.files import create, is_temporary, replacing


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path):
    path = tmp_path / "report.html"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first, and longer")
        second.write(b"second")
        temporary = sorted(entry.name for entry in tmp_path.iterdir())
    assert len(temporary) == 2
    assert all(map(is_temporary, temporary))
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_bytes() == b"first, and longer", "the last to end counts"


def half(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise RuntimeError


def test_a_writer_that_fails_changes_nothing(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError):
        half(path)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("a", b"before")]


@pytest.mark.parametrize(
    "name", [".gitignore", ".DS_Store", ".0.tmp", f"{'0' * 32}.tmp", f".{'0' * 31}.tmp", f".{'0' * 32}.tmpx"]
)
def test_other_hidden_files_are_not_temporary(name: str):
    assert not is_temporary(name)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_is_created_once_and_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool):
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "this disk has no hard links")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "folder" / "file"
    assert create(path, b"first")
    assert not create(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_creates_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(OSError, match="no space left"):
        create(tmp_path / "file", b"")
    assert list(tmp_path.iterdir()) == []
