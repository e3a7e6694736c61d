"""The simulation against closed forms, bounds and the real stopping rule."""

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.costs.estimate import Estimate
from bench.costs.machines import Cluster, Overhead
from bench.costs.simulation import Schedule, compare, savings, simulate, stopping_values
from bench.driver.stopping import Action, Curve, judge
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

HOUR = 3600.0


def grid(**changes: Any) -> Plan:
    """Return the plan of a grid of two sources, four sizes, of which two are the whole domain, and three seeds."""
    spec = {
        "name": "grid",
        "sources": ["letters", "shapes"],
        "targets": ["digits"],
        "sizes": [10, 20, 100_000, 200_000],
        "strategies": ["scratch", "finetune", "finetune-d"],
        "seeds": [0, 1, 2],
        "gan": {"resolution": 8, "width": 4, "latent": 16},
        "training": {"steps": 8},
        "pretrain": {"steps": 32},
        "evaluation": {"first_rung": 2},
        "stopping": {"protect_strategies": False},
    }
    return make_plan(SweepSpec.model_validate({**spec, **changes}))


#: Resources of trials that leave checkpoints at their rungs alone.
AT_RUNGS = {"checkpoint_minutes": 10**6}


def alone(trials: int, **resources: Any) -> Plan:
    """Return the plan of a number of independent trials of one rung, without other checkpoints, that are never stopped."""
    return grid(
        sources=(), strategies=("scratch",), sizes=(10,), seeds=tuple(range(trials)), evaluation={"first_rung": 8},
        stopping={"rule": "none"}, resources={**AT_RUNGS, **resources},
    )  # fmt: skip


def takes(plan: Plan, setup: float, leg: float) -> dict[str, Estimate]:
    """Return estimates with the same seconds for every trial."""
    return {key: Estimate(setup, (leg,) * len(trial.rungs)) for key, trial in plan.by_key.items()}


def uneven(plan: Plan, seed: int = 0) -> dict[str, Estimate]:
    """Return estimates with different seconds for every trial."""
    draw = random.Random(seed).uniform
    return {key: Estimate(draw(0, 2), tuple(draw(1, 9) for _ in trial.rungs)) for key, trial in plan.by_key.items()}


def seconds(estimates: Mapping[str, Estimate], *trials: TrialConfig) -> float:
    return sum(estimates[trial.key].seconds() for trial in trials)


@pytest.mark.parametrize(("trials", "gpus", "share"), [(7, 1, 1.0), (7, 3, 1.0), (7, 100, 1.0), (7, 1, 0.5), (7, 9, 3.0)])
def test_equal_trials_run_in_as_many_rounds_as_it_takes(trials: int, gpus: int, share: float):
    cluster = Cluster(gpus, share)
    slots = gpus / share
    plan = alone(trials)
    found = simulate(plan, takes(plan, 2.0, 8.0), cluster, {})
    assert cluster.slots == slots
    assert found.makespan == math.ceil(trials / slots) * 10
    assert found.busy == trials * 10
    assert found.idle == pytest.approx(1 - trials * 10 / (slots * found.makespan))
    assert found.ends["done"] == trials


def test_what_the_harness_adds_is_added_once_per_slot_start_and_leg():
    plan = alone(6)
    overhead = Overhead(startup_seconds=100, start_seconds=10, leg_seconds=1)
    found = simulate(plan, takes(plan, 2.0, 8.0), Cluster(2, overhead=overhead), {})
    assert found.makespan == 100 + 3 * (10 + 2 + 1 + 8 + 1)


def test_one_of_the_idle_slots_keeps_its_process():
    """As in Ray Tune. A source and three trials from scratch; then one more link alone; then the three that wait for it."""
    plan = grid(
        sources=("letters -> shapes",), strategies=("scratch", "finetune"), sizes=(10,), training={"steps": 2},
        pretrain={"steps": 2}, stopping={"rule": "none"},
    )  # fmt: skip
    overhead = Overhead(startup_seconds=100)
    found = simulate(plan, takes(plan, 0.0, 1000.0), Cluster(5, overhead=overhead), {})
    assert found.makespan == 100 + 2 * 1000 + 100 + 1000
    assert found.busy == 5 * 1000 + 3 * 1000 + (1 + 3 + 2) * 100


