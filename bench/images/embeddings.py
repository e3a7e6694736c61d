"""The embeddings: what each is, whether its weights are here, and how to get them."""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.images.download import download
from trainers.common.errors import UserError, unknown_name
from trainers.config.embeddings import (
    ALIASES,
    BUILTIN_DIMENSIONS,
    BUILTIN_LICENCE,
    BUILTIN_SIDE,
    BUILTIN_WEIGHTS,
    PUBLISHED,
    PublishedNetwork,
    plugin_embeddings,
)


def rows() -> list[dict[str, Any]]:
    """Return a row per embedding, `custom:PATH` excepted: the built-in one, the published ones, those of plug-ins.

    Columns: `name`; `alias` or ""; `network` in words; `dimensions` of the features and `pixels` that images are
    resized to, None for a plug-in's; `licence`; `file` of the weights, None for a plug-in without one; `state`, "ready" or
    "missing"; `todo`, what to do if it is missing, or "".
    """
    builtin = Path(str(files("trainers.evaluation.embeddings") / BUILTIN_WEIGHTS))
    network = "a small classifier of the built-in domains"
    table = [_row("builtin", network, BUILTIN_LICENCE, builtin, dimensions=BUILTIN_DIMENSIONS, side=BUILTIN_SIDE)]
    for known in PUBLISHED.values():
        size = f"{known.size / 1e6:,.0f}"
        todo = f"run `transfergan embeddings fetch {known.name}` ({size} MB), or place it there, from {known.address}"
        table.append(
            _row(
                known.name, known.network, known.licence, known.file, todo,
                alias=known.alias, dimensions=known.dimensions, side=known.side,
            )
        )  # fmt: skip
    for name, plugin in plugin_embeddings().items():
        table.append(_row(name, "of a plug-in", plugin.licence, plugin.weights, "place its weights there"))
    return table


def _row(
    name: str, network: str, licence: str, file: Path | None, todo: str = "", *,
    alias: str = "", dimensions: int | None = None, side: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    ready = file is None or file.is_file()
    return {
        "name": name, "alias": alias, "network": network, "dimensions": dimensions, "pixels": side, "licence": licence,
        "file": None if file is None else str(file), "state": "ready" if ready else "missing", "todo": "" if ready else todo,
    }  # fmt: skip


def fetch(name: str, progress: Callable[[int, int | None], None]) -> str:
    """Download the weights of a published network to their usual place, and return a line on the outcome.

    Args:
        progress: called with the bytes that are there and those of the whole file, None if unknown.

    Raises:
        UserError: the name is not one of a published network, the download fails, or another file is in the place.
    """
    network = _published(name)
    file = network.file
    if not file.is_file():
        download(network.address, file, network.sha256, progress)
        return f"{network.name}: {file}"
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != network.sha256:
        raise UserError(
            f"{str(file)!r} is not the file of {network.address}: its sha256 is {found}; move it elsewhere and use it as "
            f"{network.name}:PATH, or delete it, and repeat"
        )
    return f"{network.name}: {file} is there already"


def _published(name: str) -> PublishedNetwork:
    if (known := PUBLISHED.get(ALIASES.get(name, name))) is not None:
        return known
    if name == "builtin":
        raise UserError("embedding 'builtin' is part of this package; there is nothing to fetch")
    raise unknown_name("embedding to fetch", name, (*PUBLISHED, *ALIASES))
