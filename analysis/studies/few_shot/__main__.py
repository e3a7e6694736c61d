"""The command ``python -m analysis.studies.few_shot``, which prints the tables of the study."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from analysis.comparison.cells import SCRATCH
from analysis.frames import records
from analysis.studies.few_shot.figure import draw
from analysis.studies.few_shot.ranking import View, compared, pairs, views
from analysis.studies.few_shot.results import Results, from_store, kept
from analysis.words import predictor
from bench.store import open_store
from trainers.common.counts import are

_EPILOG = """\
Examples:
  python -m analysis.studies.few_shot                           the kept results
  python -m analysis.studies.few_shot --store store --out mine  those of a run of the three sweep files
"""


def main() -> None:
    """Print the tables, and write results and figure on request."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.studies.few_shot", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rank the methods of the study few-shot, and judge the predictors of the gain.",
    )  # fmt: skip
    parser.add_argument("--store", help="take the results from this store instead of those that are kept")
    parser.add_argument("--out", type=Path, help="write the results as CSV into this existing folder")
    parser.add_argument("--figure", type=Path, help="draw the gains into this SVG, PNG or PDF file; needs the package kaleido")
    parser.add_argument("--json", action="store_true", help="print all comparisons of two methods, and the predictors, as JSON")
    arguments = parser.parse_args()
    results = kept() if arguments.store is None else from_store(open_store(arguments.store))
    if arguments.out is not None:
        results.write(arguments.out)
    if arguments.figure is not None:
        draw(results).write_image(arguments.figure)
    if arguments.json:
        of_views = {view.name: _records(pairs(view, len(family))) for family in views(results) for view in family}
        print(json.dumps({"pairs": of_views, "predictors": _records(results.predictors)}))
    else:
        print("\n".join(tables(results)))


def tables(results: Results) -> list[str]:
    """Return the tables as lines of Markdown: all methods, parts of the grid, augmentations, predictors."""
    (whole,), parts, (augmented,) = views(results)
    return [*_ranking(whole), "", *_parts(parts), "", *_ranking(augmented, f"{SCRATCH} + none"), "", *_predictors(results)]


def _ranking(view: View, scratch: str = SCRATCH) -> Iterator[str]:
    """Yield the table of the methods, compared with scratch and with the first."""
    yield "|  | method | FID | gain over scratch (95 % interval) | p | FID over the first's (95 % interval) | p |"
    yield "| --: | :-- | --: | :-- | --: | :-- | --: |"
    with_scratch = {row["method"]: row for row in records(compared(view, scratch))}
    for rank, row in enumerate(records(compared(view)), 1):
        gain = with_scratch[row["method"]]
        flipped = {**gain, "ratio": _minus(gain["ratio"]), "low": _minus(gain["high"]), "high": _minus(gain["low"])}
        fid = "lost" if row["fid"] is None else f"{row['fid']:.2f}"
        name = f"`{row['method']}`".replace(" + ", "` with `")
        yield f"| {rank} | {name} | {fid} | {_ratio(flipped)} | {_p(flipped)} | {_ratio(row)} | {_p(row)} |"
    every = pairs(view)
    apart = int((every["outcome"] == "told apart").sum())
    yield ""
    yield f"Of {len(every)} pairs of methods, {are(apart)} told apart."


def _parts(family: list[View]) -> Iterator[str]:
    """Yield the table of the gains over scratch in parts of the grid; in bold those told apart."""
    tables = [{row["method"]: row for row in records(compared(view, SCRATCH, len(family)))} for view in family]
    yield "| method | " + " | ".join(view.name for view in family) + " |"
    yield "| :-- |" + " --: |" * len(family)
    for method in records(compared(family[0])):
        cells = []
        for table in tables:
            row = table[method["method"]]
            text = "–" if row["ratio"] is None else f"×{2 ** -row['ratio']:.2f}"
            cells.append(f"**{text}**" if row["outcome"] == "told apart" else text)
        yield f"| `{method['method']}` | " + " | ".join(cells) + " |"
    yield ""
    for view in family:
        every = pairs(view, len(family))
        first, apart = compared(view)["method"][0], int((every["outcome"] == "told apart").sum())
        of_first = every[every["first"] == first]
        left = int((of_first["outcome"] != "told apart").sum())
        others = f"not told apart from {left} of {len(of_first)} others"
        yield f"- {view.name}: `{first}` is first, {others}; of {len(every)} pairs {are(apart)} told apart."


def _predictors(results: Results) -> Iterator[str]:
    """Yield the table of the predictors of the gain."""
    yield "| predictor | mean rank correlation (95 % interval) | p | outcome | regret of nearest | of random |"
    yield "| :-- | :-- | --: | :-- | --: | --: |"
    for row in records(results.predictors):
        rho = f"{row['rho']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
        regrets = " | ".join("–" if row[key] is None else f"×{2 ** row[key]:.2f}" for key in ("regret", "chance"))
        yield f"| {predictor(row)} | {rho} | {_p(row)} | {row['outcome']} | {regrets} |"


def _ratio(row: dict[str, object]) -> str:
    numbers = [row[name] for name in ("ratio", "low", "high")]
    if any(not isinstance(number, float) for number in numbers):
        return "–"
    value, low, high = (f"×{2**number:.2f}" for number in numbers if isinstance(number, float))
    return f"{value} ({low} to {high})"


def _minus(number: float | None) -> float | None:
    return None if number is None else -number


def _p(row: dict[str, object]) -> str:
    return f"{row['p']:.2g}" if isinstance(row["p"], float) else "–"


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    records: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return records


if __name__ == "__main__":
    main()
