"""The kept results of the sweep, and how they are taken from a store."""

import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd

from analysis.labels import label_domains
from bench.store import Store

#: Names of the files that `Results.write` writes, and their columns.
CURVES = "curves.csv"  # kind, source, target, size, strategy, seed, training, step, fid, standard_error
DISTANCES = "distances.csv"  # source, target, training, kind, value, low, high
DOMAINS = "domains.csv"  # domain, figure, value, low, high


@dataclass(frozen=True)
class Results:
    """The results of the sweep.

    Attributes:
        curves: FID by trial and step. `training` is the seed of the pre-training of a source, or of the one that an adaptation
            starts from; missing for scratch. A pretrain trial has its domain as `source` and no `target`.
        distances: from a source to a target, of the source's real images (`training` is missing) or of a generator's samples.
        domains: figures of the reference images, such as their diversity and the FID of real images (`fid_floor`).
    """

    curves: pd.DataFrame
    distances: pd.DataFrame
    domains: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write three CSV files, with five significant digits, into a folder."""
        for name, frame in ((CURVES, self.curves), (DISTANCES, self.distances), (DOMAINS, self.domains)):
            frame.to_csv(folder / name, index=False, float_format="%.5g")


def kept() -> Results:
    """Return the results that are kept with the program."""
    folder = files("analysis.studies.four_by_four")
    return Results(*(pd.read_csv(io.StringIO(folder.joinpath(name).read_text())) for name in (CURVES, DISTANCES, DOMAINS)))


def from_store(store: Store, sweep: str) -> Results:
    """Return the results of a sweep in a store; domains go by short names without folders."""
    trials, measurements, distances, domains = (
        store.read(table) for table in ("trials", "measurements", "distances", "domains")
    )
    trials = trials[trials["sweep"] == sweep]
    names = label_domains(sorted({*trials["source"].dropna(), *trials["target"].dropna()}))
    seed_of = dict(zip(trials["key"], trials["seed"], strict=True))
    is_source = trials["kind"] == "pretrain"
    trials = trials.assign(
        source=trials["source"].map(names),
        target=trials["target"].map(names),
        training=trials["parent"].map(seed_of).where(~is_source, trials["seed"]).astype("Int64"),
    )
    fid = measurements[measurements["metric"] == "fid"].rename(columns={"value": "fid"})
    columns = ["kind", "source", "target", "size", "strategy", "seed", "training"]
    curves = trials[["key", *columns]].merge(fid, left_on="key", right_on="trial")[[*columns, "step", "fid", "standard_error"]]
    distances = distances[distances["source"].isin(list(names)) & distances["target"].isin(list(names))]
    distances = distances.assign(
        source=distances["source"].map(names), target=distances["target"].map(names),
        training=distances["trial"].map(seed_of).astype("Int64"),
    )[["source", "target", "training", "kind", "value", "low", "high"]]  # fmt: skip
    figures = domains[domains["domain"].isin(list(names))]
    figures = figures.assign(domain=figures["domain"].map(names))[["domain", "figure", "value", "low", "high"]]
    return Results(
        curves.sort_values([*columns, "step"], ignore_index=True),
        distances.sort_values(["source", "target", "training", "kind"], ignore_index=True),
        figures.sort_values(["domain", "figure"], ignore_index=True),
    )