def test_a_chain_takes_its_links_one_after_the_other_however_many_gpus_there_are():
    plan = grid(sources=("letters -> shapes -> textures",), strategies=("finetune",), sizes=(10,), seeds=(0,))
    estimates = uneven(plan)
    found = simulate(plan, estimates, Cluster(50), stopping_values(plan))
    assert len(plan.trials) == 4
    assert found.makespan == pytest.approx(seconds(estimates, *plan.trials))


@pytest.mark.parametrize("gpus", [1, 2, 3, 8, 64])
def test_no_gpu_idles_while_there_is_work_and_no_work_is_lost(gpus: int):
    """Graham's bound (1966): a schedule without needless idling takes at most work / N + (1 - 1/N) critical path."""
    plan = grid(stopping={"rule": "none"})
    estimates = uneven(plan, gpus)
    work = seconds(estimates, *plan.trials)
    path = max(seconds(estimates, t, *([plan.by_key[t.parent]] if t.parent else ())) for t in plan.trials)
    found = simulate(plan, estimates, Cluster(gpus), stopping_values(plan))
    assert found.busy == pytest.approx(work)
    assert max(path, work / gpus) - 1e-9 <= found.makespan <= work / gpus + (1 - 1 / gpus) * path + 1e-9
    assert (found.lost, found.interruptions) == (0, 0)


def test_the_barrier_makes_adaptations_wait_for_the_slowest_source():
    plan = grid(stopping={"rule": "none"}, strategies=("finetune",))
    estimates = takes(plan, 0.0, 1.0) | {plan.of_kind("pretrain")[1].key: Estimate(0.0, (20.0,) * 5)}
    for gpus, free, held in ((1000, 103, 103), (2, 100 + 5 * 3, 100 + 9 * 3)):  # 9 adaptations of 3 s of each source
        found = [simulate(plan, estimates, Cluster(gpus), {}, each).makespan for each in (Schedule.OURS, Schedule.BARRIER)]
        assert found == [free, held]


def test_each_saving_saves():
    plan = grid()
    estimates, values = uneven(plan), stopping_values(plan)
    assert (len(plan.grid), plan.collapsed, len(plan.trials)) == (72, 27, 47)
    naive, barrier, ours = (simulate(plan, estimates, Cluster(4), values, each) for each in Schedule)
    assert naive.makespan > barrier.makespan > ours.makespan
    own = [plan.by_key[key] for key in plan.grid]
    pretrained = [plan.by_key[trial.parent] for trial in own if trial.parent is not None]
    assert naive.busy == pytest.approx(seconds(estimates, *own, *pretrained))
    assert barrier.busy == pytest.approx(seconds(estimates, *plan.trials))
    said = savings(plan, estimates, values)
    assert said["naive"] * HOUR == pytest.approx(naive.busy)
    assert said["sources_once"] * HOUR == pytest.approx(seconds(estimates, *own, *plan.of_kind("pretrain")))
    assert said["collapsed"] * HOUR == pytest.approx(barrier.busy)
    assert said["stopped"] * HOUR == pytest.approx(ours.busy)
    rows = {(row["gpus"], row["schedule"]): row for row in compare(plan, estimates, values, [1, 4])}
    assert len(rows) == 6
    assert rows[4, "naive"]["times_ours"] == pytest.approx(naive.busy / ours.busy)
    assert rows[1, "ours"]["makespan_hours"] == pytest.approx(said["stopped"])
    assert rows[1, "ours"]["idle"] == pytest.approx(0)


def test_no_trial_with_drawn_values_ceases_to_improve():
    """So a plateau, which is judged by values and not by ranks, stops none of them."""
    plan = grid(stopping={"keep": 1.0, "plateau": 1})
    found = simulate(plan, takes(plan, 1.0, 1.0), Cluster(4), stopping_values(plan))
    assert found.ends == {"done": len(plan.trials)}


