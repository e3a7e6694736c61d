"""Splits and classes from the names of image files: SPLIT/CLASS/FILE, where both folders are optional."""

import hashlib
from collections.abc import Sequence

from trainers.domains.base import Split

#: Common image formats that Pillow reads without additional libraries.
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

#: Folders that are splits, if "train" and at least one other of them exist.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "reference": "reference",
    "val": "reference",
    "valid": "reference",
    "validation": "reference",
    "test": "reference",
}

#: Without folders for splits, one image in this many is put into the reference split; of a small collection more, to have about
#: `ENOUGH` of them, but at most one in `MOST`: with few the named winner is a matter of the draw.
REFERENCE_EVERY, ENOUGH, MOST = 5, 500, 2


def is_image(name: str) -> bool:
    """Return whether a file, by its path relative to the collection's root, is an image and not hidden."""
    parts = name.split("/")
    suffix = parts[-1].rpartition(".")[2].lower()
    return f".{suffix}" in SUFFIXES and not any(part.startswith(".") for part in parts)


def without_shared(names: list[str]) -> list[str]:
    """Return names without the folders that all of them share, as unpacked archives often have; a single class is kept."""
    while len({name.partition("/")[0] for name in names}) == 1 and all(name.count("/") > 1 for name in names):
        names = [name.partition("/")[2] for name in names]
    return names


def splits_and_classes(names: Sequence[str], readable: Sequence[int]) -> tuple[list[Split], list[str]]:
    """Return the split and the class of each readable file; the class is "" if the name has none.

    Args:
        names: the names of all files. A split with only unreadable files exists, and is empty.
        readable: indices of the files that are complete images.
    """
    named = has_splits(names, readable)
    classes = [_class_of(names[i], named) for i in readable]
    if named:
        return [SPLIT_NAMES[_top_folder(names[i])] for i in readable], classes
    return divide([names[i] for i in readable], classes), classes


def has_splits(names: Sequence[str], readable: Sequence[int]) -> bool:
    """Return whether the folders of files are splits, given as in `splits_and_classes`."""
    folders = {_top_folder(name) for name in names} & set(SPLIT_NAMES)
    return "train" in folders and len(folders) > 1 and {_top_folder(names[i]) for i in readable} <= folders


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


def _class_of(name: str, has_splits: bool) -> str:
    parts = name.split("/")[has_splits:]
    return parts[0] if len(parts) > 1 else ""
