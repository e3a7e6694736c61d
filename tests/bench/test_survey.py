"""What `transfergan init` sees in a folder of images, of computed ones."""

from pathlib import Path

import pytest
from rich.console import Console

from bench.design.survey import FEWEST, Survey, domain_text, survey
from tests.support.images import encoded, files, picture, pictures, write
from trainers.common.errors import UserError
from trainers.domains import get


def look(folder: Path) -> Survey:
    return survey(get(f"folder:{folder}"), Console(quiet=True))


def test_images_are_counted_by_split_and_class(tmp_path: Path):
    seen = look(write(tmp_path / "photos", files(61)))
    assert (seen.train + seen.reference, seen.classes) == (61, 2)
    assert abs(seen.train - seen.reference) <= 2  # of few images one in two is held out
    assert (
        seen.lines()[0]
        == f"61 images in 2 classes, in colour: {seen.train} to train on, {seen.reference} held out for reference"
    )
    assert (seen.duplicates, seen.skipped) == (0, "")


def test_the_size_is_the_median_of_the_shorter_sides_and_modes_are_counted(tmp_path: Path):
    contents = {f"{i}.png": encoded(picture(i).resize((40, 24))) for i in range(20)}
    contents |= {f"large-{i}.png": encoded(picture(i + 20, 90).convert("RGBA")) for i in range(9)}
    seen = look(write(tmp_path / "photos", contents))
    assert (seen.side, seen.modes, seen.classes) == (24, {"RGB": 20, "RGBA": 9}, 0)
    assert seen.lines()[1] == "24 pixels on the shorter side (median of 29 images; modes: RGB 20, RGBA 9)"


def test_grey_images_are_told_from_coloured_ones(tmp_path: Path):
    grey = {f"{i}.png": encoded(picture(i).convert("L")) for i in range(20)}
    assert look(write(tmp_path / "grey", grey)).grey
    assert not look(write(tmp_path / "coloured", files(20))).grey


def test_copies_in_the_reference_split_are_counted(tmp_path: Path):
    contents = {f"train/{i}.png": encoded(picture(i, 32)) for i in range(12)}
    contents |= {f"test/{i}.png": encoded(picture(100 + i, 32)) for i in range(10)}
    contents |= {f"test/copy-{i}.jpg": encoded(picture(i, 32), "JPEG", quality=90) for i in range(3)}
    seen = look(write(tmp_path / "photos", contents))
    assert (seen.train, seen.reference, seen.duplicates) == (12, 13, 3)
    assert any(line.startswith("3 reference images have near-duplicates") for line in seen.lines())


def test_files_that_are_not_used_are_named(tmp_path: Path):
    folder = write(tmp_path / "photos", {**files(30), "a/bad.png": b"no image", "b/x.heic": b"x"})
    (last,) = look(folder).lines()[2:]
    assert last.startswith("2 skipped (")
    assert "a/bad.png" in last


def test_a_domain_without_files_has_no_size():
    seen = survey(get("digits"), Console(quiet=True))
    assert (seen.train, seen.reference, seen.classes, seen.side, seen.grey) == (1000, 797, 10, None, True)
    assert len(seen.lines()) == 1


@pytest.mark.parametrize(("names", "message"), [
    ([f"{i}.png" for i in range(2 * FEWEST - 1)], "has 19 images, and each split needs 10: add images"),
    (["1.png"], "has 1 image, and each split needs 10"),
    ([*(f"train/{i}.png" for i in range(30)), *(f"test/{i}.png" for i in range(9))], "30 of them to train on and 9 held out"),
    ([*(f"a/{i}.png" for i in range(30)), "b/0.png"], "class 'b' has one image, and a class needs two"),
    ([*(f"a/{i}.png" for i in range(30)), *(f"{k}/0.png" for k in "bcdef")], "class 'b', 'c', 'd' and 2 more has one image"),
])  # fmt: skip
def test_too_few_images_are_refused_with_the_fix(tmp_path: Path, names: list[str], message: str):
    folder = write(tmp_path / "photos", {name: encoded(picture(i)) for i, name in enumerate(names)})
    with pytest.raises(UserError) as refused:
        look(folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unreadable_files_do_not_count(tmp_path: Path):
    folder = write(tmp_path / "photos", {**files(12), **{f"a/bad-{i}.png": b"no image" for i in range(12)}})
    with pytest.raises(UserError, match=r"has 12 images, .* each split needs 10: .*; 12 skipped"):
        look(folder)


def test_a_path_is_a_folder_or_an_archive_unless_a_domain_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures(Path("odd.zip"), 1)
    assert domain_text("odd.zip") == "folder:odd.zip"
    assert domain_text("other.zip") == "zip:other.zip"
    assert [domain_text(text) for text in ("digits", "letters[classes=2]", "letters+shapes", "tar:a*.tar", "cifar10")] == [
        "digits", "letters[classes=2]", "letters+shapes", "tar:a*.tar", "cifar10",
    ]  # fmt: skip
    assert domain_text("photos/digits") == "folder:photos/digits"
    with pytest.raises(UserError, match=r"'leters\[classes=2\]' is neither a folder here nor a domain; did you mean letters\?"):
        domain_text("leters[classes=2]")
