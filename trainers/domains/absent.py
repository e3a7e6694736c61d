"""Data sets that are not on this machine, as far as the catalogue tells of them: enough to plan with, not to train on."""

from typing import NoReturn

from trainers.common.errors import UserError
from trainers.config.sources import mixture, parts
from trainers.domains import get
from trainers.domains.base import Domain, Split
from trainers.domains.mixtures import Mixture, parts_of
from trainers.domains.torchvision.catalogue import CATALOGUE, Entry
from trainers.domains.torchvision.domain import TorchvisionDomain


class Announced(Domain):
    """What the catalogue says of a data set. It has no images, and its fingerprint is no real one."""

    def __init__(self, entry: Entry) -> None:
        """Stand for a data set."""
        self._counts: dict[Split, int] = {"train": entry.train, "reference": entry.reference}
        self.name = entry.name
        self.about = entry.about
        self.licence = entry.licence
        self.fingerprint = f"announced:{entry.name}"
        self.classes = tuple(f"class {i}" for i in range(entry.classes))

    def count(self, split: Split) -> int:
        """Return how many images the official split has."""
        return self._counts[split]

    def load(self, split: Split, resolution: int) -> NoReturn:
        """Raise UserError: the images are not here."""
        raise UserError(f"domain {self.name!r} is not on this machine; see transfergan domains")

    def check_resolution(self, resolution: int) -> None:
        """Accept: which resolutions there are is known once the images are here."""


def is_announced(domain: Domain) -> bool:
    """Say whether a domain's images, or any part's of a mixture, are not on this machine."""
    return any(isinstance(part, Announced) for part in parts_of(domain))


def get_or_announced(name: str) -> Domain:
    """Return the domain of that name; where it is a data set that is not on this machine, what the catalogue says of it.

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
