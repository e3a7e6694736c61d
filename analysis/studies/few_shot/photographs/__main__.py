"""The command ``python -m analysis.studies.few_shot.photographs``, which prints the table of the study of photographs."""

import argparse
import io
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison.cells import Difference
from analysis.comparison.strategies import tukey
from analysis.frames import load, records
from bench.store import Store, open_store

#: The sweep of each family of networks: style.yaml, fast.yaml, resnet.yaml.
SWEEPS = {"style": "photographs-style", "fast": "photographs-fast", "resnet": "photographs-resnet"}

#: The names of the two embeddings by the identities of their files.
EMBEDDINGS = {"bca399b1aaca": "mobilenet_v2", "f34d72856531": "cifar_resnet56"}

#: The file of kept results: `family`, `strategy`, `seed`, `steps`, `embedding`, `fid`, `kid`.
KEPT = "results.csv"


def main() -> None:
    """Print the table, and write the results on request."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.studies.few_shot.photographs",
        description="Compare four ways to train on 100 photographs in equal time.",
    )
    parser.add_argument("--store", help="take the results from this store instead of those that are kept")
    parser.add_argument("--out", type=Path, help="write the results as CSV into this existing folder")
    arguments = parser.parse_args()
    results = kept() if arguments.store is None else from_store(open_store(arguments.store))
    if arguments.out is not None:
        results.to_csv(arguments.out / KEPT, index=False, float_format="%.5g")
    print("\n".join(table(results)))


def kept() -> pd.DataFrame:
    """Return the results that are kept with the program."""
    text = files("analysis.studies.few_shot.photographs").joinpath(KEPT).read_text()
    return pd.read_csv(io.StringIO(text))


def from_store(store: Store) -> pd.DataFrame:
    """Return the results of the three sweeps at their last step, a row per trial and embedding."""
    parts = []
    for family, sweep in SWEEPS.items():
        frames = load(store, sweep)
        values = frames.curves[(frames.curves["kind"] == "adapt") & (frames.curves["step"] == frames.curves["budget"])]
        values = values[values["metric"].isin(["fid", "kid"])]
        identities = values["embedding"].str.removeprefix("custom:").str.partition("/")[0]
        values = values.assign(embedding=identities.map(EMBEDDINGS).fillna(identities))
        keys = ["trial", "strategy", "seed", "embedding"]
        rows = values.pivot_table(index=keys, columns="metric", values="value").reset_index()
        rows["steps"] = rows["trial"].map(frames.trials.set_index("key")["steps"])
        parts.append(rows.assign(family=family))
    columns = ["family", "strategy", "seed", "steps", "embedding", "fid", "kid"]
    return pd.concat(parts)[columns].sort_values(["embedding", "family", "strategy", "seed"], ignore_index=True)


def table(results: pd.DataFrame) -> list[str]:
    """Return the values of each embedding as lines of Markdown, the lowest FID first, and the ratios to the first.

    The variance of log2 FID between seeds is pooled over the methods. Intervals and p-values are Tukey's, corrected for the
    number of embeddings.
    """
    lines = [
        "| embedding | method | steps | FID, by seed | KID, by seed | FID over the first's (95 % interval) | p |",
        "| :-- | :-- | --: | --: | --: | :-- | --: |",
    ]
    for embedding, rows in results.groupby("embedding"):
        rows = rows.assign(method=rows["family"] + " " + rows["strategy"], log_fid=np.log2(rows["fid"]))
        groups = rows.groupby("method")["log_fid"]
        means, counts = groups.mean().sort_values(), groups.count()
        freedom = int((counts - 1).sum())
        variance = float((groups.var() * (counts - 1)).sum()) / freedom
        for method in means.index:
            of = rows[rows["method"] == method].sort_values("seed")
            error = float(np.sqrt(variance * (1 / counts[method] + 1 / counts[means.index[0]])))
            test = tukey(
                Difference(float(means[method] - means.iloc[0]), error, freedom), len(means), results["embedding"].nunique()
            )
            ratio = " | "
            if method != means.index[0]:
                value, low, high = (f"×{2 ** test[name]:.2f}" for name in ("behind", "low", "high"))
                ratio = f"{value} ({low} to {high}) | {test['p']:.2g}"
            fid, kid = (", ".join(f"{row[key]:.3g}" for row in records(of)) for key in ("fid", "kid"))
            lines.append(f"| {embedding} | {method} | {of['steps'].iloc[0]:.0f} | {fid} | {kid} | {ratio} |")
    return lines


if __name__ == "__main__":
    main()