@pytest.mark.parametrize("interruptions", [0.0, 60.0])
def test_which_trials_stop_depends_on_neither_gpus_nor_interruptions(interruptions: float):
    """They are those that the rules stop when applied to all curves together."""
    plan = grid(resources={"retries": 0})
    values = stopping_values(plan, seed=3)
    stopped = 0
    for cell, keys in plan.cells.items():
        trials = [plan.by_key[key] for key in keys]
        curves = [Curve(t.key, t.strategy or "", values[t.key], method=f"{t.strategy} {t.parent}") for t in trials]
        verdicts = judge(curves, trials[0].rungs, plan.spec.stopping, cell).values()
        stopped += sum(verdict.action is Action.STOP for verdict in verdicts)
    for gpus in (1, 5, 100):
        found = simulate(plan, uneven(plan, gpus), Cluster(gpus, interruptions=interruptions), values)
        assert found.ends["stopped"] == stopped > 0
        assert found.ends["stopped"] + found.ends["done"] == len(plan.trials)
        assert bool(found.interruptions) == bool(interruptions)


def test_the_seed_determines_the_losses():
    plan = alone(50)
    first, again, other = (
        simulate(plan, takes(plan, 0.0, HOUR), Cluster(7, interruptions=0.3), {}, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_losses_come_as_a_poisson_process_and_a_leg_takes_what_renewal_theory_says():
    """A leg of an hour, begun anew at every loss, takes (exp(rate) - 1) / rate on average; losses are rate times busy hours."""
    trials, rate = 1000, 0.7
    plan = alone(trials, retries=0)
    found = simulate(plan, takes(plan, 0.0, HOUR), Cluster(40, interruptions=rate, restart_seconds=0), {})
    busy = found.busy / HOUR
    assert found.interruptions == pytest.approx(rate * busy, abs=4 * math.sqrt(rate * busy))
    mean = (math.exp(rate) - 1) / rate
    variance = (math.exp(2 * rate) - 1 - 2 * rate * math.exp(rate)) / rate**2  # of the same renewal process
    assert busy == pytest.approx(trials * mean, abs=4 * math.sqrt(trials * variance))
    assert found.busy - found.lost == pytest.approx(trials * HOUR)


@pytest.mark.parametrize("schedule", Schedule)
def test_no_trial_fails_however_often_the_market_takes_its_machine(schedule: Schedule):
    """A leg of five mean lifetimes is lost some 147 times before it is done, and almost all losses come after an hour."""
    plan = grid(sources=["shapes"], sizes=[10], seeds=[0], resources={"retries": 0, **AT_RUNGS}, stopping={"rule": "none"})
    found = simulate(plan, takes(plan, 0.0, 500 * HOUR), Cluster(4, interruptions=0.01), {}, schedule)
    assert found.ends == {"done": 3 if schedule is Schedule.NAIVE else len(plan.trials)}
    assert found.interruptions > 50 * len(plan.trials)


def test_a_sweep_that_would_hardly_ever_end_is_not_simulated():
    plan = alone(1)
    estimates = takes(plan, 0.0, 100 * HOUR)
    with pytest.raises(UserError, match=r"--interruptions 0\.1: the longest way between two checkpoints takes 100.0 hours"):
        next(compare(plan, estimates, {}, [8], interruptions=0.1))
    assert next(compare(plan, estimates, {}, [8], interruptions=0.01))["failed"] == 0


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0])
def test_checkpoints_by_time_lose_the_half_of_their_interval_for_each_loss(rate: float):
    """An hour in parts of five minutes, each begun anew at a loss, takes 12 (exp(rate / 12) - 1) / rate hours on average."""
    trials = 1000
    plan = alone(trials, retries=0, checkpoint_minutes=5)
    found = simulate(plan, takes(plan, 0.0, HOUR), Cluster(40, interruptions=rate, restart_seconds=0), {})
    assert found.ends["done"] == trials
    assert found.busy / HOUR / trials == pytest.approx(12 * (math.exp(rate / 12) - 1) / rate, rel=0.02)


