"""The regret of following `transfergan recommend` on a target that the store has not seen, and of simpler rules."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.frames import Frames, records
from analysis.prediction.evidence import at_size, evidence
from analysis.prediction.recommender import observed, ranked, recommended_claim
from analysis.prediction.rules import CHOOSERS
from tests.benchmarks.truth.claims_check import Tally, tally
from tests.benchmarks.truth.worlds import Sweep


@dataclass(frozen=True)
class Advice:
    """The true regret (log2) of each rule on the unseen target, and the tally of the claim about the first recommendation."""

    regrets: Mapping[str, float]
    claim: Tally


def advised(sweep: Sweep, frames: Frames) -> Advice:
    """Return what the rules of `CHOOSERS` cost on the unseen target, and compare the recommendation's claim with the truth."""
    layout, target = sweep.world.layout, sweep.targets[-1]
    found = at_size(evidence(frames), layout.sizes[0])
    points = observed(found.gains, frames.trials)
    distances = dict(zip(layout.sources, np.exp2(sweep.distances[-1]).tolist(), strict=True))
    ranking = ranked(points, distances)
    first, claim = records(ranking.head(1))[0], records(recommended_claim(ranking))[0]
    true = {(s, source): sweep.gain(target, s, source) for s in layout.strategies for source in layout.sources}
    means = points.groupby("strategy")["gain"].mean()
    strategy, pairs = str(means.idxmax()), points.groupby(["strategy", "source"])["gain"].mean()
    images = points.groupby("source")["images"].max()
    gains = {
        "recommended": true[first["strategy"], first["source"]],
        "average": true[pairs.idxmax()],
        "nearest": true[strategy, min(distances, key=lambda name: distances[name])],
        "largest": true[strategy, str(images.idxmax())],
        "random": float(np.mean([true[strategy, source] for source in layout.sources])),
    }
    assert gains.keys() == CHOOSERS.keys()
    regrets = {name: max(true.values()) - gain for name, gain in gains.items()}
    return Advice(regrets, tally(sweep, claim["kind"], [{**claim, "truth": gains["recommended"]}]))
