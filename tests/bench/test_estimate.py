"""Estimates from stores with computed times, and from one that was really run."""

import math
from pathlib import Path

import numpy as np
import pytest

from bench.costs.estimate import Estimate, Interval, estimate, estimates, together
from bench.costs.measured import Measured, measured
from bench.store import Store, open_store
from tests.support import tiny
from tests.support.timed import TRUTH, seconds, write
from trainers.common.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(str(tmp_path / "store"), create=True)


@pytest.mark.parametrize("ended", [True, False])
def test_other_budgets_rungs_and_sizes_are_estimated_exactly(store: Store, ended: bool):
    plan = tiny.make(training={**tiny.SPEC["training"], "steps": 12}, pretrain={"steps": 9}, sizes=[20, 30])
    write(store, plan, ended=ended)
    other = tiny.make(training={**tiny.SPEC["training"], "steps": 40}, evaluation={"samples": 64, "first_rung": 10}, sizes=[50])
    found = estimates(other, store)
    truth = TRUTH if ended else (*TRUTH[:3], 0.0)  # no last rung was measured
    for trial in other.trials:
        at = [seconds(trial, step, truth) for step in (0, *trial.rungs)]
        assert found[trial.key].setup_seconds == pytest.approx(at[0])
        assert found[trial.key].rung_seconds == pytest.approx(np.diff(at))
        assert found[trial.key].seconds(1) == pytest.approx(at[-1] - at[1])


@pytest.mark.slow
def test_the_interval_of_larger_networks_reaches_from_no_difference_to_the_ratio_of_operations(store: Store):
    from trainers.core.flops import step_flops

    plan = tiny.make(sizes=[20, 30])
    write(store, plan)
    larger = tiny.make(gan={**tiny.SPEC["gan"], "width": 8})
    trial = next(trial for trial in larger.trials if trial.strategy == "scratch")
    found = estimates(larger, store)[trial.key]
    setup, each, evaluation, last = TRUTH
    ratio = step_flops(trial.gan, trial.training) / step_flops(plan.spec.gan, plan.spec.training)
    assert found.seconds() == pytest.approx(seconds(trial, 8, (setup, each * ratio, evaluation, last)))
    assert found.unlike == ("gan.width",)
    assert found.bounds is not None
    assert found.bounds[0] * found.seconds() == pytest.approx(seconds(trial, 8))
    assert found.bounds[1] == pytest.approx(1)


def test_unmeasured_trials_are_refused_with_the_fix(store: Store, tmp_path: Path):
    plan = tiny.make()
    with pytest.raises(UserError, match="--max-hours"):
        estimates(plan, None)
    write(store, plan)
    with pytest.raises(UserError, match="Known: a processor"):
        estimates(plan, store, device="EPYC")
    weights = tmp_path / "weights.pt"
    weights.touch()
    other = tiny.make(evaluation={"samples": 64, "first_rung": 2, "embedding": f"inception:{weights}"})
    with pytest.raises(UserError, match="inception"):
        estimates(other, store)


def test_each_device_is_estimated_from_its_trials(store: Store):
    write(store, tiny.make(), device="cpu")
    write(store, tiny.make(sources=["shapes"], seeds=[1, 2]), device="H100", factor=lambda trial: 0.1)
    write(store, tiny.make(sources=["letters"], seeds=[3]), device="A100", factor=lambda trial: 0.2)
    plan, on_gpu = tiny.make(), tiny.make(resources={"gpus": 0.5})
    slow, a100, h100 = (
        sum(each.seconds() for each in estimates(asked, store, device).values())
        for asked, device in ((plan, None), (on_gpu, "A100"), (on_gpu, "H100"))
    )
    assert (slow, a100) == pytest.approx((10 * h100, 2 * h100))
    assert estimates(on_gpu, store) == estimates(on_gpu, store, "H100"), "most trials ran there"


def test_equally_spaced_rungs_do_not_separate_training_from_evaluation(store: Store):
    write(store, tiny.make(pretrain={"steps": 8}), ended=False)  # 2, 4
    other = tiny.make(training={**tiny.SPEC["training"], "steps": 40}, pretrain={"steps": 40}, sizes=[50])
    found = estimates(other, store)
    total = together((each, each.seconds()) for each in found.values())
    assert (total.low or math.inf) < sum(seconds(trial, 40, (*TRUTH[:3], 0.0)) for trial in other.trials) < total.value
    assert total.high == total.value, "longer trials take at most the time by steps alone"


def test_the_path_of_the_weights_does_not_matter(store: Store, tmp_path: Path):
    plans = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        (folder / "weights.pt").touch()
        evaluation = {"samples": 64, "first_rung": 2, "embedding": f"inception:{folder}/weights.pt"}
        plans.append(tiny.make(evaluation=evaluation))
    write(store, plans[0])
    assert plans[0].by_key.keys() == plans[1].by_key.keys()
    assert estimates(plans[0], store) == estimates(plans[1], store)


def test_trials_on_unknown_processors_give_no_estimate_for_gpus(store: Store):
    write(store, tiny.make(), ended=False)
    store.append("environments", "s", [{"environment": "e", "details": '{"device": "cpu", "processor": "another"}'}])
    assert estimates(tiny.make(), store)
    with pytest.raises(UserError, match="the store has none on a GPU"):
        estimates(tiny.make(resources={"gpus": 1}), store)


def test_the_interval_of_a_total_has_its_nominal_coverage():
    """Times have log-normal factors; the total of twenty other such trials is in 95 % of the intervals."""
    plan = tiny.make(sources=[], strategies=["scratch"], seeds=list(range(6)))
    one, rng, held = plan.trials[0], np.random.default_rng(0), 0
    for _ in range(400):
        found = []
        for trial, factor in zip(plan.trials, np.exp(rng.normal(0, 0.3, 6)), strict=True):
            at = [factor * seconds(trial, step) for step in (0, *trial.rungs)]
            legs = zip(np.diff((0, *trial.rungs)), (False, False, True), np.diff(at), strict=True)
            found.append(Measured(trial, None, False, at[0], tuple(legs)))
        each = estimate(plan, found)[one.key]
        total = together([(each, each.seconds())] * 20)
        truth = seconds(one, 8) * np.exp(rng.normal(0, 0.3, 20)).sum()
        held += (total.low or math.inf) <= truth <= (total.high or 0)
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_one_measured_trial_gives_no_interval():
    total = together([(Estimate(1.0, (2.0, 3.0), bounds=None), 6.0), (Estimate(1.0, (2.0,)), 3.0)])
    assert (total.value, total.low, total.high) == (9.0, None, None)
    assert total.times(2).value == 18.0
    assert [str(total), str(Interval(56540.2, 999.96, 71234.6))] == ["9", "56,540 (1,000 to 71,235)"]


def test_the_trials_of_a_real_store_are_estimated_by_their_own_times(finished: Store):
    """All are alike. Their total is fitted exactly unless a duration is fitted as zero, as none is negative."""
    timings = measured(finished)
    assert {timing.device for timing in timings} != {None}
    fitted = estimates(tiny.make(), finished)
    total = sum(fitted[timing.trial.key].seconds() for timing in timings)
    assert total == pytest.approx(sum(timing.seconds for timing in timings), rel=0.5)
    assert math.isclose(sum(timing.seconds for timing in timings), finished.read("trials")["seconds"].sum())
