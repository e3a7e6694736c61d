"""Which distance foretells transfer: on stores with a known truth."""

from collections.abc import Callable

import pandas as pd
import pytest

from analysis.predictors import NEARER, predictors

GAINS = {"a": 1.0, "b": 0.5, "c": 0.1, "d": -0.4}


def gains(groups: int = 2, sources: str = "abcd") -> pd.DataFrame:
    """Return a gain per source, better for the earlier letter, in so many cells."""
    common = {"target": "t", "size": 5, "conditional": False, "resolution": 8, "target_label": "t", "embedding": "e"}
    common |= {"strategy": "finetune", "at": "common", "step": 10, "family": "t"}
    return pd.DataFrame([
        {**common, "cell": f"c{cell}", "cell_label": f"c{cell}", "source": name, "source_label": name, "gain": GAINS[name]}
        for cell in range(groups) for name in sources
    ])  # fmt: skip


def distances(kind: str, of: Callable[[str], float], trial: str | None = None) -> list[dict[str, object]]:
    ends = {"target": "t", "resolution": 8, "embedding": "e", "trial": trial, "kind": kind}
    return [{**ends, "source": name, "value": of(name)} for name in GAINS]


def test_every_kind_points_the_way_that_is_nearer():
    """Distances rise with the letter, similarities fall: all must say that nearer sources helped."""
    rows = [row for kind, sign in NEARER.items() for row in distances(kind, lambda name, sign=sign: -sign * ord(name))]
    found = predictors(gains(), pd.DataFrame(rows))
    assert set(found["kind"]) == set(NEARER)
    assert found[["rho", "low", "high"]].to_numpy().ravel().tolist() == pytest.approx([1.0] * 18)
    assert (found["hits"] == 2).all()
    assert (found["groups"] == 2).all()
    assert set(found["via"]) == {"real"}


def test_the_best_predictor_comes_first_by_real_or_generated_images():
    wrong = {"a": 1, "b": 4, "c": 2, "d": 3}  # one of six pairs of neighbours in order; the nearest is right
    rows = distances("fid", lambda name: -ord(name)) + distances("kid", lambda name: wrong[name])
    rows += distances("fid", ord, "k")
    found = predictors(gains(), pd.DataFrame(rows))
    assert list(zip(found["kind"], found["via"], strict=True)) == [("fid", "generator"), ("kid", "real"), ("fid", "real")]
    assert list(found["rho"]) == pytest.approx([1.0, 0.4, -1.0])
    assert list(found["hits"]) == [2, 2, 0]


def test_equal_distances_are_no_order_and_no_hit():
    rows = distances("precision", lambda name: 0.0) + distances("recall", lambda name: float(name in "ab"))
    found = predictors(gains(), pd.DataFrame(rows)).set_index("kind")
    assert found.loc["precision", "rho"] == 0
    assert found.loc["recall", "rho"] > 0.8
    assert list(found["hits"]) == [0, 0]


def test_two_sources_are_too_few():
    assert len(predictors(gains(sources="ab"), pd.DataFrame(distances("fid", ord)))) == 0
    found = predictors(pd.concat([gains(1), gains(3, "bcd").query("cell != 'c0'")]), pd.DataFrame(distances("fid", ord)))
    assert list(found[["groups", "least", "most"]].iloc[0]) == [3, 3, 4]
