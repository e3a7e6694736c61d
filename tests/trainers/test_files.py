"""Files that are replaced as a whole."""

from pathlib import Path

import pytest

from trainers.common.files import is_temporary, replacing


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
