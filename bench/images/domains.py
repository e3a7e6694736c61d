"""What the command line says of domains: a row for each, all about one; making them ready. Torch only for those on disk."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainers.common.errors import UserError
from trainers.domains import OWN, Domain, builtin_names, get, plugin_domains, torchvision_names
from trainers.domains.files.collection import Collection
from trainers.domains.torchvision.domain import TorchvisionDomain

#: Of `rows`.
COLUMNS = ("name", "train", "reference", "classes", "state", "licence")


def rows() -> list[tuple[str, ...]]:
    """Return a row for every domain; official counts where a data set is not there to be counted."""
    found: list[tuple[str, ...]] = []
    for name in (*builtin_names(), *plugin_domains(), *torchvision_names()):
        domain = get(name)
        train, reference, classes, state = _counted(domain)
        found.append((name, f"{train:,}", f"{reference:,}", str(classes), state, domain.licence))
    return [*found, *((f"{kind}:PATH", "", "", "", "yours", "yours") for kind in OWN)]


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
    elif domain.skipped:
        found["skipped"] = f"{len(domain.skipped):,}: {', '.join(domain.skipped)}"
    return found


def prepared(name: str, download: bool, resolution: int | None, console: Console) -> str:
    """Return in one line that a domain is ready, after downloading what is missing if asked to.

    Args:
        name: of the domain.
        download: whether to download.
        resolution: pixels to decode and resize its images to, and to look for near-duplicates at; None not to.
        console: where progress goes.

    Raises:
        UserError: there is no such domain, or it is not ready, and what to do.
    """
    domain = get(name)
    if download and isinstance(domain, TorchvisionDomain):
        domain.download()
    said = "ready"
    if resolution is not None:
        if isinstance(domain, Collection):
            for split in domain.verify(resolution):
                console.print(f"{name}: its prepared {split} split is damaged, and made anew", highlight=False, markup=False)
        make_ready(domain, resolution, console)
        said = f"ready at {resolution} pixels"
    said += f", {domain.count('train'):,} images to train on, {domain.count('reference'):,} for reference"
    if domain.skipped:
        said += f", {len(domain.skipped):,} files skipped"
    if resolution is not None and (note := near_duplicates(domain, resolution)):
        said += f"; {note}"
    return f"{name}: {said}; {domain.fingerprint}"


def make_ready(domain: Domain, resolution: int, console: Console) -> None:
    """Prepare a domain's images, with a progress bar.

    Raises:
        UserError: they cannot be read, or the cache cannot be written.
    """
    began, seen = time.monotonic(), 0
    with Progress(
        TextColumn("preparing {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(domain.name, total=None)

        def tell(done: int, total: int) -> None:
            nonlocal seen
            seen = done
            bar.update(task, completed=done, total=total)

        domain.prepare(resolution, tell)
    if seen:
        took = time.monotonic() - began
        console.print(f"prepared {domain.name}: {seen:,} files, {took:.1f} s", highlight=False, markup=False, soft_wrap=True)


def near_duplicates(domain: Domain, resolution: int) -> str:
    """Return in a few words how many reference images are nearly in the train split too; "" where none are looked for."""
    if not isinstance(domain, Collection):
        return ""
    found = domain.near_duplicates(resolution)
    return f"{found:,} of {domain.count('reference'):,} reference images are nearly in the train split too" if found else ""


def _counted(domain: Domain) -> tuple[int, int, int, str]:
    """Return the images to train on and for reference, the classes, and the state in a few words."""
    if not isinstance(domain, TorchvisionDomain):
        made = "plug-in" if domain.name.partition("[")[0] in plugin_domains() else "built in"
        state = "ready" if isinstance(domain, Collection) else made
        return domain.count("train"), domain.count("reference"), len(domain.classes), state
    entry, lacking = domain.entry, domain.ready()
    state = "missing"
    if lacking is None:
        try:
            return domain.count("train"), domain.count("reference"), len(domain.classes), "ready"
        except UserError:
            state = "damaged"
    return entry.train, entry.reference, entry.classes, state
