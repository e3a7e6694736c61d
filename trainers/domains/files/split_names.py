"""Splits and classes from the names of image files: SPLIT/CLASS/FILE, where both folders are optional."""

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.domains.base import Split

#: Common image formats that Pillow reads without additional libraries.
SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga"}
    | {".tif", ".tiff", ".webp"}
)

#: Formats of images that are not read, but counted as skipped.
UNSUPPORTED = frozenset(
    {".arw", ".cr2", ".cr3", ".dds", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".mpo"}
    | {".nef", ".orf", ".pcx", ".pfm", ".psd", ".qoi", ".raf", ".rw2", ".svg", ".xbm", ".xpm"}
)

#: The reasons for which files are skipped: by their suffix, and in a collection with folders for splits.
UNSUPPORTED_REASON, OUTSIDE_REASON = "in a format that is not read; convert to PNG or JPEG", "outside the folders of the splits"

#: Folders that are splits, if one for each split exists.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "reference": "reference",
    "val": "reference",
    "valid": "reference",
    "validation": "reference",
    "test": "reference",
    "testing": "reference",
}

#: Of these, the names that were not recognised before version 4 of the fingerprints.
_LATER = {"training", "testing"}

#: Without folders for splits, one image in this many is put into the reference split; of a small collection more, to have about
#: `ENOUGH` of them, but at most one in `MOST`: with few the named winner is a matter of the draw.
REFERENCE_EVERY, ENOUGH, MOST = 5, 500, 2


def is_image(name: str, suffixes: frozenset[str] = SUFFIXES) -> bool:
    """Return whether a file, by its path relative to the collection's root, has one of the suffixes and is not hidden."""
    return posixpath.splitext(name)[1].lower() in suffixes and not any(part.startswith(".") for part in name.split("/"))


def member_name(stored: str, *, backslashes: bool = False) -> str:
    r"""Return the name of a file in an archive as it is after unpacking; `backslashes` may separate folders, as from Windows.

    >>> member_name("./a//1.png"), member_name("/a/1.png"), member_name("a\\1.png", backslashes=True)
    ('a/1.png', 'a/1.png', 'a/1.png')
    """
    name = posixpath.normpath(stored.replace("\\", "/") if backslashes else stored)
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def without_shared(names: list[str]) -> list[str]:
    """Return names without the folders that all of them share, as unpacked archives often have; a single class is kept."""
    while len({name.partition("/")[0] for name in names}) == 1 and all(name.count("/") > 1 for name in names):
        names = [name.partition("/")[2] for name in names]
    return names


@dataclass(frozen=True)
class Layout:
    """The meaning of the folders of a collection's files.

    Attributes:
        splits: the split of each file, None for a file outside the folders of the splits; None if there are no such folders.
        classes: the class of each file, "" for a file without.
        later: whether this layout was not recognised before version 4 of the fingerprints.
        outside: the reason why a file without a split is skipped.
        text: the layout in words.
        labels_from: the file that has the classes, or some of them; "" if folders have them.
    """

    splits: tuple[Split | None, ...] | None
    classes: tuple[str, ...]
    later: bool = False
    outside: str = OUTSIDE_REASON
    text: str = ""
    labels_from: str = ""


def layout(names: Sequence[str]) -> Layout:
    """Return the layout of files SPLIT/CLASS/FILE or CLASS/SPLIT/FILE, given the names of all, also of unreadable ones."""
    tops = {_top_folder(name) for name in names} & SPLIT_NAMES.keys()
    if _both(tops):
        splits = tuple(SPLIT_NAMES.get(_top_folder(name)) for name in names)
        classes = tuple(_class_of(name.partition("/")[2]) for name in names)
        used = [name for name, split in zip(classes, splits, strict=True) if split]
        return Layout(splits, classes, bool(tops & _LATER), text=f"{', '.join(sorted(tops))} are the splits; {_classes(used)}")
    classes = tuple(_class_of(name) for name in names)
    seconds = [_top_folder(name.partition("/")[2]) for name in names]
    if _both({*seconds}) and {*seconds} - {""} <= SPLIT_NAMES.keys():
        text = f"{', '.join(sorted({*seconds} - {''}))} in each folder are the splits; {_classes(classes)}"
        return Layout(tuple(SPLIT_NAMES.get(second) for second in seconds), classes, later=True, text=text)
    return Layout(None, classes, text=f"no folders for splits; {_classes(classes)}")


def _classes(classes: Sequence[str]) -> str:
    """Return in words what the folders of the images are, given the folder of each, "" for none."""
    folders, loose = {*classes} - {""}, sum(not name for name in classes)
    if not folders:
        return "no folders for classes"
    if loose:
        return f"no classes, because {loose:,} of {len(classes):,} images are not in one of the {len(folders):,} folders"
    return f"{len(folders):,} folders are the classes" if len(folders) > 1 else f"no classes, but one folder {min(folders)}"


def splits_and_classes(layout: Layout, names: Sequence[str], used: Sequence[int]) -> tuple[list[Split], list[str]]:
    """Return the split and the class of each file that is used, given by its index; the class is "" if the file has none."""
    classes = [layout.classes[i] for i in used]
    if layout.splits is None:
        return divide([names[i] for i in used], classes), classes
    return [split for i in used if (split := layout.splits[i])], classes


def _both(folders: set[str]) -> bool:
    return {SPLIT_NAMES.get(folder) for folder in folders} >= {"train", "reference"}


def reference_every(count: int) -> int:
    """Return k: of a collection of `count` images without splits one in k is reference.

    >>> [reference_every(count) for count in (2, 1000, 1500, 2500, 10_000)]
    [2, 2, 3, 5, 5]
    """
    return min(REFERENCE_EVERY, max(MOST, count // ENOUGH))


def divide(names: Sequence[str], classes: Sequence[str]) -> list[Split]:
    """Return a split for each item: one in `reference_every` of each class is reference, chosen by the hash of its name."""
    every = reference_every(len(names))
    by_class: dict[str, list[int]] = {}
    for i, name in enumerate(classes):
        by_class.setdefault(name, []).append(i)
    splits: list[Split] = ["train"] * len(names)
    for members in by_class.values():
        order = sorted(members, key=lambda i: hashlib.sha256(encoded(names[i])).digest())
        for i in order[1::every]:  # from the second, so that a class of two has one image in each split
            splits[i] = "reference"
    return splits


def encoded(name: str) -> bytes:
    """Return a file's name as bytes; names from old archives may be invalid UTF-8."""
    return name.encode(errors="surrogateescape")


def _top_folder(name: str) -> str:
    """Return the first folder of a path in lower case, or "" for a file without a folder."""
    folder, separator, _ = name.partition("/")
    return folder.lower() if separator else ""


def _class_of(name: str) -> str:
    folder, separator, _ = name.partition("/")
    return folder if separator else ""
