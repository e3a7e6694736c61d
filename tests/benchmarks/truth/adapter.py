"""The claims of a report before `Analysis.claims`: what its sentences conclude from the tables."""

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims import COLUMNS, LEVEL, Outcome
from analysis.frames import Frames, records
from analysis.statistics import Analysis
from analysis.transfer import transferability as tf
from analysis.transfer.strategies import BEHIND, UNTESTED
from analysis.words import start

_NONE: dict[str, Any] = dict.fromkeys(COLUMNS) | dict.fromkeys(("value", "low", "high", "p", "step"), math.nan)


def claims_of(analysis: Analysis, frames: Frames) -> pd.DataFrame:
    rows = [*_scratch(analysis), *_best(analysis), *_strategy(analysis), *_source(analysis), *_predictor(analysis)]
    rows += [*_driver(analysis), *_knob(analysis), *_saved(analysis)]
    return pd.DataFrame([{**_NONE, "simultaneous": False, **row} for row in rows], columns=COLUMNS)


def _outcome(apart: bool, testable: bool = True) -> str:
    return (Outcome.APART if apart else Outcome.NOT_APART if testable else Outcome.UNTESTABLE).value


def _scratch(analysis):
    for row in records(analysis.significance):
        p = math.nan if row["p_holm"] is None else row["p_holm"]
        yield {
            "kind": "scratch",
            "cell": row["cell"],
            "subject": start(row),
            "versus": "scratch",
            "value": row["gain"],
            "outcome": _outcome(p < LEVEL, not math.isnan(p)),
            "low": row["low"],
            "high": row["high"],
            "step": row["step"],
            "p": p,
        }


def _best(analysis):
    for cell, group in analysis.ranked.groupby("cell", sort=False):
        methods = records(group)
        transfers = [row for row in methods if row["strategy"] != "scratch"]
        scratch = [row for row in methods if row["strategy"] == "scratch"]
        if not transfers or not scratch:
            continue
        best, scratch = transfers[0], scratch[0]
        step = min(best["step"], scratch["step"])
        curves = analysis.curves[(analysis.curves["cell"] == cell) & (analysis.curves["step"] == step)]
        sources = curves["source"].fillna("")
        values = [
            curves.loc[(curves["strategy"] == r["strategy"]) & (sources == (r["source"] or "")), "value"].mean()
            for r in (best, scratch)
        ]
        gain = float(np.log2(values[1] / values[0]))
        yield {
            "kind": "best",
            "cell": cell,
            "subject": start(best),
            "versus": "scratch",
            "outcome": _outcome(gain > 0),
            "value": gain,
            "step": step,
        }


def _strategy(analysis):
    first = None
    for row in records(analysis.strategies):
        if row["rank"] == 1:
            first = row
            continue
        label = start({**row, "source_label": None if row["strategy"] == "scratch" else row["source_label"]})
        of_first = start({**first, "source_label": None if first["strategy"] == "scratch" else first["source_label"]})
        yield {
            "kind": "strategy",
            "cell": row["cell"],
            "subject": of_first,
            "versus": label,
            "value": row["behind"],
            "low": row["low"],
            "high": row["high"],
            "step": row["step"],
            "simultaneous": True,
            "outcome": _outcome(row["verdict"] == BEHIND, row["verdict"] != UNTESTED),
        }


def _source(analysis):
    rows = records(analysis.sources[analysis.sources["targets"] > 1])
    if not rows:
        return
    best = max(rows, key=lambda row: float(row["gain"]))
    for row in rows:
        if row["strategy"] == best["strategy"] and row is not best:
            yield {
                "kind": "source",
                "subject": start(best),
                "versus": start(row),
                "value": best["gain"] - row["gain"],
                "outcome": _outcome(row["high"] < best["low"]),
            }


def _predictor(analysis):
    for row in records(analysis.predictors):
        p = math.nan if row["p_holm"] is None else row["p_holm"]
        yield {
            "kind": "predictor",
            "subject": f"{row['kind']} {row['via']}",
            "value": row["rho"],
            "low": row["interval_low"],
            "high": row["interval_high"],
            "p": p,
            "outcome": _outcome(p < LEVEL),
        }


def _driver(analysis):
    for row in records(analysis.drivers):
        yield {
            "kind": "driver",
            "subject": row["covariate"],
            "value": row["value"],
            "low": row["low"],
            "high": row["high"],
            "p": row["p_holm"],
            "outcome": _outcome(row["p_holm"] < LEVEL),
        }


def _knob(analysis):
    for row in records(analysis.knobs):
        yield {
            "kind": "knob",
            "cell": row["cell"],
            "subject": row["effect"],
            "value": row["value"],
            "low": row["low"],
            "high": row["high"],
            "step": row["step"],
            "outcome": _outcome(row["low"] > 0 or row["high"] < 0),
        }


def _saved(analysis):
    best = tf.best_per_cell(analysis.ranked[analysis.ranked["strategy"] != "scratch"])
    for kind, table, on in (
        ("multiplier", analysis.multipliers, ["family", "size", "strategy", "source"]),
        ("speed_up", analysis.speed_ups, ["cell", "strategy", "source"]),
    ):
        columns = [*on, "multiplier", "bound", "low", "high", "step"]
        merged = best[[*dict.fromkeys([*on, "cell", "source_label"])]].merge(table[columns], on=on)
        for row in records(merged):
            known = row["low"] is not None
            with np.errstate(divide="ignore"):
                low, high = (float(np.log2(row[end])) if known else math.nan for end in ("low", "high"))
            yield {
                "kind": kind,
                "cell": row["cell"],
                "subject": start(row),
                "value": math.log2(row["multiplier"]),
                "low": low,
                "high": high,
                "step": row["step"] if kind == "multiplier" else math.nan,
                "outcome": _outcome(low > 0 or high < 0, known),
            }
