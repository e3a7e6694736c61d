"""Final gains of stopped methods, estimated from early gains, on simulated sweeps stopped by their early gains."""

import numpy as np
import pandas as pd
import pytest

from analysis.prediction.final_gains import final_points
from analysis.transfer.steps import compared, compared_points, gain_at


def sweep(random: np.random.Generator, stop: bool, targets: int = 4, noise: float = 0.2) -> pd.DataFrame:
    """Return early and final gains of three strategies from five sources; the half with the lower early gains may stop.

    The early gains of `slow` are lower by 0.5 than its final gains, those of the others higher by 0.2.
    """
    rows = []
    for target in range(targets):
        common = {"cell": f"c{target}", "cell_label": f"c{target}", "target": f"t{target}", "target_label": "", "family": ""}
        common |= {"size": 5, "conditional": False, "resolution": 8, "embedding": "e", "distance": 1.0}
        methods = []
        for strategy in ("fast", "plain", "slow"):
            for source in "abcde":
                final = random.normal(0.5, 0.3)
                early = final + (-0.5 if strategy == "slow" else 0.2) + noise * random.normal()
                methods.append((early, final, {**common, "strategy": strategy, "source": source, "source_label": source}))
        cut = np.median([early for early, _, _ in methods]) if stop else -np.inf
        best = {max((m for m in methods if m[2]["strategy"] == name), key=lambda m: m[0])[2]["source"] for name in ("slow",)}
        for early, final, names in methods:
            going = early >= cut or (names["strategy"] == "slow" and names["source"] in best)
            trial = {**names, "seed": 0, "status": "done" if going else "stopped", "true": final}
            rows.append({**trial, "at": "first", "step": 50, "gain": early})
            rows += [{**trial, "at": "final", "step": 200, "gain": final}] if going else []
    return pd.DataFrame(rows)


def test_without_stopping_they_are_the_final_gains():
    gains = sweep(np.random.default_rng(0), stop=False)
    result = final_points(gains)
    assert not result["estimated"].any()
    assert len(result) == 60
    assert set(result["step"]) == {200}


def test_without_noise_the_estimates_are_the_truth():
    gains = sweep(np.random.default_rng(0), stop=True, noise=0.0)
    result = final_points(gains).merge(gains[gains["at"] == "first"][["cell", "strategy", "source", "true"]])
    assert len(result) == 60
    assert 0 < result["estimated"].sum() < 60
    assert result["gain"].astype(float).tolist() == pytest.approx(result["true"].tolist())
    assert set(result["step"]) == {200}


def test_the_survivors_overstate_a_strategy_and_the_estimates_do_not():
    random = np.random.default_rng(1)
    survivors, estimates = [], []
    for _ in range(30):
        points = final_points(sweep(random, stop=True))
        survivors.append(points.loc[~points["estimated"], "gain"].mean() - 0.5)
        estimates.append(points["gain"].mean() - 0.5)
    assert np.mean(survivors) > 0.1
    assert abs(np.mean(estimates)) < 0.04


def test_a_method_that_diverged_is_not_estimated():
    gains = sweep(np.random.default_rng(0), stop=True)
    stopped = gains[gains["status"] == "stopped"].iloc[0]
    lost = (gains["cell"] == stopped["cell"]) & (gains["source"] == stopped["source"])
    lost &= gains["strategy"] == stopped["strategy"]
    result = final_points(gains.assign(status=gains["status"].mask(lost, "diverged")))
    assert len(result) == 59


def test_sources_are_compared_by_early_gains_if_most_cells_lack_final_ones():
    whole, stopped = (sweep(np.random.default_rng(0), stop=stop) for stop in (False, True))
    assert set(compared(whole)["at"]) == {"final"}
    early = compared_points(stopped)
    assert len(early) == 60
    assert gain_at(early) == "early gain at step 50"
    assert gain_at(compared_points(whole)) == "gain at step 200"
    mixed = pd.concat([whole[whole["target"] != "t0"], stopped[stopped["target"] == "t0"]])
    assert set(compared(mixed)["cell"]) == {"c1", "c2", "c3"}, "the cells where no method was stopped"
