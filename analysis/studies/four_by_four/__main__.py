"""The command ``python -m analysis.studies.four_by_four``, which prints what the sweep says of the paper's claims."""

import argparse
import json
from pathlib import Path

import pandas as pd

from analysis.frames import records
from analysis.studies.four_by_four.claims import findings, source_effects
from analysis.studies.four_by_four.figure import draw
from analysis.studies.four_by_four.results import Results, from_store, kept
from bench.store import open_store

_EPILOG = """\
Examples:
  python -m analysis.studies.four_by_four                           the kept results
  python -m analysis.studies.four_by_four --store store --out mine  those of a run of the preset four-by-four
"""


def main() -> None:
    """Print the findings, and write results and figure on request."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.studies.four_by_four", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print what the sweep four-by-four says of the five claims of Wang et al. (2018).",
    )  # fmt: skip
    parser.add_argument("--store", help="take the results from this store instead of those that are kept")
    parser.add_argument("--sweep", default="four-by-four", help="name of the sweep in the store (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the results as CSV into this existing folder")
    parser.add_argument("--figure", type=Path, help="draw the gains into this SVG, PNG or PDF file; needs the package kaleido")
    parser.add_argument("--json", action="store_true", help="print the findings and the effects of the sources as JSON")
    arguments = parser.parse_args()
    results = kept() if arguments.store is None else from_store(open_store(arguments.store), arguments.sweep)
    if arguments.out is not None:
        results.write(arguments.out)
    if arguments.figure is not None:
        draw(results).write_image(arguments.figure)
    if arguments.json:
        print(json.dumps({"findings": _records(findings(results)), "sources": _records(source_effects(results))}))
    else:
        print("\n".join(tables(results)))


def tables(results: Results) -> list[str]:
    """Return the findings and the effects of the sources as lines of Markdown."""
    lines = [
        "| claim | what | estimate (95 % interval) | targets | p, Holm | verdict |",
        "| --: | :-- | :-- | :-- | --: | :-- |",
    ]
    for row in records(findings(results)):
        write = _ratio if row["unit"] == "log2" else _signed
        value, low, high = (write(row[name]) for name in ("value", "low", "high"))
        targets = ", ".join(f"{name} {write(number)}" for name, number in row["values"].items())
        estimate, p = f"{value} ({low} to {high})", f"{row['p_holm']:.2g}"
        lines.append(f"| {row['claim']} | {row['what']} | {estimate} | {targets} | {p} | {row['verdict']} |")
    lines += ["", "| source | gain relative to all (95 % interval) | FID of its own | diversity |", "| :-- | :-- | --: | --: |"]
    for row in records(source_effects(results)):
        value, low, high = (_ratio(row[name]) for name in ("gain", "low", "high"))
        lines.append(f"| {row['source']} | {value} ({low} to {high}) | {row['own_fid']:.2f} | {row['diversity']:.2f} |")
    return lines


def _ratio(log2: float) -> str:
    return f"×{2**log2:.2f}"


def _signed(number: float) -> str:
    return f"{number:+.2f}"


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    records: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return records


if __name__ == "__main__":
    main()
