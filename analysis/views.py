"""The views of a store's measurements: an embedding, with the generated and the real images that values are computed from.

Values of different views are never compared.
"""

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from bench.store.schema import KEYS, Table
from trainers.config.metrics import metrics, plain_name


def current(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements by the present definitions of the metrics."""
    known = metrics()
    parts = {version: str(version).split("/")[0] for version in measurements["version"].unique()}
    versions = measurements["version"].map(parts)
    by_name = {name: known[plain].version for name in measurements["metric"].unique() if (plain := plain_name(name)) in known}
    wanted = measurements["metric"].map(by_name).astype(object)
    present = (versions == wanted) | wanted.isna()
    return measurements if present.all() else measurements[present]


def names_of_views(measurements: pd.DataFrame) -> dict[str, str]:
    """Return what each view is called: its embedding, or the view itself if there are several in one embedding."""
    embeddings = {view: view.split("/")[0] for view in measurements["view"].unique().tolist()}
    number = Counter(embeddings.values())
    return {view: embedding if number[embedding] == 1 else view for view, embedding in embeddings.items()}


def in_views(rows: pd.DataFrame, table: Table, views: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows in each embedding once per view in it, with its name as `embedding`; the others as they are.

    Of those from different numbers of images a view has the ones whose number comes nearest to its own from below.
    """
    own = [(embedding, views[view], _number(number)) for view in views for embedding, _, number in [view.partition("/")]]
    rows = rows.merge(pd.DataFrame(own, columns=["embedding", "name", "own"]), on="embedding", how="left")
    rows = rows.assign(embedding=rows["name"].fillna(rows["embedding"]))
    images = "source_samples" if table == "distances" else "samples"
    number = rows[images].astype("float64")
    fewer = ~(number > rows["own"].astype("float64"))
    order = pd.DataFrame({"fewer": fewer, "number": number.where(fewer, -number)}).sort_values(["fewer", "number"])
    last = rows.loc[order.index].drop_duplicates([name for name in KEYS[table] if name != images], keep="last")
    return last.sort_index().drop(columns=["name", "own"]).reset_index(drop=True)


def _number(view: str) -> float:
    """Return the number of images in a view without its embedding; NaN if it has none."""
    number = view.split("/")[0]
    return float(number) if number.isdecimal() else float("nan")
