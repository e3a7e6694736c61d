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
    about: str = ""
    """What it measures, in one sentence."""
    formula: str = ""
    """Its definition: x are features of real images, y of generated ones, t of training images."""
    paper: str = ""
    """Where it was proposed."""
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
    """To be changed whenever the same images give another value, beyond rounding, in which processors differ too; values of
    several versions are never compared."""
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
    Metric(
        name="fid", label="FID", better="lower", low=0.0, variants=True, between_domains=True,
        about="the distance between two normal distributions with the means and covariances of the features",
        formula="|mean x - mean y|^2 + tr(Cx + Cy - 2 (Cx Cy)^(1/2)), with the unbiased covariances Cx and Cy",
        paper="Heusel et al. 2017",
    ),
    Metric(
        name="fid_infinity", label="FID∞", better="lower", last_rung_only=True,
        about="FID extrapolated to infinitely many generated images, which removes its bias from their number",
        formula="FID at 1/n = 0 of a line through FID at n = N, N/2, N/3, N/4", paper="Chong & Forsyth 2020",
    ),
    Metric(
        name="kid", label="KID", better="lower", variants=True, between_domains=True,
        about="the squared maximum mean discrepancy between the features, without bias at any number of images",
        formula="mean k(x, x') + mean k(y, y') - 2 mean k(x, y), with k(a, b) = (a.b / D + 1)^3 over pairs of different images",
        paper="Binkowski et al. 2018",
    ),
    Metric(
        name="iw", label="IW", better="higher", last_rung_only=True,
        about="minus the Wasserstein distance that an independent critic finds between the images",
        formula="mean D(y) - mean D(x), for a new critic D trained to minimise it on other images",
        paper="Danihelka et al. 2017",
    ),
    Metric(
        name="precision", label="precision", better="higher", low=0.0, high=1.0, between_domains=True,
        about="the share of generated images near real ones",
        formula="share of y in the ball of some x; the ball of x reaches to its 5th nearest neighbour among all x",
        paper="Kynkäänniemi et al. 2019",
    ),
    Metric(
        name="recall", label="recall", better="higher", low=0.0, high=1.0, between_domains=True,
        about="the share of real images near generated ones",
        formula="share of x in the ball of some y; the ball of y reaches to its 5th nearest neighbour among all y",
        paper="Kynkäänniemi et al. 2019",
    ),
    Metric(
        name="density", label="density", better="higher", low=0.0, between_domains=True,
        about="how many balls of real images a generated one lies in, a variant of precision that outliers change less",
        formula="mean over y of the number of balls of x that contain y, over 5", paper="Naeem et al. 2020",
    ),
    Metric(
        name="coverage", label="coverage", better="higher", low=0.0, high=1.0, between_domains=True,
        about="the share of real images with a generated one near, a variant of recall that outliers change less",
        formula="share of x whose ball contains some y", paper="Naeem et al. 2020",
    ),
    Metric(
        name="diversity", label="diversity", low=0.0,
        about="the spread of the generated images relative to the real ones; near 0 the generator has collapsed",
        formula="spread(y) / spread(x), with spread = (2 tr C)^(1/2), the root mean squared distance of two features",
    ),
    Metric(
        name="intra_diversity", label="intra-cluster diversity", low=0.0, training_images=50,
        about="the spread of generated images nearest to the same training image; near 0 they are copies of it",
        formula="mean over t of spread(y nearest to t), over spread(x)",
        paper="Ojha et al. 2021, in the embedding instead of LPIPS",
    ),
    Metric(
        name="memorisation", label="memorisation", low=0.0, high=1.0, training_images=10_000,
        about="the probability that a generated image is nearer to a training image than a new real image is; 1: copies",
        formula="P[min over t |y - t| < min over t |x - t|], equal distances counted half", paper="Meehan et al. 2020",
    ),
)  # fmt: skip

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
