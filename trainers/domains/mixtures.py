"""The union of several domains. Every image is equally frequent, so a larger domain has a larger share.

The images of the parts are not copied, except those that `Mixture.pick` returns. The parts are ordered by fingerprint, so a
mixture stays the same when a folder moves.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from trainers.common.errors import UserError
from trainers.domains.base import Domain, Images, Progress, Skipped, Split


class Mixture(Domain):
    """A union of domains. It has classes if all of its parts have.

    A class keeps its name if the name is unique among the parts. Otherwise it is prefixed with its part's name
    (``numerals/3``), and then matches no class of a target.
    """

    def __init__(self, name: str, members: Sequence[Domain]) -> None:
        self.name = name
        self._members = members
        self.about = " and ".join(member.about for member in members)
        self.licence = "; ".join(dict.fromkeys(member.licence for member in members))

    @cached_property
    def parts(self) -> tuple[Domain, ...]:
        """The domains, in the order of their images in the mixture.

        Raises:
            UserError: two of the domains have the same images.
        """
        ordered = tuple(sorted(self._members, key=lambda member: member.fingerprint))
        for part, other in zip(ordered, ordered[1:], strict=False):
            if part.fingerprint == other.fingerprint:
                raise UserError(f"mixture {self.name!r}: {part.name!r} and {other.name!r} have the same images; leave one out")
        return ordered

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # computed on demand
        """Hash of the parts' fingerprints."""
        text = "\n".join(part.fingerprint for part in self.parts)
        return f"mixture/1:{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:32]}"

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # computed on demand
        """Class names in label order; empty unless every part has classes."""
        if not all(part.classes for part in self.parts):
            return ()
        counts = Counter(name for part in self.parts for name in part.classes)
        short = Counter(_short(part) for part in self.parts)
        prefixes = [_short(part) if short[_short(part)] == 1 else part.name for part in self.parts]
        return tuple(
            name if counts[name] == 1 else f"{prefix}/{name}"
            for part, prefix in zip(self.parts, prefixes, strict=True)
            for name in part.classes
        )

    @property
    def skipped(self) -> tuple[Skipped, ...]:  # type: ignore[override]  # computed on demand
        """The files of all parts that are not used."""
        return tuple(file for part in self.parts for file in part.skipped)

    def count(self, split: Split) -> int:
        """Return the number of images in a split."""
        return sum(part.count(split) for part in self.parts)

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split, numbered part after part; None if a part has no classes."""
        if not self.classes:
            return None
        joined, offset = [], 0
        for part in self.parts:
            labels = part.labels(split)
            assert labels is not None, "a domain with classes has labels"
            joined.append(labels + offset)
            offset += len(part.classes)
        return np.concatenate(joined)

    def load(self, split: Split, resolution: int) -> Images:
        """Return a copy of all images of a split. `pick` needs less memory."""
        return self.pick(split, resolution, np.arange(self.count(split)))

    def pick(self, split: Split, resolution: int, rows: np.ndarray) -> Images:
        """Return a copy of the images of a split at the indices `rows`, int64 (N,)."""
        images = np.empty((len(rows), resolution, resolution, 3), np.uint8)
        first = 0
        for part in self.parts:
            inside = (first <= rows) & (rows < first + part.count(split))
            images[inside] = part.load(split, resolution).images[rows[inside] - first]
            first += part.count(split)
        labels = self.labels(split)
        return Images(images, None if labels is None else labels[rows])

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless every part is available at a resolution (pixels)."""
        for member in self._members:
            member.check_resolution(resolution)

    def prepare(self, resolution: int, progress: Progress = lambda done, total: None) -> None:
        """Prepare every part."""
        for member in self._members:
            member.prepare(resolution, progress)


def parts_of(domain: Domain) -> tuple[Domain, ...]:
    """Return the parts of a mixture in the order of its images; for any other domain, the domain itself."""
    return domain.parts if isinstance(domain, Mixture) else (domain,)


def _short(domain: Domain) -> str:
    return domain.name.rstrip("/").rpartition("/")[2]
