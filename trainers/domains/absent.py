"""Data sets that are not on this machine, as described by the catalogue: enough for planning, not for training."""

from typing import NoReturn

from trainers.common.errors import UserError
from trainers.config.sources import mixture, parts
from trainers.domains import get
from trainers.domains.base import Domain, Split
from trainers.domains.mixtures import Mixture, parts_of
from trainers.domains.torchvision.catalogue import CATALOGUE, Entry
from trainers.domains.torchvision.domain import TorchvisionDomain


class Announced(Domain):
    """A data set without images, with the counts and classes of its catalogue entry and a placeholder as its fingerprint."""

    def __init__(self, entry: Entry) -> None:
        self._counts: dict[Split, int] = {"train": entry.train, "reference": entry.reference}
        self.name = entry.name
        self.about = entry.about
        self.licence = entry.licence
        self.fingerprint = f"announced:{entry.name}"
        self.classes = tuple(f"class {i}" for i in range(entry.classes))

    def count(self, split: Split) -> int:
        """Return the number of images in the official split."""
        return self._counts[split]

    def load(self, split: Split, resolution: int) -> NoReturn:
        """Raise UserError: the images are not on this machine."""
        raise UserError(f"domain {self.name!r} is not on this machine; run: transfergan domains show {self.name}")

    def check_resolution(self, resolution: int) -> None:
        """Accept every resolution: which are available is known only from the images."""


def is_announced(domain: Domain) -> bool:
    """Return whether a domain, or any part of a mixture, is not on this machine."""
    return any(isinstance(part, Announced) for part in parts_of(domain))


def get_or_announced(name: str) -> Domain:
    """Return the domain of a name; for a data set that is not on this machine, the catalogue's description.

    Raises:
        UserError: as `trainers.domains.get`.
    """
    if len(names := parts(name)) > 1:
        members = [get_or_announced(part) for part in names]
        if any(map(is_announced, members)):
            return Mixture(mixture(member.name for member in members), members)
    domain = get(name)
    if isinstance(domain, TorchvisionDomain) and domain.absent() is not None:
        return Announced(CATALOGUE[name])
    return domain
