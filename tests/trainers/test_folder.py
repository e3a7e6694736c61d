"""The user's folders: image formats, unreadable files, classes, splits and fingerprints."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from trainers.common.errors import UserError
from trainers.domains import Split, get
from trainers.domains.base import Skipped
from trainers.domains.files.collection import content_fingerprint
from trainers.domains.files.decode_image import opened, square
from trainers.domains.files.folder import Folder
from trainers.domains.files.split_names import divide, layout

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
Colour = tuple[int, int, int]


def plain(mode: str, colour: object, size: tuple[int, int] = (10, 10)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def write(path: Path, colour: Colour = RED, size: tuple[int, int] = (10, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain("RGB", colour, size).save(path)
    return path


def fill(folder: Path, *names: str) -> Path:
    """Write a different image under each name."""
    for number, name in enumerate(names):
        write(folder / name, (number, 255 - number, 100))
    return folder


def names(domain: Folder, split: Split) -> set[str]:
    """Return the files written by `fill` and `write` that are in a split, identified by their pixels."""
    colours = {tuple(image[0, 0]) for image in domain.load(split, 4).images}
    files = [path for path in domain.path.rglob("*.png") if tuple(np.asarray(Image.open(path))[0, 0]) in colours]
    assert len(files) == domain.count(split)
    return {path.relative_to(domain.path).as_posix() for path in files}


def decoded(folder: Path, name: str, data: bytes, resolution: int = 16) -> np.ndarray:
    """Return one image file as the domain loads it, float (H, W, 3), from a folder with another image."""
    (folder / name).write_bytes(data)
    write(folder / "zz.png", BLUE)
    domain = Folder(folder)
    assert domain.skipped == ()
    images = np.concatenate([domain.load("train", resolution).images, domain.load("reference", resolution).images])
    (image,) = [image for image in images if tuple(image[0, 0]) != BLUE]
    return image.astype(float)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def palette(**options: object) -> bytes:
    image = plain("P", 1)
    image.putpalette([*RED, *GREEN, *BLACK])
    return encoded(image, "PNG", **options)


def sixteen_bits(value: int) -> bytes:
    """Return a 16-bit grey PNG, encoded without a library, so that the range of values is known."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + struct.pack(">H", value) * 10
    header = struct.pack(">IIBBBBB", 10, 10, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 10)) + chunk(b"IEND", b"")


def animation() -> bytes:
    return encoded(plain("RGB", GREEN), "GIF", save_all=True, append_images=[plain("RGB", RED), plain("RGB", WHITE)])


# -- pixels -------------------------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[bytes, Colour]] = {
    "rgb.png": (encoded(plain("RGB", (10, 200, 30)), "PNG"), (10, 200, 30)),
    "rgb.bmp": (encoded(plain("RGB", (10, 200, 30)), "BMP"), (10, 200, 30)),
    "UPPER.PNG": (encoded(plain("RGB", (10, 200, 30)), "PNG"), (10, 200, 30)),
    "opaque.png": (encoded(plain("RGBA", (*RED, 255)), "PNG"), RED),
    "transparent.png": (encoded(plain("RGBA", (*RED, 0)), "PNG"), WHITE),
    "half.png": (encoded(plain("RGBA", (*RED, 128)), "PNG"), (255, 127, 127)),
    "half.webp": (encoded(plain("RGBA", (*RED, 128)), "WEBP", lossless=True), (255, 127, 127)),
    "grey alpha.png": (encoded(plain("LA", (0, 51)), "PNG"), (204, 204, 204)),
    "grey.png": (encoded(plain("L", 77), "PNG"), (77, 77, 77)),
    "grey keyed.png": (encoded(plain("L", 77), "PNG", transparency=77), WHITE),
    "colour keyed.png": (encoded(plain("RGB", RED), "PNG", transparency=RED), WHITE),
    "palette.png": (palette(), GREEN),
    "palette keyed.png": (palette(transparency=1), WHITE),
    "palette half.png": (palette(transparency=bytes([255, 128])), (127, 255, 127)),
    "palette other keyed.png": (palette(transparency=0), GREEN),
    "deep.png": (sixteen_bits(32768), (128, 128, 128)),
    "deep bright.png": (sixteen_bits(65535), WHITE),
    "deep dark.png": (sixteen_bits(2570), (10, 10, 10)),
    "cmyk.jpg": (encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=100), RED),
    "black.png": (encoded(plain("1", 0), "PNG"), BLACK),
    "white.png": (encoded(plain("1", 1), "PNG"), WHITE),
    "animated.gif": (animation(), GREEN),
    "deep.tiff": (encoded(plain("I;16", 32768), "TIFF"), (128, 128, 128)),
    "browser.jfif": (encoded(plain("RGB", (10, 200, 30)), "JPEG", quality=100), (10, 200, 30)),
    "short.jpe": (encoded(plain("RGB", (10, 200, 30)), "JPEG", quality=100), (10, 200, 30)),
    "new.avif": (encoded(plain("RGB", (10, 200, 30)), "AVIF", quality=100), (10, 200, 30)),
    "text.pgm": (b"P2\n# by hand\n2 2\n255\n40 40 40 40\n", (40, 40, 40)),
}


