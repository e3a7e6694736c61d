"""`transfergan domains` with built-in domains and folders."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import call
from tests.support.images import encoded, pictures, write
from trainers.domains import get


def test_domains_lists_built_in_domains_and_how_to_name_a_folder():
    lines = [line.split() for line in call("domains").stdout.splitlines()]
    counts = {line[0]: line[1:4] for line in lines}
    assert list(counts)[:6] == ["name", "letters", "numerals", "shapes", "textures", "digits"]
    assert "folder:PATH" in counts
    assert counts["digits"] == ["1,000", "797", "10"]
    assert counts["letters"] == ["4,000", "1,000", "26"]
    listed = {row["name"]: (row["train"], row["classes"]) for row in json.loads(call("domains", "--json").stdout)}
    assert (listed["digits"], listed["folder:PATH"], listed.keys()) == ((1000, 10), (None, None), counts.keys() & listed.keys())


@pytest.mark.parametrize(("name", "resolution", "rows"), [
    ("digits", 32, 8), ("letters", 16, 8), ("folder:photos", 32, 2)
])  # fmt: skip
def test_preview_writes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resolution: int, rows: int):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 20)  # of which 16 are train images
    result = call("domains", "preview", name, "--resolution", str(resolution), "--out", "sub/grid.png")
    classes = get(name).classes[:8]
    rows_of = f"its rows: {', '.join(classes)}\n" if classes else ""
    assert (result.exit_code, result.stdout) == (0, f"{name}: sub/grid.png\n{rows_of}")
    with Image.open(io.BytesIO(Path("sub/grid.png").read_bytes())) as picture:
        picture.load()
    assert picture.format == "PNG"
    assert picture.size == (8 * (resolution + 1) - 1, rows * (resolution + 1) - 1)
    assert np.asarray(picture).std() > 10


def test_the_rows_of_a_preview_are_classes(tmp_path: Path):
    for number in range(6):
        write(tmp_path / "photos", {f"{'red' if number % 2 else 'blue'}/{number}.png": encoded(coloured(number % 2))})
    result = call("domains", "preview", f"folder:{tmp_path}/photos", "--resolution", "8", "--out", tmp_path / "grid.png")
    assert "its rows: blue, red\n" in result.stdout
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (2 * 9 - 1, 8 * 9 - 1, 3)
    assert grid[4, 4].tolist() == [0, 0, 255]
    assert grid[13, 4].tolist() == [255, 0, 0]
    assert grid[4, -4].tolist() == [128, 128, 128], "three images in a row of eight"


def coloured(red: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (255, 0, 0) if red else (0, 0, 255))


def test_show_names_the_classes_with_their_training_images(tmp_path: Path):
    folder = pictures(tmp_path / "photos", 4, "cat", "dog")
    shown = call("domains", "show", f"folder:{folder}").stdout.splitlines()
    assert "layout    no folders for splits; 2 folders are the classes" in shown
    assert "classes   cat (2), dog (2)" in shown
    (folder / "dog" / "4.heic").write_bytes(b"photo")
    shown = call("domains", "show", f"zip:{shutil.make_archive(str(tmp_path / 'photos'), 'zip', folder)}").stdout.splitlines()
    assert "skipped   1 of 9; 1 in a format that is not read; convert to PNG or JPEG: dog/4.heic" in shown
