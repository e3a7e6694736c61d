"""The user's own images: a folder, flat or with a sub-folder per class, with or without splits of its own."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.domains.domain import Domain, Images, Split, check_range
from trainers.domains.images import UNREADABLE, opened, square
from trainers.errors import UserError

#: What Pillow opens without further libraries and people keep images in.
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

#: Names of sub-folders that are splits, when "train" and at least one of the others are there.
SPLITS: dict[str, Split] = {
    "train": "train",
    "reference": "reference",
    "val": "reference",
    "valid": "reference",
    "validation": "reference",
    "test": "reference",
}

#: Share of the images that becomes the reference split where the folder has none: one in five.
REFERENCE_EVERY = 5

#: Images are kept at this size once decoded, pixels; larger resolutions decode anew.
KEPT = 128


class Folder(Domain):
    """The images below a folder. Its fingerprint covers names and contents, not where the folder lies."""

    licence = "the owner's"

    def __init__(self, path: Path) -> None:
        """Read the folder at an absolute path.

        Raises:
            UserError: it is missing, not a folder, or has fewer than two readable images or an empty split.
        """
        self.path = path
        self.name = f"folder:{path}"
        self.about = f"images in {path}"
        if not path.exists():
            raise UserError(f"domain {self.name!r}: there is no such folder")
        if not path.is_dir():
            raise UserError(f"domain {self.name!r} is a file; name the folder that holds the images")
        files = sorted(file for file in path.rglob("*") if _is_image(file.relative_to(path)) and file.is_file())
        if not files:
            raise UserError(f"domain {self.name!r} holds no images ({', '.join(sorted(SUFFIXES))})")
        digest, self._files, skipped = hashlib.sha256(), [], []
        self._small: dict[Path, np.ndarray] = {}
        for file in files:
            name = file.relative_to(path).as_posix()
            try:
                self._small[file] = _decode(file, KEPT)
            except UNREADABLE:
                skipped.append(name)
                continue
            self._files.append(file)
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(_encoded(f"{name}\0{content}\n"))
        self.skipped = tuple(skipped)
        if len(self._files) < 2:
            shown = f"; unreadable: {', '.join(skipped[:3])}" if skipped else ""
            raise UserError(f"domain {self.name!r} has {len(self._files)} readable images and needs two or more{shown}")
        self.fingerprint = f"folder:{digest.hexdigest()[:32]}"
        self._own_splits = self._has_own_splits(files)
        self._splits = self._split()
        for split, chosen in self._splits.items():
            if not chosen:
                raise UserError(f"domain {self.name!r} has no readable image in its {split} split")
        names = {self._class(file) for file in self._files}
        self.classes = () if "" in names or len(names) < 2 else tuple(sorted(names))
        self.load = cache(self.load)  # type: ignore[method-assign]

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return len(self._splits[split])

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError for a resolution beyond what the harness is made for."""
        check_range(self.name, resolution, 4, 1024)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a split: centre-cropped to a square, resized with antialiasing."""
        files = self._splits[split]
        images = np.stack([self._at(file, resolution) for file in files])
        if not self.classes:
            return Images(images, None)
        return Images(images, np.array([self.classes.index(self._class(file)) for file in files], np.int64))

    def _at(self, file: Path, resolution: int) -> np.ndarray:
        if resolution == KEPT:
            return self._small[file]
        if resolution < KEPT:
            size = (resolution, resolution)
            return np.asarray(Image.fromarray(self._small[file]).resize(size, Image.Resampling.BICUBIC))
        return _decode(file, resolution)

    def _parts(self, file: Path) -> tuple[str, ...]:
        return file.relative_to(self.path).parts

    def _top(self, file: Path) -> str:
        """Return the sub-folder of the first level, in lower case, "" where there is none."""
        parts = self._parts(file)
        return parts[0].lower() if len(parts) > 1 else ""

    def _has_own_splits(self, files: list[Path]) -> bool:
        """Say whether the readable images lie in splits; one with unreadable ones only is a split too, and an error."""
        splits = {self._top(file) for file in files} & set(SPLITS)
        return "train" in splits and len(splits) > 1 and {self._top(file) for file in self._files} <= splits

    def _class(self, file: Path) -> str:
        """Return the sub-folder that names an image's class, "" where there is none."""
        parts = self._parts(file)[1 if self._own_splits else 0 :]
        return parts[0] if len(parts) > 1 else ""

    def _split(self) -> dict[Split, list[Path]]:
        """Return the files of each split: the folder's own, or one in five of each class by the hash of its name."""
        splits: dict[Split, list[Path]] = {"train": [], "reference": []}
        if self._own_splits:
            for file in self._files:
                splits[SPLITS[self._top(file)]].append(file)
            return splits
        by_class: dict[str, list[Path]] = {}
        for file in self._files:
            by_class.setdefault(self._class(file), []).append(file)
        for members in by_class.values():
            order = sorted(members, key=lambda file: hashlib.sha256(_encoded("/".join(self._parts(file)))).digest())
            for i, file in enumerate(order):
                # The second of every five, so that even two images of a class are one each.
                splits["reference" if i % REFERENCE_EVERY == 1 else "train"].append(file)
        return {split: sorted(chosen) for split, chosen in splits.items()}


def _encoded(name: str) -> bytes:
    """Return a file's name as bytes; it need not be valid UTF-8, as after an old archive."""
    return name.encode(errors="surrogateescape")


def _is_image(relative: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return not hidden and relative.suffix.lower() in SUFFIXES


def _decode(file: Path, side: int) -> np.ndarray:
    return square(opened(file), side)
