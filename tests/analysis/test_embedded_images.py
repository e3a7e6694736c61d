"""The embedded grids: the stored files if all fit into the budget, else compressed until they fit."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.report.embedded_images import FORMS, Album
from bench.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty grids of coarse noise, of 64 x 32 pixels, by number."""
    store, random = open_store(str(tmp_path_factory.mktemp("album")), create=True), np.random.default_rng(0)
    for number in range(40):
        stream = io.BytesIO()
        noise = random.integers(0, 256, (8, 16, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        Image.fromarray(noise ^ random.integers(0, 16, noise.shape, np.uint8)).save(stream, "PNG")
        store.write_file(f"samples/{number}.png", stream.getvalue())
    return store


PATHS = [f"samples/{number}.png" for number in range(40)]


def image(album: Album, path: str) -> tuple[str, np.ndarray]:
    """Return the format of an embedded grid, and its pixels."""
    match = re.fullmatch(r"data:image/(\w+);base64,(.+)", album.uri(path) or "")
    assert match
    with Image.open(io.BytesIO(base64.b64decode(match[2]))) as opened:
        return match[1], np.asarray(opened.convert("RGB"), float)


def used(album: Album) -> int:
    return sum(len(album.uri(path) or "") for path in PATHS)


def test_grids_that_fit_are_the_stored_files_and_others_are_compressed_until_all_fit(store: Store) -> None:
    whole = Album(store, PATHS, 10**6)
    assert not whole.compressed
    kind, stored = image(whole, PATHS[0])
    assert kind == "png"
    errors = []
    for share in (0.8, 0.4):
        album = Album(store, PATHS, int(share * used(whole)))
        assert album.compressed
        assert used(album) < share * used(whole)
        kinds, images = zip(*(image(album, path) for path in PATHS), strict=True)
        assert set(kinds) == {"jpeg"}
        errors.append(float(np.abs(images[0] - stored).mean()))
    assert 0 < errors[0] < errors[1] < 30, "no coarser than necessary"


def test_if_no_form_is_small_enough_the_first_grids_fill_the_budget(store: Store) -> None:
    budget = 8000
    album = Album(store, PATHS, budget)
    kind, pixels = image(album, PATHS[0])
    assert (kind, pixels.shape) == ("jpeg", (16, 32, 3)), "at half its size"
    there = [album.uri(path) is not None for path in PATHS]
    assert there == sorted(there, reverse=True)
    assert 2 < sum(there) < 40
    assert budget / 2 < used(album) <= budget
    assert album.uri(None) is None


def test_a_grid_that_is_in_the_page_twice_counts_twice(store: Store) -> None:
    whole = Album(store, PATHS, 10**6)
    assert not Album(store, PATHS, int(1.5 * used(whole))).compressed
    assert Album(store, [*PATHS, *PATHS], int(1.5 * used(whole))).compressed


@pytest.mark.parametrize("form", FORMS)
def test_missing_and_broken_files_are_left_out(store: Store, tmp_path: Path, form: tuple[int, int] | None) -> None:
    own = open_store(str(tmp_path), create=True)
    data = store.read_file(PATHS[0])
    files = {"whole.png": data, "short.png": data[:300], "none.png": b"not an image", "svg.png": b"<svg onload='alert(1)'/>"}
    for name, content in files.items():
        own.write_file(f"samples/{name}", content)
    wanted = [f"samples/{name}" for name in (*files, "absent.png")]
    album = Album(own, wanted, 10**6, [form])
    assert [path for path in wanted if album.uri(path)] == ["samples/whole.png"]
