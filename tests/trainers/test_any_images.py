"""Properties that hold for any content of image files and archives: an image, or a reason, and never another exception.

Hypothesis keeps the failures that it has seen in ``.hypothesis`` and tries them again first. For hours instead of seconds:
``make endurance TESTS=tests/trainers/test_any_images.py ENDURANCE=50``.
"""

import io
import json
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from tests.support.endurance import TIMES, repeats
from trainers.common.errors import UserError
from trainers.domains import get
from trainers.domains.base import SPLITS
from trainers.domains.files.decode_image import UNREADABLE, Fit, opened, reason, square

pytestmark = pytest.mark.endurance

#: As in tests/bench/test_any_content.py.
few = settings(
    max_examples=repeats(100, full=20000), deadline=None, suppress_health_check=list(HealthCheck), derandomize=not TIMES
)
fewer = settings(few, max_examples=repeats(10, full=1000))

SIDE = 8


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def pictures() -> dict[str, bytes]:
    """Return a file of each kind that a reader of its own decodes."""
    upright = Image.Exif()
    upright[ExifTags.Base.Orientation] = 6
    upright[ExifTags.Base.Make] = "camera"
    files = {f"png {mode}": encoded(picture(1, mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    files |= {f"tiff {how}": encoded(picture(2), "TIFF", compression=how) for how in ("raw", "tiff_lzw", "tiff_adobe_deflate")}
    files["png of 16 bits"] = encoded(Image.fromarray(np.arange(300, 420, dtype=np.uint16).reshape(12, 10)), "PNG")
    files["png interlaced, with a profile"] = encoded(picture(3), "PNG", icc_profile=b"x" * 200, exif=upright)
    files["jpeg"] = encoded(picture(4), "JPEG", exif=upright)
    files["jpeg progressive"] = encoded(picture(5), "JPEG", progressive=True, comment=b"text")
    files["jpeg cmyk"] = encoded(picture(6, "CMYK"), "JPEG")
    files["gif"] = encoded(picture(7, "P"), "GIF", save_all=True, append_images=[picture(8, "P")], transparency=3)
    files["bmp"] = encoded(picture(9), "BMP")
    files["bmp of a palette"] = encoded(picture(10, "P"), "BMP")
    files["ppm"] = encoded(picture(11), "PPM")
    files["tga"] = encoded(picture(14), "TGA", compression="tga_rle")
    files["avif"] = encoded(picture(15), "AVIF", exif=upright)
    files["webp"] = encoded(picture(12), "WEBP", exif=upright)
    files["webp lossless"] = encoded(picture(13, "RGBA"), "WEBP", lossless=True)
    return files


PICTURES = pictures()

#: What becomes of a file's bytes: some are replaced, the rest after a position is lost or repeated, others follow.
edits = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)), max_size=6)
cuts = st.none() | st.integers(0, 10**6)
tails = st.binary(max_size=4)


def changed(data: bytes, replaced: list[tuple[int, int]], cut: int | None, tail: bytes) -> bytes:
    content = bytearray(data)
    for position, value in replaced:
        content[position % len(content)] = value
    return bytes(content[: None if cut is None else cut % (len(content) + 1)]) + tail


def with_checksums(png: bytes) -> bytes:
    """Return a PNG file whose checksums are those of its chunks, so that readers look at what is in them."""
    chunks, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4])
        chunks += [png[at:end], zlib.crc32(png[at + 4 : end]).to_bytes(4)]
        at = end + 4
    return b"".join(chunks)


@few
@given(kind=st.sampled_from(sorted(PICTURES)), replaced=edits, cut=cuts, tail=tails, fit=st.sampled_from(["crop", "pad"]),
       checked=st.booleans())  # fmt: skip
