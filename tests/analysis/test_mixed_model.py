"""The mixed model against published fits, closed forms and simulated sweeps with a known truth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.frames import load
from analysis.prediction.mixed_model import claims, covariate_effects, fit
from analysis.report.sentences.summary import by_question
from analysis.statistics import analyse
from tests.support.endurance import repeats
from tests.support.synthetic import EMBEDDING, build, uniform

# Davies & Goldsmith's dyestuff yields, six batches of five; the fit is the one in lme4's manual (Bates et al. 2015).
DYESTUFF = [
    [1545, 1440, 1440, 1520, 1580], [1540, 1555, 1490, 1560, 1495], [1595, 1550, 1605, 1510, 1560],
    [1445, 1440, 1595, 1465, 1545], [1595, 1630, 1515, 1635, 1625], [1520, 1455, 1450, 1480, 1445],
]  # fmt: skip


def test_a_published_fit():
    values, errors, variances = fit(np.ravel(DYESTUFF).astype(float), np.ones((30, 1)), [np.repeat(np.arange(6), 5)])
    assert values == pytest.approx([1527.5])
    assert errors == pytest.approx([19.38], abs=0.01)
    assert variances == pytest.approx([1764.05, 2451.25], rel=1e-4)


def test_balanced_crossed_effects_are_those_of_the_analysis_of_variance():
    random = np.random.default_rng(0)
    rows, columns = 8, 6
    y = 2 * random.normal(size=(rows, 1)) + random.normal(size=(1, columns)) + 0.5 * random.normal(size=(rows, columns))
    groups = [np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)]
    values, _, variances = fit(y.ravel(), np.ones((y.size, 1)), groups)
    residual = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    noise = (residual**2).sum() / ((rows - 1) * (columns - 1))
    expected = [y.mean(axis=1).var(ddof=1) - noise / columns, y.mean(axis=0).var(ddof=1) - noise / rows, noise]
    assert values == pytest.approx([y.mean()])
    assert variances == pytest.approx(expected, rel=1e-3)


def test_without_variance_between_groups_it_is_least_squares():
    x = np.tile(np.arange(4.0), 3)
    y = 3 + 2 * x + np.tile([0.1, -0.1, -0.1, 0.1], 3)  # the same in every group
    values, _, variances = fit(y, np.column_stack([np.ones(12), x]), [np.repeat(np.arange(3), 4)])
    assert values == pytest.approx(np.polyfit(x, y, 1)[::-1])
    assert variances[0] == pytest.approx(0, abs=1e-6)


def sweep(
    random: np.random.Generator, truth: dict[str, float], sources: int = 8, targets: int = 4, of_source: float = 0.3
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return gains, domain statistics and trials simulated from `truth`, the gain per doubling of each covariate."""
    spacing, diversity = 2 ** random.normal(size=sources), 2 ** random.normal(size=sources)
    amount = (1000 * 2 ** random.normal(size=sources)).astype(int)
    own = 10 * 2 ** random.normal(size=sources)
    source_effects = of_source * random.normal(size=sources)
    rows = []
    for target, hard in enumerate(random.normal(size=targets)):
        for source in range(sources):
            distance = 50 * 2 ** random.normal()
            gain = hard + source_effects[source] + 0.2 * random.normal() - truth["distance"] * np.log2(distance)
            gain += truth["diversity"] * np.log2(diversity[source]) - truth["density"] * np.log2(spacing[source])
            gain += truth["amount"] * np.log2(amount[source]) - truth["training"] * np.log2(own[source])
            ends = {"source": f"s{source}", "target": f"t{target}", "resolution": 8, "embedding": "e", "parent": f"p{source}"}
            rows.append(
                {
                    **ends,
                    "strategy": "finetune",
                    "at": "final",
                    "step": 10,
                    "cell": f"c{target}",
                    "gain": gain,
                    "distance": distance,
                    "own_fid": own[source],
                }
            )
    figures = [
        {"domain": f"s{k}", "resolution": 8, "embedding": "e", "figure": figure, "value": values[k]}
        for figure, values in (("spacing", spacing), ("diversity", diversity)) for k in range(sources)
    ]  # fmt: skip
    trials = pd.DataFrame({"key": [f"p{k}" for k in range(sources)], "kind": "pretrain", "size": amount})
    return pd.DataFrame(rows), pd.DataFrame(figures), trials


