"""What can be said of a domain's images before anything is trained on them: how many, how large, in colour, near-duplicates."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from bench.images.domains import make_ready
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.domains import OWN, Domain, builtin_names, plugin_domains, torchvision_names
from trainers.domains.account import skipped_line
from trainers.domains.base import SPLITS
from trainers.domains.files.collection import Collection
from trainers.domains.files.decode_image import UNREADABLE, opened

#: Fewest images of each split that are worth a sweep: with fewer every FID is a matter of the draw.
FEWEST = 10

#: Most images whose sizes and modes are read, spread over all.
READ = 200

#: Height and width at which images are looked at, pixels, unless they are smaller.
SIDE = 32


@dataclass(frozen=True)
class Survey:
    """The images of a domain.

    Attributes:
        train, reference: number of images in the splits.
        classes: number of classes; 0 without labels.
        side: median of the shorter sides of the images, pixels; None where they are not in files.
        modes: number of the images that were read by Pillow's name of their mode, e.g. RGB; empty where they are not in files.
        grey: whether no training image has a colour.
        duplicates: number of reference images with a near-duplicate in the train split.
        skipped: a phrase on the files that are not used, or "".
    """

    train: int
    reference: int
    classes: int
    side: int | None
    modes: Mapping[str, int]
    grey: bool
    duplicates: int
    skipped: str

    def lines(self) -> list[str]:
        """Return the findings in words, the counts first."""
        classes = f" in {counted(self.classes, 'class', 'classes')}" if self.classes else ""
        lines = [
            f"{counted(self.train + self.reference, 'image')}{classes}, "
            f"{'grey' if self.grey else 'in colour'}: {self.train:,} to train on, {self.reference:,} held out for reference"
        ]
        if self.side is not None:
            modes = ", ".join(f"{mode} {count}" for mode, count in self.modes.items())
            lines.append(
                f"{self.side} pixels on the shorter side (median of "
                f"{counted(sum(self.modes.values()), 'image')}; modes: {modes})"
            )
        if self.duplicates:
            lines.append(
                f"{counted(self.duplicates, 'reference image has', 'reference images have')} near-duplicates in the train "
                "split, so copies of training images improve FID; remove them if you can"
            )
        if self.skipped:
            lines.append(self.skipped)
        return lines


def domain_text(text: str) -> str:
    """Return the name of the domain that a path of a folder or of an archive, or a domain's name, stands for.

    >>> domain_text("photos/cats"), domain_text("photos/cats.zip"), domain_text("digits")
    ('folder:photos/cats', 'zip:photos/cats.zip', 'digits')

    Raises:
        UserError: it is neither, and nearly the name of a domain.
    """
    known = {*builtin_names(), *plugin_domains(), *torchvision_names()}
    if text.partition(":")[0] in OWN or text.partition("+")[0].partition("[")[0] in known:
        return text
    name = text.partition("[")[0]
    if not Path(text).exists() and (near := get_close_matches(name, known, n=2, cutoff=0.75)):
        raise UserError(f"{text!r} is neither a folder here nor a domain; did you mean {' or '.join(near)}?")
    suffix = Path(text).suffix.removeprefix(".")
    return f"{suffix if suffix in OWN and not Path(text).is_dir() else 'folder'}:{text}"


def survey(domain: Domain, console: Console) -> Survey:
    """Look at the images of a domain, after preparing them at `SIDE` pixels or less.

    Raises:
        UserError: it has too few images in a split or in a class, or they cannot be read.
    """
    side, modes = None, Counter[str]()
    check_count(domain)
    if isinstance(domain, Collection):
        side, modes = _sizes(domain)
    resolution = SIDE if side is None else max(8, min(SIDE, side))
    if isinstance(domain, Collection):
        make_ready(domain, resolution, console)
    train, reference = (domain.count(split) for split in SPLITS)
    if min(train, reference) < FEWEST:
        have = f"{counted(train + reference, 'image')}, {train} of them to train on and {reference} held out for reference"
        raise _too_few(domain, have, skipped_line(domain.skipped))
    if isinstance(domain, Collection):
        _check_classes(domain)
    images = domain.load("train", resolution).images
    return Survey(
        train=train,
        reference=reference,
        classes=len(domain.classes),
        side=side,
        modes=modes,
        grey=bool((images == images[..., :1]).all()),
        duplicates=domain.near_duplicates(resolution) if isinstance(domain, Collection) else 0,
        skipped=skipped_line(domain.skipped),
    )


def check_count(domain: Domain) -> None:
    """Raise UserError if a domain has too few files, before any of them is decoded."""
    if isinstance(domain, Collection) and (count := len(domain.records())) < 2 * FEWEST:
        raise _too_few(domain, f"{count} image{'s'[: count != 1]}")


def _too_few(domain: Domain, have: str, skipped: str = "") -> UserError:
    return UserError(
        f"{domain.name} has {have}, and each split needs {FEWEST}: add images (without folders for the splits at least "
        f"{2 * FEWEST}){'; ' * bool(skipped)}{skipped}"
    )


def _check_classes(domain: Domain) -> None:
    """Raise UserError if a class has one image, which cannot be in both splits."""
    counts = np.zeros(len(domain.classes), np.int64)
    for split in SPLITS:
        if (labels := domain.labels(split)) is not None:
            counts += np.bincount(labels, minlength=len(counts))
    if alone := [name for name, count in zip(domain.classes, counts, strict=True) if count == 1]:
        shown = ", ".join(map(repr, alone[:3])) + (f" and {len(alone) - 3} more" if len(alone) > 3 else "")
        raise UserError(
            f"{domain.name}: class {shown} has one image, and a class needs two, to train on and for reference; add images to "
            "it, or move its image to another class or all images into one folder"
        )


def _sizes(collection: Collection) -> tuple[int | None, Counter[str]]:
    """Return the median shorter side, pixels, and the modes of a collection's images, read from at most `READ` of them."""
    records = collection.records()
    sides, modes = [], Counter[str]()
    for i in np.unique(np.linspace(0, len(records) - 1, READ).astype(int)):
        try:
            record = records.read(int(i))
            image = opened(record) if isinstance(record, bytes) else record
        except UNREADABLE:
            continue
        sides.append(min(image.size))
        modes[image.mode] += 1
    return (round(median(sides)) if sides else None), modes