def test_any_bytes_are_an_image_or_unreadable(
    kind: str, replaced: list[tuple[int, int]], cut: int | None, tail: bytes, fit: Fit, checked: bool
) -> None:
    data = changed(PICTURES[kind], replaced, cut, tail)
    if checked and kind.startswith("png"):
        data = with_checksums(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = square(opened(data), SIDE, fit)
        except UNREADABLE as error:
            check_line(reason(error))
            return
    assert image.shape == (SIDE, SIDE, 3)
    assert image.dtype == np.uint8


def check_line(text: str) -> None:
    assert text
    assert "\n" not in text


#: Their checksums show any damage, so that an image that is used is one of them.
SOURCES = [encoded(picture(seed), "PNG") for seed in range(6)]
SQUARES = {square(opened(data), SIDE).tobytes() for data in SOURCES}


def zipped(compression: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for i, content in enumerate(SOURCES):
            archive.writestr(f"images/{i % 2}/{i}.png", content)
    return data.getvalue()


def tarred(form: int) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for i, content in enumerate(SOURCES):
            info = tarfile.TarInfo(f"images/{i % 2}/{i}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def tabulated() -> bytes:
    data = io.BytesIO()
    rows = [{"image": {"bytes": content, "path": f"{i}.png"}, "label": None} for i, content in enumerate(SOURCES)]
    pq.write_table(pa.Table.from_pylist(rows).drop_columns("label"), data, row_group_size=4, write_page_checksum=True)
    return data.getvalue()


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "zip stored": lambda: zipped(zipfile.ZIP_STORED),
    "zip deflated": lambda: zipped(zipfile.ZIP_DEFLATED),
    "tar ustar": lambda: tarred(tarfile.USTAR_FORMAT),
    "tar gnu": lambda: tarred(tarfile.GNU_FORMAT),
    "tar pax": lambda: tarred(tarfile.PAX_FORMAT),
    "parquet": tabulated,
}
CONTENTS = {kind: make() for kind, make in ARCHIVES.items()}


@fewer
@example(kind="parquet", replaced=[(77, 0), (82, 1)], cut=None, tail=b"")  # the pixels' stream has no end, and so no checksum
@given(kind=st.sampled_from(sorted(CONTENTS)), replaced=edits, cut=cuts, tail=tails)
def test_any_archive_gives_its_images_or_a_line(
    kind: str, replaced: list[tuple[int, int]], cut: int | None, tail: bytes
) -> None:
    data = changed(CONTENTS[kind], replaced, cut, tail)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERGAN_CACHE", f"{folder}/cache")
        path = Path(folder, "archive")
        path.write_bytes(data)
        try:
            domain = get(f"{kind.partition(' ')[0]}:{path}")
            images = np.concatenate([domain.load(split, SIDE).images for split in SPLITS])
        except UserError as error:
            check_line(str(error))
            return
        for file in domain.skipped:
            check_line(file.reason)
        for image in images:
            assert image.tobytes() in SQUARES


names = st.sampled_from(["0.png", "a/1.png", "../0.png", "", "x"]) | st.text(max_size=4)
labels = (
    st.none() | st.booleans() | st.integers(-2, 2**65) | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)
data_sets = (
    st.fixed_dictionaries({"labels": labels | st.lists(st.lists(names | labels, max_size=3) | labels, max_size=6)}) | labels
)


@fewer
@given(value=data_sets, tail=st.just("") | st.text(max_size=3))
def test_any_label_file_gives_labels_or_a_line(value: object, tail: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERGAN_CACHE", f"{folder}/cache")
        path = Path(folder, "images")
        (path / "a").mkdir(parents=True)
        for i, content in enumerate(SOURCES):
            (path / ("a" if i % 2 else "") / f"{i}.png").write_bytes(content)
        (path / "dataset.json").write_text(json.dumps(value) + tail, encoding="utf-8")
        try:
            domain = get(f"folder:{path}")
            used = [domain.load(split, SIDE) for split in SPLITS]
        except UserError as error:
            check_line(str(error))
            return
        assert sum(len(split.images) for split in used) + len(domain.skipped) == len(SOURCES)
        for split in used:
            assert (split.labels is None) == (not domain.classes)
            assert split.labels is None or len(split.labels) == len(split.images)
