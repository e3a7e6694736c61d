"""What several verbs share: their arguments, and how a sweep file, a store and a report are opened and written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.store import Store

StoreOption = Annotated[str, typer.Option("--store", metavar="URI", help="Where results are kept: a directory or s3://...")]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A sweep file (.yaml) or a preset's name.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.steps=100.")
]


def plan_of(spec: str, overrides: list[str] | None, store: str) -> "Plan":
    """Return the plan of a sweep file or a preset, once the images of its own domains are decoded."""
    from rich.console import Console

    from bench.domains import make_ready
    from bench.plan import make_plan
    from bench.spec import load_spec
    from trainers.domains import OWN, get
    from trainers.sources import IMPORT, domains

    loaded = load_spec(spec, overrides or ())
    for name in dict.fromkeys(name for source in (*loaded.sources, *loaded.targets) for name in domains(source)):
        if name.partition(":")[0] in OWN:  # how many of its files are images is known once all were decoded
            make_ready(get(name), loaded.gan.resolution, Console(stderr=True))
    if any(source.startswith(IMPORT) for source in loaded.sources) and exists(store):
        from bench.imports import imported

        return make_plan(loaded, imported(open_at(store)))
    return make_plan(loaded)


def open_at(uri: str, *, create: bool = False) -> "Store":
    """Return the store at a directory or s3://...; made if `create`."""
    from bench.store import open_store

    return open_store(uri, create=create)


def exists(uri: str) -> bool:
    """Return whether a store is there."""
    from bench.store import store_exists

    return store_exists(uri)


def default_report(store: "Store", suffix: str = "html") -> Path:
    """Return where a store's report goes: beside its tables, or the working directory where they are remote."""
    name = f"report.{suffix}"
    return Path(name) if "://" in store.uri else Path(store.root) / name


def write_report(store: "Store", out: Path, sweep: str | None) -> Path:
    """Write the report of a store, or of one of its sweeps, in the format that `out` is named by, and return its path."""
    from analysis.report import write_report
    from bench.replay import audit

    return write_report(store, out, sweep, audit(store, sweep))
