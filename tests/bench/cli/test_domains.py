"""`transfergan domains` with built-in domains and folders."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import call
from tests.support.images import pictures


def test_domains_lists_built_in_domains_and_how_to_name_a_folder():
    lines = [line.split() for line in call("domains").stdout.splitlines()]
    counts = {line[0]: line[1:4] for line in lines}
    assert list(counts)[:6] == ["name", "letters", "numerals", "shapes", "textures", "digits"]
    assert "folder:PATH" in counts
    assert counts["digits"] == ["1,000", "797", "10"]
    assert counts["letters"] == ["4,000", "1,000", "26"]


@pytest.mark.parametrize(("name", "resolution", "rows"), [
    ("digits", 32, 8), ("letters", 16, 8), ("folder:photos", 32, 2)
])  # fmt: skip
def test_preview_writes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resolution: int, rows: int):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20)  # of which 16 are train images
    result = call("domains", "preview", name, "--resolution", str(resolution), "--out", "sub/grid.png")
    assert (result.exit_code, result.stdout) == (0, f"{name}: sub/grid.png\n")
    with Image.open(io.BytesIO(Path("sub/grid.png").read_bytes())) as picture:
        picture.load()
    assert picture.format == "PNG"
    assert picture.size == (8 * (resolution + 1) - 1, rows * (resolution + 1) - 1)
    assert np.asarray(picture).std() > 10


def test_show_names_the_classes_with_their_training_images(tmp_path: Path):
    folder = pictures(tmp_path / "photos", 4, "cat", "dog")
    shown = call("domains", "show", f"folder:{folder}").stdout.splitlines()
    assert "classes   cat (2), dog (2)" in shown
    (folder / "dog" / "4.heic").write_bytes(b"photo")
    shown = call("domains", "show", f"zip:{shutil.make_archive(str(tmp_path / 'photos'), 'zip', folder)}").stdout.splitlines()
    assert "skipped   1 of 9; 1 in a format that is not read; convert to PNG or JPEG: dog/4.heic" in shown
