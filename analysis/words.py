"""Wording of methods, numbers, counts and ratios in the report."""

import math
from typing import Any

import pandas as pd

from trainers.config.metrics import label
from trainers.config.predictors import PREDICTORS

_PHRASES = {  # other strategies appear by name
    "scratch": "training from scratch",
    "finetune": "fine-tuning both networks",
    "finetune-g": "fine-tuning with only the generator pre-trained",
    "finetune-d": "fine-tuning with only the critic pre-trained",
}

Row = dict[str, Any]

#: Factors beyond this one, or its inverse, say no more than that.
LARGEST = 1000


def method(row: Row) -> str:
    """Return a strategy and its source in words, for a sentence: ``fine-tuning (rate 0.1) from faces``."""
    plain, _, text = str(row["strategy"]).removesuffix("]").partition("[")
    options = dict(option.split("=") for option in text.split(",") if option)
    kind = f"{options.pop('from')} " if "from" in options else ""
    others = ", ".join(f"{name} {value}" for name, value in options.items())
    name = _PHRASES.get(plain, plain) + (f" ({others})" if others else "")
    return f"{name} from {kind}{row['source_label']}" if row["source_label"] else name


def start(row: Row) -> str:
    """Return a strategy and its source by name, for a table."""
    return f"{row['strategy']} from {row['source_label']}" if row["source_label"] else str(row["strategy"])


def signed(rho: float) -> str:
    """Return a correlation with its sign; a negative one has U+2212 (minus)."""
    return f"{rho:+.2f}".replace("-", "−")


def times(log2: float) -> str:
    """Return a change of log2 gain as a factor, e.g. ``×1.07``; beyond a thousand, either way, only that it is."""
    if abs(log2) > math.log2(LARGEST):
        return f"over ×{LARGEST:,}" if log2 > 0 else f"below ×{1 / LARGEST:g}"
    return f"×{2**log2:.2f}"


def predictor(row: Row) -> str:
    """Return the name of a row of `compare_predictors`."""
    if row["kind"] in PREDICTORS:
        return PREDICTORS[row["kind"]].label
    return f"{label(row['kind'])} of {'the real images' if row['via'] == 'real' else 'generated images'}"


def number(value: float) -> str:
    """Return a positive number: whole from 1,000, one decimal place from 1, else three significant digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.3g}"


def span(counts: "pd.Series[int]") -> str:
    """Return a range of counts, e.g. ``1,000`` or ``50 to 500``."""
    counts = counts.dropna()
    if len(counts) == 0:
        return "unknown"
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def against(splits: "pd.Series[str]") -> str:
    """Return a phrase for trials that are measured against the train split (column `split`); "" if all have held-out images."""
    of_train = splits == "train"
    return f" ({'' if of_train.all() else 'in part '}against the train split)" if of_train.any() else ""


def multiple(value: float) -> str:
    """Return a multiplier, e.g. ``4.4×``."""
    return f"{value:.0f}×" if value >= 99.5 else f"{value:.1f}×" if value >= 0.95 else f"{value:.2f}×"


def saved(row: Row) -> str:
    """Return the multiplier of a row of `data_multiplier` or `speed_up`, with its bound."""
    return f"{row['bound']} {multiple(row['multiplier'])}" if row["bound"] else multiple(row["multiplier"])


def saved_interval(row: Row) -> str:
    """Return the interval of a row of `data_multiplier` or `speed_up`, e.g. ``3.1× to 6.0×``; empty if unknown."""
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return ""
    if low == 0 and high == float("inf"):
        return "anything"
    if high == float("inf"):
        return f"at least {multiple(low)}"
    return f"at most {multiple(high)}" if low == 0 else f"{multiple(low)} to {multiple(high)}"


def chance(p: float) -> str:
    """Return a p-value for a sentence, e.g. ``p = 0.03``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def probability(p: float | None) -> str:
    """Return a p-value for a table; a dash if None."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
