"""What the names of image files say: SPLIT/CLASS/FILE, the splits and the classes being optional."""

import hashlib
from collections.abc import Sequence

from trainers.domains.base import Split

#: What Pillow opens without further libraries and people keep images in.
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

#: Names of splits, when "train" and at least one of the others are there.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "reference": "reference",
    "val": "reference",
    "valid": "reference",
    "validation": "reference",
    "test": "reference",
}

#: Share of the images that becomes the reference split where there is none: one in five.
REFERENCE_EVERY = 5


def is_image(name: str) -> bool:
    """Say whether a file is an image by its name, a path relative to the collection's root; hidden ones are not."""
    parts = name.split("/")
    suffix = parts[-1].rpartition(".")[2].lower()
    return f".{suffix}" in SUFFIXES and not any(part.startswith(".") for part in parts)


def without_shared(names: list[str]) -> list[str]:
    """Return names without the folders that all of them lie in, as what was unpacked often has; a lone class keeps its name."""
    while len({name.partition("/")[0] for name in names}) == 1 and all(name.count("/") > 1 for name in names):
        names = [name.partition("/")[2] for name in names]
    return names


def splits_and_classes(names: Sequence[str], readable: Sequence[int]) -> tuple[list[Split], list[str]]:
    """Return the split and the class of each readable file; its class is "" where its name has none.

    Args:
        names: of all files. A split of unreadable ones only is a split too, and empty.
        readable: which of them are whole images.
    """
    tops = {_top(name) for name in names} & set(SPLIT_NAMES)
    own = "train" in tops and len(tops) > 1 and {_top(names[i]) for i in readable} <= tops
    kinds = [_kind(names[i], own) for i in readable]
    if own:
        return [SPLIT_NAMES[_top(names[i])] for i in readable], kinds
    return divide([names[i] for i in readable], kinds), kinds


def divide(names: Sequence[str], kinds: Sequence[str]) -> list[Split]:
    """Return a split for each item: one in five of each class becomes reference, by the hash of its name."""
    by_kind: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(i)
    splits: list[Split] = ["train"] * len(names)
    for members in by_kind.values():
        order = sorted(members, key=lambda i: hashlib.sha256(encoded(names[i])).digest())
        for i in order[1::REFERENCE_EVERY]:  # from the second, so that even two images of a class are one each
            splits[i] = "reference"
    return splits


def encoded(name: str) -> bytes:
    """Return a file's name as bytes; it need not be valid UTF-8, as after an old archive."""
    return name.encode(errors="surrogateescape")


def _top(name: str) -> str:
    """Return the folder of the first level, in lower case, "" where there is none."""
    first, below, _ = name.partition("/")
    return first.lower() if below else ""


def _kind(name: str, own_splits: bool) -> str:
    parts = name.split("/")[own_splits:]
    return parts[0] if len(parts) > 1 else ""
