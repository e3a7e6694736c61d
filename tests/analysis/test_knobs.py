"""Effects of density, diversity, amount and spread: recovered from simulated gains, with intervals that cover the truth."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.claims import Outcome
from analysis.prediction.knobs import EFFECTS, claims, knob_effects, parse
from tests.support.endurance import repeats

NAMES = [f"letters[classes={c},per_class={m}]" for c, m in product((4, 8, 16), (50, 200))]
NAMES += [f"letters[classes={c},per_class={m},spread={s}]" for c, m, s in ((4, 50, 0.3), (16, 50, 0.3), (8, 200, 0.6))]


def gains(names: list[str], a: float, b: float, c: float, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Return simulated gains: `a` per doubling of the classes, `b` of the images of each, `c` per unit of spread."""
    random = np.random.default_rng(seed)
    common = {"cell": "c", "cell_label": "c", "target": "t", "size": 5, "conditional": False, "resolution": 8, "family": "t"}
    common |= {"target_label": "t", "embedding": "e", "strategy": "finetune", "at": "final", "step": 10}
    rows = []
    for name in names:
        knobs = parse(name) or {"classes": 1.0, "per_class": 1.0, "spread": 1.0}
        gain = a * np.log2(knobs["classes"]) + b * np.log2(knobs["per_class"]) + c * knobs["spread"] + 0.7
        for _ in range(2):
            rows.append({**common, "source": name, "source_label": name, "gain": gain + noise * random.normal()})
    return pd.DataFrame(rows)


def test_knobs_are_parsed():
    assert parse("letters[classes=4,per_class=100,spread=0.5]") == {
        "base": "letters", "classes": 4, "per_class": 100, "spread": 0.5
    }  # fmt: skip
    assert parse("letters") is None
    assert parse("letters[classes=4]") is None
    assert parse("folder:/a[b]") is None
    shifted = parse("letters[classes=4,per_class=100,shift=0.5]")
    assert shifted is not None
    assert shifted["base"] != "letters"


def test_simulated_effects_are_recovered():
    result = knob_effects(gains(NAMES, 0.2, 0.05, -0.4)).set_index("effect")["value"]
    expected = {"diversity": 0.2, "density": 0.05, "amount": 0.125, "exchange": 0.15, "spread": -0.4}
    assert result.to_dict() == pytest.approx(expected)
    assert list(result.index) == list(EFFECTS)


def test_each_domain_has_its_constant():
    others = [name.replace("letters", "shapes") for name in NAMES]
    frame = pd.concat([gains(NAMES, 0.2, 0.05, -0.4), gains(others, 0.2, 0.05, -0.4).assign(gain=lambda f: f["gain"] - 3)])
    result = knob_effects(frame).set_index("effect")
    assert result["value"]["density"] == pytest.approx(0.05)
    assert set(result["sources"]) == {18}


def test_effects_that_the_sources_do_not_vary_are_not_estimated():
    equal_amount = [f"letters[classes={c},per_class={400 // c}]" for c in (2, 4, 8, 16)]
    assert list(knob_effects(gains(equal_amount, 0.2, 0.05, 0))["effect"]) == ["exchange"]
    more = [f"letters[classes=4,per_class={m}]" for m in (10, 20, 40)]
    assert list(knob_effects(gains(more, 0.2, 0.05, 0))["effect"]) == ["density"]
    assert len(knob_effects(gains(NAMES[:2], 0.2, 0.05, 0))) == 0, "no residual degrees of freedom"
    assert len(knob_effects(gains(["letters", "shapes", "textures"], 0, 0, 0))) == 0


@pytest.mark.slow
@pytest.mark.endurance
def test_intervals_cover_the_truth_together():
    truth = {"diversity": 0.1, "density": 0.0, "amount": 0.05, "exchange": 0.1, "spread": 0.0}
    covered, sweeps = [], repeats(50, full=300)
    for seed in range(sweeps):
        result = knob_effects(gains(NAMES, 0.1, 0.0, 0.0, noise=0.2, seed=seed)).set_index("effect")
        covered.append([result["low"][name] <= value <= result["high"][name] for name, value in truth.items()])
    assert np.mean(np.all(covered, axis=1)) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / sweeps), "together"
    assert np.mean(covered) < 0.999


def test_an_effect_is_told_apart_at_its_corrected_level_and_is_a_claim():
    table = knob_effects(gains(NAMES, 0.3, 0.0, 0.0, noise=0.05)).set_index("effect", drop=False)
    assert table["outcome"]["diversity"] == Outcome.APART
    assert ((table["low"] > 0) | (table["high"] < 0)).equals(table["outcome"] == Outcome.APART)
    assert table["outcome"]["density"] == Outcome.NOT_APART
    claim = claims(table).loc["diversity"]
    assert (claim["kind"], claim["subject"], claim["cell"], claim["step"]) == ("knob", "diversity, finetune", "c", 10)


@pytest.mark.slow
@pytest.mark.endurance
def test_without_an_effect_few_sweeps_have_one():
    frames = [gains(NAMES, 0.0, 0.0, 0.0, noise=0.2, seed=seed) for seed in range(repeats(40, full=200))]
    apart = [(knob_effects(frame)["outcome"] == Outcome.APART).any() for frame in frames]
    assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(frames))