TRUTH = {"distance": 0.3, "density": 0.0, "diversity": 0.5, "amount": 0.0, "training": 0.3}


def test_simulated_effects_are_recovered():
    result = covariate_effects(*sweep(np.random.default_rng(0), TRUTH, sources=40, targets=6)).set_index("covariate")
    assert list(result.index) == list(TRUTH)
    for name, value in TRUTH.items():
        assert result["value"][name] == pytest.approx(value, abs=0.15)
    assert result["p"]["distance"] < 0.01 > result["p"]["diversity"]
    assert set(result["outcome"][["density", "amount"]]) == {Outcome.NOT_APART}
    assert result["p"]["training"] < 0.01
    assert result[["points", "targets", "sources"]].iloc[0].tolist() == [240, 6, 40]


def test_with_few_sources_only_distance_and_training_are_fitted_and_with_one_nothing():
    few = [covariate_effects(*sweep(np.random.default_rng(1), TRUTH, sources=count)) for count in (4, 2)]
    assert [table["covariate"].tolist() for table in few] == [["distance", "training"], ["distance"]]
    assert len(covariate_effects(*sweep(np.random.default_rng(1), TRUTH, sources=1))) == 0
    gains, figures, trials = sweep(np.random.default_rng(1), TRUTH, sources=6)
    assert covariate_effects(gains, figures.iloc[:0], trials)["covariate"].tolist() == ["distance", "amount", "training"]
    assert len(covariate_effects(gains.iloc[:0], figures, trials)) == 0


def test_only_differences_of_distance_within_a_target_count():
    """Distances to one target are all tenfold, and its gains are high: neither changes the effect of distance."""
    gains, figures, trials = sweep(np.random.default_rng(3), TRUTH, sources=5)
    moved = gains["target"] == "t0"
    other = gains.assign(distance=gains["distance"].where(~moved, gains["distance"] * 10), gain=gains["gain"] + 2 * moved)
    effects = [covariate_effects(frame, figures.iloc[:0], trials.iloc[:0]).iloc[0] for frame in (gains, other)]
    assert effects[0]["value"] == pytest.approx(effects[1]["value"], abs=1e-3)


def test_effects_are_claims():
    table = covariate_effects(*sweep(np.random.default_rng(0), TRUTH, sources=40, targets=6))
    rows = claims(table)
    assert rows["subject"].tolist() == [f"{name}, finetune" for name in TRUTH]
    assert rows["outcome"].tolist() == ["told apart", "not told apart", "told apart", "not told apart", "told apart"]
    assert set(rows["step"]) == {10}


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_cover_the_truth_together():
    random, sweeps = np.random.default_rng(2), repeats(30, full=200)
    covered = []
    for _ in range(sweeps):
        result = covariate_effects(*sweep(random, TRUTH)).set_index("covariate")
        covered.append([result["low"][name] <= value <= result["high"][name] for name, value in TRUTH.items()])
    # Eight sources for six parameters: the intervals of the source's covariates must still cover.
    assert np.mean(np.all(covered, axis=1)) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / sweeps)


@pytest.mark.slow
def test_the_model_is_fitted_to_a_store(tmp_path: Path):
    sources = {name: 20.0 * 2**place for place, name in enumerate("abcdef")}
    store = build(tmp_path, sources=sources, targets=("x", "y"), sizes=(50,), strategies=("scratch", "finetune"), images=False)
    statistics = [
        {"domain": name, "resolution": 16, "embedding": EMBEDDING, "figure": figure, "value": 1 + uniform(name, figure)}
        for name in sources for figure in ("diversity", "spacing")
    ]  # fmt: skip
    store.append("domains", "quickstart", statistics)
    frames = load(store)
    assert len(frames.domain_statistics) == 12
    analysis = analyse(frames, EMBEDDING)
    result = analysis.drivers
    assert result["covariate"].tolist() == ["distance", "density", "diversity"], "all have as many images"
    assert result[["points", "targets", "sources"]].iloc[0].tolist() == [12, 2, 6]
    (line,) = [line for _, lines in by_question(analysis) for line in lines if line.startswith("With finetune, ")]
    assert "diversity" in line
    assert "is told apart" in line or "cannot be tested" in line or "changes with" in line
    assert "at step 50" in line or "at step 200" in line
