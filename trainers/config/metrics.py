"""What is known of each metric apart from how it is computed, one record per metric. Needs no torch.

The functions that compute them are in `trainers.evaluation.comparison.METRICS`; a plug-in's record has its own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from trainers.config import plugins


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of generated images, by which it is measured, compared and shown."""

    name: str
    """In the store, in sweep files and on the command line."""
    label: str
    """In the report."""
    better: Literal["lower", "higher"] | None = None
    """Which values are better; None where neither end is."""
    low: float = -math.inf
    """The least possible value; intervals are clipped to it."""
    high: float = math.inf
    """The greatest possible value."""
    last_rung_only: bool = False
    """Whether it is measured at a trial's last rung only, because it is costly."""
    variants: bool = False
    """Whether it is also measured as ``NAME_raw`` and ``NAME_selection``, on request (see `EvaluationConfig`)."""
    training_images: int = 0
    """Most training images with whose features (`Comparison.training`) it compares; 0: with none, so it is always measured."""
    between_domains: bool = False
    """Whether it is also a kind of distance between a source and a target; `better` is then nearer."""
    version: str = "1"
    """To be changed whenever the same images give another value; values of several versions are never compared."""
    compute: Callable[[Any], Any] | None = None
    """A plug-in's function from a `trainers.evaluation.comparison.Comparison` to an `Estimate`."""

    def __post_init__(self) -> None:
        if self.between_domains and self.better is None:
            raise ValueError(f"metric {self.name!r} is a distance, so `better` must be 'lower' or 'higher'")
        if self.training_images and (self.between_domains or self.variants):
            raise ValueError(f"metric {self.name!r} needs training images, which a distance and its variants do not have")

    @property
    def heading(self) -> str:
        """The label with an arrow towards better values."""
        return self.label if self.better is None else f"{self.label} {'↓' if self.better == 'lower' else '↑'}"

    @property
    def sign(self) -> int:
        """-1 where lower values are better, else 1."""
        return -1 if self.better == "lower" else 1


#: The built-in metrics, in the order in which they are shown.
BUILTIN = (
    Metric(name="fid", label="FID", better="lower", low=0.0, variants=True, between_domains=True),
    Metric(name="fid_infinity", label="FID∞", better="lower", last_rung_only=True),
    Metric(name="kid", label="KID", better="lower", variants=True, between_domains=True),
    Metric(name="iw", label="IW", better="higher", last_rung_only=True),
    Metric(name="precision", label="precision", better="higher", low=0.0, high=1.0, between_domains=True),
    Metric(name="recall", label="recall", better="higher", low=0.0, high=1.0, between_domains=True),
    Metric(name="density", label="density", better="higher", low=0.0, between_domains=True),
    Metric(name="coverage", label="coverage", better="higher", low=0.0, high=1.0, between_domains=True),
    Metric(name="diversity", label="diversity", low=0.0),
    Metric(name="intra_diversity", label="intra-cluster diversity", low=0.0, training_images=50),
    Metric(name="memorisation", label="memorisation", low=0.0, high=1.0, training_images=10_000),
)

#: End the name of a metric of the generator without its moving average, and of a metric on the images set apart for choices.
RAW, SELECTION = "_raw", "_selection"

#: Begins the names of values that describe the state of the training, and not the generator: they depend on no evaluation.
STATE = "ada_"

#: What a trial reports under its metrics' names or along with them: no metric can have these names.
_REPORTED = (
    "steps", "seconds", "evaluation_seconds", "images_per_second", "peak_memory_mib", "status", "error", "environment",
    "intra_fid",
)  # fmt: skip


@cache
def metrics() -> Mapping[str, Metric]:
    """Return every metric by name, the built-in ones first, in the order in which they are shown.

    Raises:
        UserError: a plug-in is not what it should be.
    """
    taken = [*_REPORTED, *(metric.name + suffix for metric in BUILTIN for suffix in ("", RAW, SELECTION))]
    added = plugins.load("transfergan.metrics", "a trainers.config.metrics.Metric with a `compute`", _name_of, taken)
    return {**{metric.name: metric for metric in BUILTIN}, **added}


def _name_of(plugin: Any) -> str | None:
    return plugin.name if isinstance(plugin, Metric) and plugin.compute is not None else None


def distances() -> tuple[Metric, ...]:
    """Return the metrics that are also distances between domains."""
    return tuple(metric for metric in metrics().values() if metric.between_domains)


def stopping_metrics() -> tuple[str, ...]:
    """Return the names by which a sweep can stop trials: metrics of every rung of which less is better.

    >>> stopping_metrics()
    ('fid', 'kid', 'fid_raw', 'kid_raw', 'fid_selection', 'kid_selection')
    """
    ranking = [metric for metric in metrics().values() if metric.better == "lower" and not metric.last_rung_only]
    variants = (metric.name + suffix for suffix in (RAW, SELECTION) for metric in ranking if metric.variants)
    return (*(metric.name for metric in ranking), *variants)


def plain_name(name: str) -> str:
    """Return the metric that a measured quantity is a variant of, or one class of: ``fid`` for ``fid_raw`` and ``fid/cat``."""
    return name.partition("/")[0].removesuffix(RAW).removesuffix(SELECTION)


def label(name: str) -> str:
    """Return what a measured quantity is called in the report, e.g. ``FID raw`` for ``fid_raw``."""
    plain = name.removesuffix(RAW).removesuffix(SELECTION)
    known = metrics().get(plain)
    return known.label + name[len(plain) :].replace("_", " ") if known else name.replace("_", " ")