def test_a_checkpoint_keeps_what_came_before_it():
    """Two legs of half the length lose less than one; a lost GPU comes back late."""
    rate, trials = 1.0, 300
    plan = alone(trials, retries=0)
    whole, halves = (
        simulate(plan, takes(plan, setup * HOUR, (1 - setup) * HOUR), Cluster(20, 1.0, rate, 0.0), {}) for setup in (0, 0.5)
    )
    assert halves.lost < 0.6 * whole.lost
    late = simulate(plan, takes(plan, 0.5 * HOUR, 0.5 * HOUR), Cluster(20, 1.0, rate, HOUR), {})
    assert late.makespan > 1.5 * halves.makespan
    assert late.busy == pytest.approx(halves.busy, rel=0.2)


def test_all_trials_on_a_gpu_are_lost_together_and_a_trial_with_any_of_its_gpus():
    plan = alone(400, retries=0)
    estimates = takes(plan, 0.0, 0.2 * HOUR)
    losses = {share: simulate(plan, estimates, Cluster(16, share, 0.5, 0.0), {}) for share in (0.25, 1.0, 4.0)}
    for share, found in losses.items():
        busy = found.busy / HOUR * share
        assert found.interruptions == pytest.approx(0.5 * busy, abs=5 * math.sqrt(0.5 * busy)), share


def test_a_source_that_loses_every_machine_within_the_hour_fails_and_blocks_what_needs_it():
    plan = grid(resources={"retries": 0, **AT_RUNGS})
    sources = {trial.key for trial in plan.of_kind("pretrain")}
    estimates = {key: Estimate(0.0, (HOUR if key in sources else 1e-6,) * len(t.rungs)) for key, t in plan.by_key.items()}
    found = simulate(plan, estimates, Cluster(8, interruptions=9.0), stopping_values(plan))
    assert found.ends["failed"] == 2
    assert found.ends["blocked"] == sum(trial.parent in sources for trial in plan.of_kind("adapt"))
    assert found.ends["done"] + found.ends["stopped"] == len(plan.trials) - 2 - found.ends["blocked"]


def test_adaptations_behind_a_barrier_wait_no_longer_for_a_source_that_is_blocked():
    plan = grid(sources=["letters -> numerals", "shapes"], resources={"retries": 0})
    first, *_ = plan.of_kind("pretrain")
    estimates = {key: Estimate(0.0, ((1e9 if key == first.key else 1e-6),) * len(t.rungs)) for key, t in plan.by_key.items()}
    found = simulate(plan, estimates, Cluster(8, interruptions=60.0), {}, Schedule.BARRIER)
    of_chain = [trial for trial in plan.of_kind("adapt") if trial.source is not None and "letters" in trial.source.name]
    assert (found.ends["failed"], found.ends["blocked"]) == (1, 1 + len(of_chain))
    assert found.ends["done"] == len(plan.trials) - 2 - len(of_chain)


def test_a_measured_cell_is_judged_by_what_was_measured(tmp_path: Path):
    plan = grid()
    store = open_store(str(tmp_path), create=True)
    cells = list(plan.cells.values())
    told = cells[0], cells[1][:-1]  # of the second cell one trial has not ended
    for key in (key for keys in told for key in keys):
        trial = plan.by_key[key]
        store.append("trials", "s", [outcome_row(trial, "stopped", "e", steps=4)])
        row = {"trial": key, "metric": "fid", "embedding": "e", "view": trial.evaluation.view, "version": "1"}
        store.append("measurements", "s", [{**row, "step": step, "value": 7.0 * step} for step in (0, 2, 4)])
    values = stopping_values(plan, store)
    assert all(values[key] == {2: 14.0, 4: 28.0, 8: math.inf} for key in cells[0])
    made_up = stopping_values(plan)
    assert all(values[key] == made_up[key] for key in cells[1])
    assert made_up == stopping_values(plan) != stopping_values(plan, seed=1)


def test_more_gpus_are_asked_for_than_a_trial_takes():
    plan = alone(2, gpus=2)
    with pytest.raises(UserError, match=r"--gpus 1: a trial takes 2 \(resources\.gpus\)"):
        next(compare(plan, takes(plan, 0.0, 1.0), {}, [1]))
