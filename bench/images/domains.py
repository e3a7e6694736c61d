"""Descriptions of domains for the command line, and the preparation of their images. Torch is needed for torchvision's only."""

import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainers.common.contact_sheet import BACKGROUND, png_grid
from trainers.common.counts import counted
from trainers.common.errors import UserError, within
from trainers.domains import OWN, Domain, builtin_names, get, plugin_domains, torchvision_names
from trainers.domains.account import by_reason, skipped_line
from trainers.domains.files.collection import Collection, NamedFiles
from trainers.domains.torchvision.domain import TorchvisionDomain

#: The classes that `described` names, each with its number of training images.
SHOWN = 20

#: Rows of the grid that `previewed` returns, and images in each.
PREVIEWED = 8


def rows() -> list[dict[str, Any]]:
    """Return a row for every domain, with official counts for data sets that are missing, and for each kind of the user's own.

    Columns: `name`; the numbers of images in `train` and `reference`, and of `classes`, None for the user's own; `state`, e.g.
    "ready" or "missing"; `licence`.
    """
    table: list[dict[str, Any]] = []
    for name in (*builtin_names(), *plugin_domains(), *torchvision_names()):
        domain = get(name)
        train, reference, classes, state = _counted(domain)
        counts = {"train": train, "reference": reference, "classes": classes}
        table.append({"name": name, **counts, "state": state, "licence": domain.licence})
    unknown = {"train": None, "reference": None, "classes": None}
    return [*table, *({"name": f"{kind}:PATH", **unknown, "state": "yours", "licence": "yours"} for kind in OWN)]


def described(name: str) -> dict[str, str]:
    """Return the properties of a domain by label: contents, splits, folder and origin of its files, licence, state.

    Raises UserError for an unknown domain.
    """
    domain = get(name)
    train, reference, classes, state = _counted(domain)
    counts = f"{train:,} to train on, {reference:,} for reference; {counted(classes, 'class', 'classes')}"
    properties = {"name": domain.name, "shows": domain.about, "images": counts, "licence": domain.licence}
    if isinstance(domain, TorchvisionDomain):
        entry = domain.entry
        download = f"transfergan domains prepare {name} --download" if entry.download else "by hand, from the source"
        properties |= {"splits": entry.splits, "source": entry.source, "folder": str(domain.path), "files": entry.files}
        properties |= {"download": download, "state": domain.ready() or state}
    elif isinstance(domain, Collection):
        if isinstance(domain, NamedFiles):
            properties["layout"] = domain.layout.text
        if domain.classes:
            sizes = np.bincount(np.asarray(domain.labels("train")), minlength=classes)
            names = [f"{name} ({size:,})" for name, size in zip(domain.classes, sizes, strict=True)]
            properties["classes"] = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    if state not in ("missing", "damaged") and (skipped := domain.skipped):
        used = domain.count("train") + domain.count("reference")
        reasons = "; ".join(f"{len(names):,} {reason}: {', '.join(names)}" for reason, names in by_reason(skipped).items())
        properties["skipped"] = f"{len(skipped):,} of {used + len(skipped):,}; {reasons}"
    return properties


def previewed(name: str, resolution: int) -> tuple[bytes, tuple[str, ...]]:
    """Return a grid of a domain's training images as PNG bytes, and the classes that its rows are of, if it has classes.

    Raises UserError for an unknown domain, an unsuitable resolution or images that cannot be read.
    """
    domain = get(name)
    with within("--resolution"):
        domain.check_resolution(resolution)
    images, labels = (loaded := domain.load("train", resolution)).images, loaded.labels
    if labels is None:
        return png_grid(images[:: max(1, len(images) // PREVIEWED**2)][: PREVIEWED**2]), ()
    shown = [label for label in range(len(domain.classes)) if (labels == label).any()][:PREVIEWED]
    grid = np.full((len(shown), PREVIEWED, *images.shape[1:]), BACKGROUND, np.uint8)
    for row, label in zip(grid, shown, strict=True):
        members = np.flatnonzero(labels == label)[:PREVIEWED]
        row[: len(members)] = images[members]
    return png_grid(grid.reshape(-1, *images.shape[1:]), PREVIEWED), tuple(domain.classes[label] for label in shown)


def prepared(name: str, download: bool, resolution: int | None, console: Console) -> str:
    """Check, download or prepare a domain, and return one line on its state. Raises UserError if it is not ready.

    Its images are decoded, and near-duplicates searched for, at `resolution` pixels; neither if that is None.
    """
    domain = get(name)
    if download and isinstance(domain, TorchvisionDomain):
        domain.download()
    state = "ready"
    if resolution is not None:
        with within("--resolution"):
            domain.check_resolution(resolution)
        if isinstance(domain, Collection):
            for split in domain.verify(resolution):
                console.print(f"{name}: its prepared {split} split is damaged and will be prepared again")
        make_ready(domain, resolution, console)
        state = f"ready at {resolution} pixels"
    state += f", {domain.count('train'):,} images to train on, {domain.count('reference'):,} for reference"
    if line := skipped_line(domain.skipped):
        state += f", {line}"
    if resolution is not None and (note := near_duplicates(domain, resolution)):
        state += f"; {note}"
    return f"{name}: {state}; {domain.fingerprint}"


def make_ready(
    domain: Domain, resolution: int, console: Console, *, label: str | None = None, place: tuple[int, int] | None = None
) -> None:  # fmt: skip
    """Prepare a domain's images, with a progress bar, or a line where there is no terminal.

    Args:
        domain, resolution, console: what is prepared, at how many pixels, and where that is shown.
        label: what the domain is called; by default its name.
        place: the number of this domain and that of all that are prepared, if there are several.

    Raises:
        UserError: its images cannot be read, or the cache cannot be written.
    """
    began, prepared_files = time.monotonic(), 0
    label = label or domain.name
    what = f"{place[0]} of {place[1]}: {label}" if place and place[1] > 1 else label
    with Progress(
        TextColumn("preparing {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            nonlocal prepared_files
            if not prepared_files and not console.is_terminal:
                console.print(f"preparing {what}, {counted(total, 'file')}", soft_wrap=True)
            prepared_files = max(1, done)
            bar.update(task, completed=done, total=total)

        domain.prepare(resolution, tell)
    if prepared_files:
        seconds = time.monotonic() - began
        console.print(f"prepared {label}: {counted(prepared_files, 'file')}, {seconds:.1f} s", soft_wrap=True)


def near_duplicates(domain: Domain, resolution: int) -> str:
    """Return a phrase with the number of reference images that have near-duplicates in the train split, or ""."""
    if not isinstance(domain, Collection):
        return ""
    count, total = domain.near_duplicates(resolution), domain.count("reference")
    return f"{count:,} of {total:,} reference images have near-duplicates in the train split" if count else ""


def _counted(domain: Domain) -> tuple[int, int, int, str]:
    """Return the numbers of training images, reference images and classes, and the state as a phrase."""
    if not isinstance(domain, TorchvisionDomain):
        made = "plug-in" if domain.name.partition("[")[0] in plugin_domains() else "built in"
        state = "ready" if isinstance(domain, Collection) else made
        return domain.count("train"), domain.count("reference"), len(domain.classes), state
    entry, state = domain.entry, "missing"
    if domain.ready() is None:
        try:
            return domain.count("train"), domain.count("reference"), len(domain.classes), "ready"
        except UserError:
            state = "damaged"
    return entry.train, entry.reference, entry.classes, state
