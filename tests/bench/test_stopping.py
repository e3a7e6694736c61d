"""The stopping rules as a pure function: hand-made cells, and properties of random ones."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.driver import stopping
from bench.driver.stopping import GO, Action, Curve, Verdict, audited, judge
from bench.sweeps.spec import StoppingConfig

RUNGS = (50, 100, 200)
RULE = StoppingConfig(keep=0.5, protect_strategies=False)


def cell(**values: list[float]) -> list[Curve]:
    """Return a cell of trials named by strategy, with values at the first rungs."""
    return [Curve(key, key, dict(zip(RUNGS, row, strict=False))) for key, row in values.items()]


def test_waits_until_the_whole_cell_is_at_the_rung():
    verdicts = judge(cell(a=[1.0], b=[2.0], c=[]), RUNGS, RULE)
    assert verdicts == {"a": Verdict(Action.WAIT, 50), "b": Verdict(Action.WAIT, 50), "c": GO}


def test_the_worse_half_stops_and_the_better_half_goes_on():
    verdicts = judge(cell(a=[4.0], b=[1.0], c=[3.0], d=[2.0]), RUNGS, RULE)
    assert verdicts == {"a": Verdict(Action.STOP, 50), "b": GO, "c": Verdict(Action.STOP, 50), "d": GO}


def test_later_rungs_compare_survivors_only():
    verdicts = judge(cell(a=[4.0], b=[1.0, 9.0], c=[3.0], d=[2.0, 8.0]), RUNGS, RULE)
    assert verdicts["b"] == Verdict(Action.STOP, 100)
    assert verdicts["d"] == GO


def test_nothing_is_decided_at_the_budget():
    verdicts = judge(cell(a=[1.0, 1.0, 5.0], b=[2.0]), RUNGS, RULE)
    assert verdicts["a"] == GO


def test_the_share_kept_is_rounded_up():
    verdicts = judge(cell(a=[1.0], b=[2.0], c=[3.0]), RUNGS, RULE)
    assert [key for key, verdict in verdicts.items() if verdict == GO] == ["a", "b"]


def test_every_strategys_best_is_protected():
    rule = StoppingConfig(keep=0.25, protect_strategies=True)
    curves = [
        Curve("s", "scratch", {50: 9.0}),
        Curve("f1", "finetune", {50: 1.0}),
        Curve("f2", "finetune", {50: 2.0}),
        Curve("g1", "finetune-g", {50: 3.0}),
    ]
    verdicts = judge(curves, RUNGS, rule)
    assert verdicts == {"s": GO, "f1": GO, "f2": Verdict(Action.STOP, 50), "g1": GO}


@pytest.mark.parametrize("strategies", ["finetune", "freeze-d"])
@pytest.mark.parametrize(("seeds", "watched"), [("c", "c"), ("bd", "bd"), ("abcd", "ab")])
def test_a_protected_method_keeps_two_seeds_by_their_keys_or_all_if_it_has_fewer(strategies: str, seeds: str, watched: str):
    """The method is the worse one of its strategy or the only one of another; its best seed is d."""
    kept = [Curve(f"k{i}", "finetune", {50: float(i)}, method="kept") for i in range(3)]
    worst = [Curve(key, "finetune-g", {50: 100.0 - ord(key) / 10}, method="watched") for key in seeds]
    third = [Curve("x", strategies, {50: 200.0}, method="third")]
    verdicts = judge([*kept, *worst, *third], RUNGS, StoppingConfig(keep=0.3))
    assert {key for key in seeds if verdicts[key] == GO} == set(watched)
    assert all(verdicts[f"k{i}"] == GO for i in range(3)), "all seeds of a method within the share"
    assert verdicts["x"] == (GO if strategies == "freeze-d" else Verdict(Action.STOP, 50))


def test_protected_seeds_stay_together_to_the_budget_and_take_no_place():
    """Of four methods two are kept at 50, one of them at 100; the protected one counts at neither."""

    def method(name: str, strategy: str, *values: float) -> list[Curve]:
        return [Curve(f"{name}{i}", strategy, dict(zip(RUNGS, values, strict=False)), method=name) for i in range(3)]

    curves = [*method("a", "f", 1, 2), *method("b", "f", 2, 1), *method("c", "f", 3, 3), *method("d", "g", 9, 9)]
    verdicts = judge(curves, RUNGS, StoppingConfig(keep=0.5))
    assert {key for key, verdict in verdicts.items() if verdict == GO} == {"b0", "b1", "b2", "d0", "d1"}
    assert {verdicts[f"a{i}"].rung for i in range(3)} == {100}


# -- scratch, the reference ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 2.5, 99.0, math.nan])
@pytest.mark.parametrize("rule", [RULE, StoppingConfig(keep=0.5, plateau=1, protect_strategies=False)])
def test_scratch_never_stops_by_comparison_and_takes_no_place(value: float, rule: StoppingConfig):
    """At 50 two of the four transfers go on, at 100 one of the two; scratch stays where it is, best or worst, at every rung."""
    transfers = cell(a=[1.0, 0.5], b=[2.0, 0.6], c=[3.0], d=[4.0])
    scratch = [Curve(f"s{i}", "scratch", {50: value, 100: value}, method="scratch") for i in range(3)]
    stopped = {"c": Verdict(Action.STOP, 50), "d": Verdict(Action.STOP, 50), "b": Verdict(Action.STOP, 100)}
    assert judge([*transfers, *scratch], RUNGS, rule) == {"a": GO, **stopped, "s0": GO, "s1": GO, "s2": GO}


def test_the_best_transfer_is_not_stopped_for_a_plateau_though_scratch_is_better():
    curves = [*cell(a=[2.0, 2.0], b=[3.0, 3.0]), Curve("s", "scratch", {50: 1.0, 100: 1.0})]
    verdicts = judge(curves, RUNGS, StoppingConfig(keep=1.0, plateau=1))
    assert verdicts == {"a": GO, "b": Verdict(Action.STOP, 100, "plateau: no better fid for 1 rung"), "s": GO}


def test_scratch_neither_waits_nor_is_waited_for():
    transfers = cell(a=[1.0], b=[2.0])
    assert judge([*transfers, Curve("s", "scratch", {})], RUNGS, RULE) == {"a": GO, "b": Verdict(Action.STOP, 50), "s": GO}
    early = judge([*cell(a=[1.0], b=[]), Curve("s", "scratch", {50: 3.0, 100: 3.0})], RUNGS, RULE)
    assert early == {"a": Verdict(Action.WAIT, 50), "b": GO, "s": GO}


def test_scratch_stops_by_its_own_curve_at_its_own_rung():
    scratch = Curve("s", "scratch", {50: 3.0, 100: 3.0}, diversity={50: 0.9, 100: 0.05})
    verdict = judge([*cell(a=[1.0], b=[]), scratch], RUNGS, RULE)["s"]
    assert (verdict.action, verdict.rung, verdict.why[:9]) == (Action.STOP, 100, "collapsed")


def test_scratch_without_transfers_is_compared_as_in_a_search_for_its_settings():
    curves = [Curve(key, "scratch", {50: value}, method=key) for key, value in (("fast", 1.0), ("slow", 2.0))]
    assert judge(curves, RUNGS, RULE) == {"fast": GO, "slow": Verdict(Action.STOP, 50)}


def test_a_diverged_trial_takes_a_place_among_the_worst_and_is_not_waited_for():
    curves = [*cell(a=[1.0], b=[2.0]), Curve("c", "c", {}, diverged=True), Curve("d", "d", {}, diverged=True)]
    verdicts = judge(curves, RUNGS, RULE)
    assert verdicts["a"] == verdicts["b"] == GO  # half of the four that set out


def test_a_failed_trial_does_not_count():
    curves = [*cell(a=[1.0], b=[2.0]), Curve("c", "c", {}, failed=True), Curve("d", "d", {}, failed=True)]
    verdicts = judge(curves, RUNGS, RULE)
    assert verdicts["a"] == GO
    assert verdicts["b"] == Verdict(Action.STOP, 50)


def test_nan_is_the_worst_value():
    verdicts = judge(cell(a=[math.nan], b=[1e9]), RUNGS, RULE)
    assert verdicts == {"a": Verdict(Action.STOP, 50), "b": GO}


def test_the_seeds_of_a_method_go_on_or_stop_together_by_their_mean():
    """Judged separately, the lucky seed of a would go on and one of b would stop."""
    values = {"a1": 1.0, "a2": 9.0, "b1": 3.0, "b2": 4.0, "c1": 4.5, "c2": 5.0, "d1": 2.0}
    curves = [Curve(key, "finetune", {50: value}, method=key[0]) for key, value in values.items()]
    verdicts = judge(curves, RUNGS, RULE)
    assert {key for key, verdict in verdicts.items() if verdict == GO} == {"b1", "b2", "d1"}
    waiting = judge([*curves[:-1], Curve("d1", "finetune", {}, method="d")], RUNGS, RULE)
    assert [key for key, verdict in waiting.items() if verdict == GO] == ["d1"]


def test_a_seed_that_crashed_or_diverged_leaves_its_method_to_the_others():
    curves = [
        Curve("a1", "s", {50: 1.0}, method="a"),
        Curve("a2", "s", {}, method="a", failed=True),
        Curve("b1", "s", {50: 2.0}, method="b"),
        Curve("b2", "s", {}, method="b", diverged=True),
        Curve("c1", "s", {}, method="c", diverged=True),
        Curve("d1", "s", {}, method="d", failed=True),
    ]
    verdicts = judge(curves, RUNGS, RULE)
    assert verdicts["a1"] == verdicts["b1"] == GO  # half of the three methods that set out, rounded up
    assert judge(curves, RUNGS, RULE.model_copy(update={"keep": 0.3}))["b1"] == Verdict(Action.STOP, 50)


def test_without_a_rule_no_trial_stops():
    verdicts = judge(cell(a=[1.0], b=[2.0]), RUNGS, StoppingConfig(rule="none"))
    assert set(verdicts.values()) == {GO}


@st.composite
def finished_cells(draw: st.DrawFn) -> list[Curve]:
    """Return cells whose trials have all values that full training would give, whether stopped or not."""
    methods, strategies = st.sampled_from(("", "m", "n")), st.sampled_from(("a", "b", "scratch"))
    n = draw(st.integers(1, 9))
    value, share = st.floats(0, 100) | st.just(math.nan), st.sampled_from((0.05, 0.9, 1.0))
    return [
        Curve(
            f"t{i}", draw(strategies), {rung: draw(value) for rung in RUNGS},
            diversity={rung: draw(share) for rung in RUNGS}, method=draw(methods),
        )
        for i in range(n)
    ]  # fmt: skip


@given(finished_cells(), st.randoms(), st.sampled_from([0.25, 0.5, 0.75]), st.booleans())
def test_the_outcome_does_not_depend_on_the_order_of_arrival(curves, random, keep, protect):
    """Trials arrive in random order as their verdicts allow; the same trials stop as if all values were known."""
    rule = StoppingConfig(keep=keep, protect_strategies=protect)
    final = judge(curves, RUNGS, rule)
    known: dict[str, dict[int, float]] = {curve.key: {} for curve in curves}
    while True:
        so_far = [replace(curve, values=known[curve.key]) for curve in curves]
        verdicts = judge(so_far, RUNGS, rule)
        movable = [c for c in curves if verdicts[c.key] == GO and len(known[c.key]) < len(RUNGS)]
        if not movable:
            break
        mover = random.choice(movable)
        rung = RUNGS[len(known[mover.key])]
        known[mover.key][rung] = mover.values[rung]
    assert verdicts == final
    assert all(verdict.action is not Action.WAIT for verdict in verdicts.values())
    for key, verdict in verdicts.items():
        assert max(known[key]) == (verdict.rung or RUNGS[-1])


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@given(curves=finished_cells())
def test_at_least_one_trial_of_a_cell_reaches_the_budget(curves, keep):
    verdicts = judge(curves, RUNGS, StoppingConfig(keep=keep, protect_strategies=False, collapse=0.0))
    assert GO in verdicts.values()


# -- rules for single trials, and audited cells ------------------------------------------------------------------------------


def diverse(key: str, values: list[float], diversity: list[float]) -> Curve:
    """Return a trial with its values and its diversity at the first rungs."""
    return Curve(key, key, dict(zip(RUNGS, values, strict=False)), diversity=dict(zip(RUNGS, diversity, strict=False)))


def test_a_trial_whose_samples_collapse_stops_at_once_and_takes_a_place_among_the_worst():
    rule = StoppingConfig(keep=0.75, protect_strategies=False)
    a = diverse("a", [1.0, 1.0], [0.9, 0.05])
    verdicts = judge([a, *cell(b=[2.0, 2.0], c=[3.0])], RUNGS, rule)
    assert (verdicts["a"].action, verdicts["a"].rung) == (Action.STOP, 100)
    assert verdicts["a"].why == "collapsed: its samples are 0.05 times as diverse as the reference images, and were 0.9 times"
    assert verdicts["b"] == Verdict(Action.WAIT, 100)
    verdicts = judge([a, *cell(b=[2.0, 2.0], c=[3.0, 3.0])], RUNGS, rule)
    assert [verdicts[key] for key in "bc"] == [GO, GO]  # three of three, rounded up, less the one that collapsed
    verdicts = judge([a, *cell(b=[2.0, 2.0], c=[3.0, 3.0])], RUNGS, rule.model_copy(update={"keep": 0.3}))
    assert [verdicts[key].rung for key in "abc"] == [100, 50, 50]


def test_a_generator_that_was_never_diverse_has_not_collapsed():
    verdicts = judge([diverse("a", [1.0, 1.0], [0.05, 0.03]), *cell(b=[2.0, 2.0])], RUNGS, RULE)
    assert verdicts["a"] == GO


def test_collapse_can_be_turned_off():
    curves = [diverse("a", [1.0, 1.0], [0.9, 0.05]), *cell(b=[2.0, 2.0])]
    assert judge(curves, RUNGS, RULE)["a"].why
    assert judge(curves, RUNGS, RULE.model_copy(update={"collapse": 0.0}))["a"] == GO


def test_a_trial_without_progress_stops_unless_it_is_the_best():
    rule = StoppingConfig(keep=1.0, plateau=1)
    verdicts = judge(cell(a=[1.0, 1.0], b=[2.0, 2.0], c=[3.0, 2.5], d=[3.0, math.nan]), RUNGS, rule)
    stopped = Verdict(Action.STOP, 100, "plateau: no better fid for 1 rung")
    assert verdicts == {"a": GO, "b": stopped, "c": GO, "d": stopped}


def test_the_seeds_of_a_method_without_progress_stop_together_by_their_mean():
    """The mean of b falls from 3 to 2.5, though one of its seeds does not improve; that of c does not fall, though one does."""
    values = {"a": [[1.0, 1.0]], "b": [[2.0, 3.0], [4.0, 2.0]], "c": [[5.0, 4.0], [5.0, 6.0]]}
    curves = [
        Curve(f"{method}{i}", "s", dict(zip(RUNGS, row, strict=False)), method=method)
        for method, rows in values.items() for i, row in enumerate(rows)
    ]  # fmt: skip
    verdicts = judge(curves, RUNGS, StoppingConfig(keep=1.0, plateau=1))
    assert {key for key, verdict in verdicts.items() if verdict.action is Action.STOP} == {"c0", "c1"}


def test_a_plateau_has_the_configured_length():
    rungs = (1, 2, 4, 8, 16)
    curves = [
        Curve("best", "s", dict.fromkeys(rungs, 0.0)),
        Curve("b", "s", dict(zip(rungs, (5.0, 3.0, 4.0, 3.0), strict=False))),
    ]
    for n, rung in ((1, 4), (2, 8), (3, None)):
        verdict = judge(curves[:1] + curves[1:], rungs, StoppingConfig(keep=1.0, plateau=n))["b"]
        assert verdict.rung == rung


def test_no_trial_stops_in_an_audited_cell_and_the_share_of_audited_cells_is_as_configured():
    curves = cell(a=[1.0], b=[2.0], c=[3.0])
    names = [f"cell {i}" for i in range(2000)]
    for share in (0.0, 0.1, 0.5, 1.0):
        rule = RULE.model_copy(update={"audit": share})
        free = [name for name in names if set(judge(curves, RUNGS, rule, name).values()) == {GO}]
        assert len(free) / len(names) == pytest.approx(share, abs=0.03)
        assert free == [name for name in names if audited(name, share)]


def test_the_cells_of_a_smaller_audit_are_among_those_of_a_larger_one():
    names = [f"cell {i}" for i in range(500)]
    small, large = ({name for name in names if audited(name, share)} for share in (0.1, 0.3))
    assert small < large


# -- a further rule ---------------------------------------------------------------------------------------------------------


def test_the_rule_of_the_book_stops_trials_once_it_is_in_the_registry(monkeypatch: pytest.MonkeyPatch):
    """Here its setting is fixed; a real one is a line in `StoppingConfig`."""
    page = (Path(__file__).resolve().parents[2] / "bench" / "README.md").read_text()
    (text,) = (text for text in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "(Rule)" in text)
    names: dict[str, Any] = {}
    exec(text, names)
    monkeypatch.setattr(StoppingConfig, "ceiling", 100.0, raising=False)
    curves = cell(a=[500.0], b=[1.0, 500.0, 500.0], c=[])
    assert judge(curves, RUNGS, RULE)["a"] == Verdict(Action.WAIT, 50)
    monkeypatch.setattr(stopping, "RULES", (*stopping.RULES, names["Ceiling"]))
    verdicts = judge(curves, RUNGS, RULE)
    assert verdicts == {"a": Verdict(Action.STOP, 50, "fid above 100"), "b": Verdict(Action.WAIT, 50), "c": GO}