def test_sixteen_bits_become_eight_by_the_ratio_of_their_ranges_rounded_down():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = square(opened(encoded(Image.fromarray(values), "PNG")), 256)
    assert image[..., 0].ravel().tolist() == [value * 255 // 65535 for value in range(65536)]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_image_keeps_its_colour_on_white(tmp_path: Path, name: str):
    data, expected = KINDS[name]
    image = decoded(tmp_path, name, data)
    assert image.shape == (16, 16, 3)
    assert np.abs(image - expected).max() <= 2


# The side to which each EXIF orientation moves the left half of the stored pixels, from the table in the standard.
@pytest.mark.parametrize(("orientation", "side"), [
    (1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom"),
])  # fmt: skip
def test_orientation_is_applied(tmp_path: Path, orientation: int, side: str):
    stored = plain("RGB", GREEN, (40, 40))
    stored.paste(RED, (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(tmp_path, "turned.png", encoded(stored, "PNG", exif=exif))
    red = {"left": image[:, :6], "right": image[:, -6:], "top": image[:6], "bottom": image[-6:]}[side]
    green = {"left": image[:, -6:], "right": image[:, :6], "top": image[-6:], "bottom": image[:6]}[side]
    assert np.abs(red - RED).max() <= 2
    assert np.abs(green - GREEN).max() <= 2


@pytest.mark.parametrize(("orientation", "expected"), [(2, [[2, 1], [4, 3]]), (4, [[3, 4], [1, 2]]), (5, [[1, 3], [2, 4]]),
    (6, [[3, 1], [4, 2]]), (7, [[4, 2], [3, 1]]), (8, [[2, 4], [1, 3]])])  # fmt: skip
def test_mirrored_and_rotated_orientations_differ(tmp_path: Path, orientation: int, expected: list[list[int]]):
    quarters = np.kron([[1, 2], [3, 4]], np.ones((20, 20))) * 50
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(tmp_path, "turned.png", encoded(Image.fromarray(quarters.astype(np.uint8)), "PNG", exif=exif))
    assert np.rint(image[2::11, 2::11, 0] / 50).astype(int).tolist() == expected


def test_a_complete_image_with_damaged_metadata_is_used(tmp_path: Path):
    """Its description has an invalid type, so rewriting the metadata, as Pillow does when it transposes, would fail."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 3, "a cat"
    data = encoded(plain("RGB", GREEN), "JPEG", exif=exif, quality=100)
    ascii_entry = struct.pack(">HHI", 0x010E, 2, 6)
    assert data.count(ascii_entry) == 1
    damaged = data.replace(ascii_entry, struct.pack(">HHI", 0x010E, 11, 1))
    assert np.abs(decoded(tmp_path, "odd.jpg", damaged) - GREEN).max() <= 2
    for kind in ("PNG", "WEBP"):  # the formats that give it unread
        no_metadata = encoded(plain("RGB", GREEN), kind, exif=b"Exif\0\0garbage", lossless=True)
        (tmp_path / kind).mkdir()
        assert np.abs(decoded(tmp_path / kind, f"odd.{kind.lower()}", no_metadata) - GREEN).max() == 0


def test_an_image_for_which_the_memory_is_too_small_is_not_skipped(monkeypatch: pytest.MonkeyPatch):
    """Another machine would have the image, and so another domain."""

    def too_large(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", too_large)
    with pytest.raises(MemoryError):
        opened(encoded(plain("RGB", GREEN), "PNG"))


@pytest.mark.parametrize("size", [(30, 30), (90, 30), (30, 90), (1, 1), (301, 300), (20, 900)])
@pytest.mark.parametrize("resolution", [8, 128, 200])
def test_any_size_and_aspect_is_cropped_at_the_centre(tmp_path: Path, size: tuple[int, int], resolution: int):
    """Outside the largest centred square the image is red."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    image = plain("RGB", RED, size)
    image.paste(GREEN, (left, top, left + side, top + side))
    square = decoded(tmp_path, "a.png", encoded(image, "PNG"), resolution)
    assert square.shape == (resolution, resolution, 3)
    assert np.abs(square[1:-1, 1:-1] - GREEN).mean() <= 4
    assert np.abs(square[resolution // 2, resolution // 2] - GREEN).max() == 0


def test_shrinking_averages_pixels(tmp_path: Path):
    board = np.kron(np.indices((128, 128)).sum(0) % 2, np.ones((2, 2))) * 255
    image = decoded(tmp_path, "board.png", encoded(Image.fromarray(board.astype(np.uint8)), "PNG"), 16)
    assert np.abs(image - 127.5).max() < 8


# -- unreadable files -----------------------------------------------------------------------------------------------


def noisy_png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")


def bomb() -> bytes:
    """Return a PNG that claims to be 30,000 pixels square."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"


#: The content of a file, and a part of the reason for which it is skipped.
BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"not an image", "not an image, or in a format that Pillow does not read"),
    "half a PNG": (noisy_png()[:3000], "truncated"),
    "a PNG's header": (noisy_png()[:20], "truncated"),
    "half a JPEG": (encoded(plain("RGB", RED, (200, 200)), "JPEG")[:700], "truncated"),
    "half a GIF": (animation()[:20], "not an image"),
    "bomb": (bomb(), "Image size (900000000 pixels) exceeds limit"),
    "floats from 0 to 1": (encoded(plain("F", 0.5), "TIFF"), "floating-point pixels have no fixed range"),
    "floats from 0 to 255": (encoded(plain("F", 99.0), "TIFF"), "floating-point pixels have no fixed range"),
    "a photograph of 108 megapixels": (
        encoded(plain("L", 9, (12000, 9000)), "JPEG"),
        "12000 x 9000 pixels, more than 89,478,485",
    ),
    "32 bits": (encoded(plain("I", 99), "TIFF"), "integer pixels of 32 bits have no fixed range"),
    "8 bits as 16": (sixteen_bits(255), "16-bit values are at most 255"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_unreadable_file_is_skipped_and_reported(tmp_path: Path, kind: str):
    fill(tmp_path, "a/1.png", "a/2.png")
    before = Folder(tmp_path)
    content, reason = BROKEN[kind]
    (tmp_path / "a" / "broken.png").write_bytes(content)
    domain = Folder(tmp_path)
    (skipped,) = domain.skipped
    assert skipped.name == "a/broken.png"
    assert reason in skipped.reason
    assert domain.count("train") + domain.count("reference") == 2
    assert domain.fingerprint == before.fingerprint


def refused(path: str | Path) -> str:
    with pytest.raises(UserError) as error:
        get(f"folder:{path}").prepare(8)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_folder_without_usable_images_is_refused_in_one_line(tmp_path: Path):
    assert "there is no such folder" in refused(tmp_path / "missing")
    assert "is a file" in refused(write(tmp_path / "one.png"))
    (tmp_path / "empty").mkdir()
    assert "contains no images" in refused(tmp_path / "empty")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "read.txt").write_text("me")
    assert "contains no images" in refused(tmp_path / "words")
    (tmp_path / "bad").mkdir()
    for name in "abcd":
        (tmp_path / "bad" / f"{name}.jpg").touch()
    assert "has 0 readable images and needs two or more; unreadable: a.jpg (empty), b.jpg (empty), c.jpg (empty)" in refused(
        tmp_path / "bad"
    )
    write(tmp_path / "single" / "one.png")
    assert "has 1 readable images" in refused(tmp_path / "single")


@pytest.mark.parametrize("split", ["train", "reference"])
def test_a_split_without_readable_images_is_not_replaced_by_images_of_the_other(tmp_path: Path, split: str):
    fill(tmp_path, *(f"{folder}/{name}.png" for folder in ("train", "reference") for name in ("a/1", "b/2")))
    for file in (tmp_path / split).rglob("*.png"):
        file.write_bytes(b"")
    assert f"has no readable image in its {split} split" in refused(tmp_path)


def test_hidden_and_other_files_are_ignored(tmp_path: Path):
    fill(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    expected = Folder(tmp_path).fingerprint
    write(tmp_path / "a" / ".4.png")
    write(tmp_path / ".thumbnails" / "5.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "b" / "folder.png").mkdir()
    domain = Folder(tmp_path)
    assert (domain.fingerprint, domain.skipped) == (expected, ())
    assert domain.classes == ("a", "b")


def test_links_out_of_the_folder_and_to_folders_are_reported_and_not_followed(tmp_path: Path):
    folder = fill(tmp_path / "photos", "a/1.png", "a/2.png", "b/3.png")
    write(tmp_path / "secret.png", BLUE)
    (folder / "a" / "inside.png").symlink_to(folder / "b" / "3.png")
    (folder / "a" / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "b" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").symlink_to(tmp_path / "secret.png")
    domain = Folder(folder)
    assert domain.skipped == (
        Skipped("a/outside.png", "a link out of the folder"),
        Skipped("b/gone.png", "a link out of the folder"),
        Skipped("loop/", "a link to a folder"),
    )
    assert domain.count("train") + domain.count("reference") == 4


def test_folders_that_cannot_be_listed_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, listed = fill(tmp_path / "photos", "a/1.png", "a/2.png", "b/3.png"), os.scandir

    def scandir(path: Any) -> Any:  # permissions do not stop a test that runs as root
        if str(path).endswith(closed):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    closed = "/b"
    assert Folder(folder).skipped == (Skipped("b/", "Permission denied"),)
    closed = "/photos"
    with pytest.raises(UserError, match=r"contains no images .*; skipped: \./ \(Permission denied\)"):
        Folder(folder)


def test_a_hidden_folder_can_be_the_domain_itself(tmp_path: Path):
    fill(tmp_path / ".cache" / "cats", "1.png", "2.png")
    assert Folder(tmp_path / ".cache" / "cats").count("train") == 1


def test_names_need_not_be_utf_8(tmp_path: Path):
    fill(tmp_path, "a/1.png", "b/2.png")
    odd = os.fsencode(tmp_path) + b"/a/caf\xe9.png"
    try:
        Path(os.fsdecode(odd)).write_bytes(encoded(plain("RGB", BLUE), "PNG"))
    except OSError:
        pytest.skip("this file system allows only UTF-8 names")
    domain = Folder(tmp_path)
    assert domain.count("train") + domain.count("reference") == 3


# -- classes and splits -------------------------------------------------------------------------------------------------

MANY = tuple(f"{number}.png" for number in range(25))


@pytest.mark.parametrize(("files", "classes"), [
    (("1.png", "2.png"), ()),
    (("b/1.png", "a/2.png", "a/deep/3.png"), ("a", "b")),
    (("only/1.png", "only/2.png"), ()),
    (("set/b/1.png", "set/a/2.png", "set/b/3.png"), ("a", "b")),
    (("set/train/b/1.png", "set/train/a/2.png", "set/val/a/3.png"), ("a", "b")),
    (("a/1.png", "a/2.png", "loose.png"), ()),
    (("train/1.png", "val/2.png"), ()),
    (("train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png"), ("a", "b")),
    (("Train/a/1.png", "Train/b/2.png", "Validation/a/3.png"), ("a", "b")),
    (("train/1.png", "train/2.png", "trams/3.png"), ("train", "trams")),
    (("val/1.png", "val/2.png", "test/3.png"), ("test", "val")),
    (("Training/a/1.png", "Training/b/2.png", "Testing/a/3.png"), ("a", "b")),
    (("a/train/1.png", "b/train/2.png", "a/test/3.png", "b/test/4.png"), ("a", "b")),
])  # fmt: skip
def test_sub_folders_are_classes_unless_they_are_splits(tmp_path: Path, files: tuple[str, ...], classes: tuple[str, ...]):
    domain = Folder(fill(tmp_path, *files))
    assert domain.classes == classes
    assert domain.count("train") + domain.count("reference") == len(files)
    labels = domain.load("train", 8).labels
    assert (labels is None) == (not classes)


def test_folders_for_splits_are_used(tmp_path: Path):
    train = {"train/a/1.png", "train/b/2.png", "train/b/3.png"}
    reference = {"val/a/4.png", "val/b/5.png", "test/a/6.png"}
    domain = Folder(fill(tmp_path, *sorted(train | reference)))
    assert names(domain, "train") == train
    assert names(domain, "reference") == reference
    labels = domain.load("reference", 8).labels
    assert labels is not None
    assert sorted(labels) == [0, 0, 1]


def test_the_split_may_be_below_the_class(tmp_path: Path):
    train, reference = {"a/train/1.png", "b/train/2.png"}, {"a/val/3.png", "b/test/4.png", "b/test/5.png"}
    domain = Folder(fill(tmp_path, *sorted(train | reference), "a/cover.png"))
    assert (names(domain, "train"), names(domain, "reference")) == (train, reference)
    assert domain.skipped == (Skipped("a/cover.png", "outside the folders of the splits"),)
    assert domain.fingerprint.startswith("files/4:")


def test_an_image_beside_the_folders_of_the_splits_is_skipped(tmp_path: Path):
    folders = [f"{split}/{kind}/{i}.png" for split in ("train", "val") for kind in "ab" for i in range(3)]
    before = Folder(fill(tmp_path, *folders)).fingerprint
    domain = Folder(fill(tmp_path, *folders, "preview.png", "extra/1.png"))
    assert (domain.count("train"), domain.count("reference"), domain.classes) == (6, 6, ("a", "b"))
    assert [file.name for file in domain.skipped] == ["extra/1.png", "preview.png"]
    assert domain.fingerprint == before


def test_images_in_a_format_that_is_not_read_are_named(tmp_path: Path):
    fill(tmp_path, "1.png", "2.png")
    (tmp_path / "3.HEIC").write_bytes(b"photo")
    assert Folder(tmp_path).skipped == (Skipped("3.HEIC", "in a format that is not read; convert to PNG or JPEG"),)


def test_a_large_text_or_profile_does_not_hide_an_image(tmp_path: Path):
    text = PngInfo()
    text.add_text("workflow", "x" * 2**21, zip=True)
    large = {"pnginfo": text, "icc_profile": bytes(2**21)}
    assert np.abs(decoded(tmp_path, "large.png", encoded(plain("RGB", GREEN), "PNG", **large)) - GREEN).max() <= 2


def test_labels_match_their_images(tmp_path: Path):
    for number in range(12):
        write(tmp_path / ("blue", "red")[number % 2] / f"{number}.png", (BLUE, RED)[number % 2])
    domain = Folder(tmp_path)
    assert domain.classes == ("blue", "red")
    for split in ("train", "reference"):
        data = domain.load(split, 8)
        assert data.labels is not None
        np.testing.assert_array_equal(data.images[:, 0, 0, 0] == 255, data.labels == 1)


def test_one_in_two_of_each_class_of_a_small_folder_is_the_reference(tmp_path: Path):
    domain = Folder(fill(tmp_path, *(f"a/{name}" for name in MANY), *(f"b/{name}" for name in MANY[:10]), "c/1.png", "c/2.png"))
    train, reference = (np.bincount(domain.load(split, 8).labels) for split in ("train", "reference"))
    assert train.tolist() == [13, 5, 1]
    assert reference.tolist() == [12, 5, 1]


@pytest.mark.parametrize(("count", "reference"), [(2, 1), (200, 100), (999, 499), (1000, 500), (1499, 749), (1500, 500),
                                                  (2499, 624), (2500, 500), (10_000, 2000)])  # fmt: skip
def test_a_larger_collection_keeps_one_in_five(count: int, reference: int):
    numbered = [f"{number}.png" for number in range(count)]
    splits = divide(numbered, [""] * count)
    assert splits.count("reference") == pytest.approx(reference, abs=1)
    version = content_fingerprint(numbered, ["hash"] * count, layout(numbered)).partition(":")[0]
    assert version == ("files/3" if count < 2500 else "files/2")


def test_named_splits_keep_their_fingerprint():
    numbered = [f"{folder}/{number}.png" for folder in ("train", "val") for number in range(5)]
    assert content_fingerprint(numbered, ["hash"] * 10, layout(numbered)).startswith("files/2:")
    assert content_fingerprint(numbered[:5], ["hash"] * 5, layout(numbered[:5])).startswith("files/3:")


def test_the_reference_stays_the_same_when_another_class_grows(tmp_path: Path):
    fill(tmp_path, *(f"a/{name}" for name in MANY), *(f"b/{name}" for name in MANY[:5]))
    before = names(Folder(tmp_path), "reference")
    for number in range(7):
        write(tmp_path / "b" / f"new{number}.png", (number, 0, 200))
        write(tmp_path / "z" / f"new{number}.png", (number, 0, 250))
    after = names(Folder(tmp_path), "reference")
    assert {name for name in after if name.startswith("a/")} == {name for name in before if name.startswith("a/")}
    assert len(after) > len(before)


def test_the_reference_is_not_the_first_or_every_fifth_image(tmp_path: Path):
    chosen = names(Folder(fill(tmp_path, *(f"{number:02}.png" for number in range(25)))), "reference")
    numbers = sorted(int(name.removesuffix(".png")) for name in chosen)
    assert len(numbers) == 12
    assert len(set(np.diff(numbers))) > 1


# -- identity -----------------------------------------------------------------------------------------------------------


def test_a_moved_folder_has_the_same_fingerprint_and_a_changed_one_another(tmp_path: Path):
    here = fill(tmp_path / "here", "a/1.png", "b/2.png", "b/3.png")
    original = Folder(here)
    there = Folder(shutil.copytree(here, tmp_path / "deep" / "there"))
    assert there.fingerprint == original.fingerprint
    assert there.name != original.name
    for split in ("train", "reference"):
        np.testing.assert_array_equal(there.load(split, 8).images, original.load(split, 8).images)

    changed = []
    write(there.path / "b" / "3.png", BLUE)
    changed.append(Folder(there.path).fingerprint)
    (there.path / "b" / "3.png").rename(there.path / "b" / "4.png")
    changed.append(Folder(there.path).fingerprint)
    (there.path / "b" / "4.png").rename(there.path / "a" / "4.png")
    changed.append(Folder(there.path).fingerprint)
    write(there.path / "c" / "5.png")
    changed.append(Folder(there.path).fingerprint)
    assert len({original.fingerprint, *changed}) == 5


def test_the_modification_time_does_not_matter(tmp_path: Path):
    fill(tmp_path, "1.png", "2.png")
    before = Folder(tmp_path).fingerprint
    os.utime(tmp_path / "1.png", (1, 1))
    assert Folder(tmp_path).fingerprint == before


@pytest.mark.parametrize("written", ["photos", "./photos", "~/photos", "photos/../photos"])
def test_relative_paths_and_the_home_folder_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str):
    fill(tmp_path / "photos", "1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    domain = get(f"folder:{written}")
    assert domain.name == f"folder:{tmp_path / 'photos'}"
    assert get(domain.name) is domain
