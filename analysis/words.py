"""How the page words things: methods, numbers, counts and ratios."""

from typing import Any

import pandas as pd

from trainers.config.metrics import label

_PHRASES = {  # other strategies are called by their names
    "scratch": "training from scratch",
    "finetune": "fine-tuning both networks",
    "finetune-g": "fine-tuning with only the generator pre-trained",
    "finetune-d": "fine-tuning with only the critic pre-trained",
}


Row = dict[str, Any]


def method(row: Row) -> str:
    """Name a strategy and its source, for a sentence."""
    plain, _, option = str(row["strategy"]).partition("[from=")
    name = _PHRASES.get(plain, plain)
    kind = f"{option.removesuffix(']')} " if option else ""
    return f"{name} from {kind}{row['source_label']}" if row["source_label"] else name


def start(row: Row) -> str:
    """Name a strategy and its source, for a table: by its own name."""
    return f"{row['strategy']} from {row['source_label']}" if row["source_label"] else str(row["strategy"])


def signed(rho: float) -> str:
    """Return a correlation with its sign, a true minus."""
    return f"{rho:+.2f}".replace("-", "−")


def times(log2: float) -> str:
    """Return a change of log2 gain as a factor, e.g. ``×1.07``."""
    return f"×{2**log2:.2f}"


def predictor(row: Row) -> str:
    """Return what a row of `predictors` is called."""
    return f"{label(row['kind'])} of {'the real images' if row['via'] == 'real' else 'generated images'}"


def as_high(higher: float, lower: float) -> str:
    """Return how many times as high one FID is as another, in words."""
    return f"{higher / lower:.1f} times as high" if higher >= lower else f"{lower / higher:.1f} times lower"


def number(value: float) -> str:
    """Return a positive number with as many digits as a reader needs."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.3g}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun in the right number."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def span(counts: "pd.Series[int]") -> str:
    """Return a range of counts, e.g. ``1,000`` or ``50 to 500``."""
    known = counts.dropna()
    if len(known) == 0:
        return "unknown"
    low, high = int(known.min()), int(known.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def multiple(value: float) -> str:
    """Return a multiplier, e.g. ``4.4×``."""
    return f"{value:.0f}×" if value >= 99.5 else f"{value:.1f}×" if value >= 0.95 else f"{value:.2f}×"


def saved(row: Row) -> str:
    """Return the multiplier of a row of `savings`, with its bound."""
    return f"{row['bound']} {multiple(row['multiplier'])}" if row["bound"] else multiple(row["multiplier"])


def saved_interval(row: Row) -> str:
    """Return the interval of a row of `savings`, e.g. ``3.1× to 6.0×``; empty where seeds tell of none."""
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return ""
    if low == 0 and high == float("inf"):
        return "anything"
    if high == float("inf"):
        return f"at least {multiple(low)}"
    return f"at most {multiple(high)}" if low == 0 else f"{multiple(low)} to {multiple(high)}"


def chance(p: float) -> str:
    """Return a p-value in words, e.g. ``p = 0.03``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def probability(p: float | None) -> str:
    """Return a p-value as a table has it."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
