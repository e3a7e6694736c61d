"""The union of several domains: every image of each as often, so that a larger domain has the larger share.

Its parts stay where they are, in the prepared cache or drawn: of what is picked from them alone there is a copy. Their order is
that of their fingerprints, so that a folder that has moved makes the same mixture.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from trainers.common.errors import UserError
from trainers.domains.base import Domain, Images, Split, Tell


class Mixture(Domain):
    """A union of domains. It has classes where all of its parts have.

    A class keeps its name where no other part has one of that name; else its part's name stands before it,
    ``numerals/3``, and it matches no class of a target.
    """

    def __init__(self, name: str, members: Sequence[Domain]) -> None:
        self.name = name
        self._members = members
        self.about = " and ".join(member.about for member in members)
        self.licence = "; ".join(dict.fromkeys(member.licence for member in members))

    @cached_property
    def parts(self) -> tuple[Domain, ...]:
        """The domains, in the order of their images.

        Raises:
            UserError: two of them have the same images.
        """
        ordered = tuple(sorted(self._members, key=lambda member: member.fingerprint))
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.fingerprint == other.fingerprint:
                raise UserError(f"mixture {self.name!r}: {one.name!r} and {other.name!r} have the same images; leave one out")
        return ordered

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # found when asked for
        """Identity of the parts' contents."""
        text = "\n".join(part.fingerprint for part in self.parts)
        return f"mixture/1:{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:32]}"

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # found when asked for
        """Class names in label order; empty unless every part has classes."""
        if not all(part.classes for part in self.parts):
            return ()
        taken = Counter(name for part in self.parts for name in part.classes)
        short = Counter(_short(part) for part in self.parts)
        prefixes = [_short(part) if short[_short(part)] == 1 else part.name for part in self.parts]
        return tuple(
            name if taken[name] == 1 else f"{prefix}/{name}"
            for part, prefix in zip(self.parts, prefixes, strict=True)
            for name in part.classes
        )

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]  # found when asked for
        """Files of all parts that could not be read."""
        return tuple(file for part in self.parts for file in part.skipped)

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return sum(part.count(split) for part in self.parts)

    def labels(self, split: Split) -> np.ndarray | None:
        """Return the labels int64 (N,) of a split: each part's classes follow those of the part before."""
        if not self.classes:
            return None
        found, before = [], 0
        for part in self.parts:
            labels = part.labels(split)
            assert labels is not None, "a domain with classes has labels"
            found.append(labels + before)
            before += len(part.classes)
        return np.concatenate(found)

    def load(self, split: Split, resolution: int) -> Images:
        """Return all images of a split, copied: for a look at them. `pick` copies less."""
        return self.pick(split, resolution, np.arange(self.count(split)))

    def pick(self, split: Split, resolution: int, rows: np.ndarray) -> Images:
        """Return some images of a split; the parts' other images are not copied."""
        images = np.empty((len(rows), resolution, resolution, 3), np.uint8)
        first = 0
        for part in self.parts:
            mine = (first <= rows) & (rows < first + part.count(split))
            images[mine] = part.load(split, resolution).images[rows[mine] - first]
            first += part.count(split)
        labels = self.labels(split)
        return Images(images, None if labels is None else labels[rows])

    def check_resolution(self, resolution: int) -> None:
        """Raise UserError unless every part can be had at that resolution."""
        for member in self._members:
            member.check_resolution(resolution)

    def prepare(self, resolution: int, tell: Tell = lambda done, total: None) -> None:
        """Make every part ready."""
        for member in self._members:
            member.prepare(resolution, tell)


def parts_of(domain: Domain) -> tuple[Domain, ...]:
    """Return the domains that a mixture is made of, in the order of its images; of another domain, itself."""
    return domain.parts if isinstance(domain, Mixture) else (domain,)


def _short(domain: Domain) -> str:
    return domain.name.rstrip("/").rpartition("/")[2]
