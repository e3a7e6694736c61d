"""What the command line says of domains: a row for each, all about one, whether one is ready. Torch only for those on disk."""

from trainers.domains import Domain, builtin_names, get, torchvision_names
from trainers.domains.torchvision import TorchvisionDomain
from trainers.errors import UserError

#: Of `rows`.
COLUMNS = ("name", "train", "reference", "classes", "state", "licence")


def rows() -> list[tuple[str, ...]]:
    """Return a row for every domain; official counts where a data set is not there to be counted."""
    found: list[tuple[str, ...]] = []
    for name in (*builtin_names(), *torchvision_names()):
        domain = get(name)
        train, reference, classes, state = _counted(domain)
        found.append((name, f"{train:,}", f"{reference:,}", str(classes), state, domain.licence))
    return [*found, ("folder:PATH", "", "", "", "your own images", "")]


def described(name: str) -> dict[str, str]:
    """Return all about one domain: what it shows, its splits, where its files go and where they are from.

    Raises:
        UserError: there is no such domain.
    """
    domain = get(name)
    train, reference, classes, state = _counted(domain)
    counts = f"{train:,} to train on, {reference:,} for reference; {classes} classes"
    found = {"name": domain.name, "shows": domain.about, "images": counts, "licence": domain.licence}
    if isinstance(domain, TorchvisionDomain):
        entry = domain.entry
        by = f"transfergan domains prepare {name} --download" if entry.download else "by hand, from the source"
        found |= {"splits": entry.splits, "source": entry.source, "folder": str(domain.path), "files": entry.files}
        found |= {"download": by, "state": domain.ready() or state}
    return found


def prepared(name: str, download: bool) -> str:
    """Return in one line that a domain is ready, after downloading what is missing if asked to.

    Raises:
        UserError: there is no such domain, or it is not ready, and what to do.
    """
    domain = get(name)
    if download and isinstance(domain, TorchvisionDomain):
        domain.download()
    counts = f"{domain.count('train'):,} images to train on, {domain.count('reference'):,} for reference"
    return f"{name}: ready, {counts}; {domain.fingerprint}"


def _counted(domain: Domain) -> tuple[int, int, int, str]:
    """Return the images to train on and for reference, the classes, and the state in a few words."""
    if not isinstance(domain, TorchvisionDomain):
        return domain.count("train"), domain.count("reference"), len(domain.classes), "built in"
    entry, lacking = domain.entry, domain.ready()
    state = "ready" if lacking is None else lacking.partition(";")[0]
    if lacking is None:
        try:
            return domain.count("train"), domain.count("reference"), len(domain.classes), state
        except UserError:
            state = "damaged"
    return entry.train, entry.reference, entry.classes, state
