"""Tuning: searches the best learning rates, budget and options of each strategy on a held-out target, before the sweep.

A search is a plan like any other. Its trials, of kind "tune", are run, stopped early, stored and resumed like all trials; the
settings of one strategy compete in a cell. The result is recorded with the search's plan. The sweep's trials contain the
identity of the search, and trials with the same identity are compared although their settings differ.

The identity covers how the search judged, for another judge may choose other settings. A sweep that is only evaluated otherwise
keeps the search that the store has: its trials are then the same ones, and are measured anew without training.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from types import MappingProxyType
from typing import Any

from bench.driver.ledger import Ledger
from bench.store import Store
from bench.store.plans import read_all
from bench.sweeps.expansion import Imports, make_plan
from bench.sweeps.misfits import held_out
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.metrics import label
from trainers.config.settings import TrainingConfig
from trainers.config.sources import renamed
from trainers.config.trial import TUNED, TrialConfig
from trainers.domains import Domain, get

#: What is tuned separately: a strategy's name, and whether it is conditional.
Method = tuple[str, bool]

#: What a search tries: settings of the training, and the strategy's name with options (None: as the sweep names it).
Setting = tuple[TrainingConfig, str | None]

#: The result of a search as plain data; see `Search.choose`.
Record = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """The search of a sweep with `tuning`; make one with :meth:`of`.

    Attributes:
        sweep: the sweep's plan with its own setting.
        held_out: the plan of the same strategies on the held-out target with that setting.
        identity: content hash of everything that determines the result, except the list of strategies.
    """

    sweep: Plan
    held_out: Plan
    identity: str

    @classmethod
    def of(
        cls, sweep: Plan, imports: Imports = MappingProxyType({}), find: Callable[[str], Domain] = get
    ) -> "Search":  # fmt: skip
        """Return the search of a sweep with `tuning`; see `make_plan`. Raises UserError if its target is one of the sweep's."""
        spec = sweep.spec
        tuning = spec.tuning
        assert tuning is not None
        held = spec.model_copy(
            update={
                "sources": spec.sources[:1] if tuning.source is None else (tuning.source,), "targets": (tuning.target,),
                "sizes": (tuning.size,), "augmentation": spec.augmentation[:1], "seeds": tuning.seeds, "tuning": None,
            }
        )  # fmt: skip
        plan = make_plan(held, imports, find)
        compared = {trial.domain.fingerprint for trial in sweep.of_kind("adapt")}
        if any(trial.domain.fingerprint in compared for trial in plan.of_kind("adapt")):
            raise UserError(held_out(tuning.target))  # by another name than the sweep's
        evaluation = spec.evaluation
        identity = _digest(spec, plan, [evaluation.view, evaluation.first_rung, evaluation.rung_factor])
        named = held.model_copy(update={"name": f"{spec.name[:49]}-tuning-{identity[:6]}"})
        return cls(sweep, replace(plan, spec=named), identity)

    def plan(self, settings: Iterable[TrainingConfig] | None = None) -> Plan:
        """Return the plan of the search: every method with every setting.

        By default these are proposed by Ray Tune, with options for each strategy; with `settings` options are as named.
        """
        adapts = self.held_out.of_kind("adapt")
        names = dict.fromkeys(trial.strategy or "" for trial in adapts)
        if settings is None:
            from bench.on_ray import proposals

            spec, tuning = self.sweep.spec, self.sweep.spec.tuning
            assert tuning is not None
            proposed = [*proposals.settings(tuning, spec.training)]
            options = {name: proposals.options(tuning, name, spec.gan) for name in names}
        else:
            proposed = [*settings]
            options = {name: (None,) * len(proposed) for name in names}
        trials = (
            trial.model_copy(update={"kind": "tune", "training": training, "with_options": options[trial.strategy or ""][i]})
            for i, training in enumerate(proposed)
            for trial in adapts
        )
        tried = {trial.key: trial for trial in trials}  # a setting that was drawn twice is tried once
        return replace(self.held_out, trials=(*self.held_out.of_kind("pretrain"), *tried.values()))

    def choose(self, search: Plan, ledger: Ledger, store: Store) -> Record:
        """Return the result of a search: for each method the setting with the lowest mean over its seeds, and the cost.

        Every trial of `ledger`, which is that of the plan `search`, must have ended.

        Returns:
            "search": the identity; "target", "source", "size", "metric", "view" (how it judged); "tried": the number of
            settings; "cost": "trials", "steps", "seconds", and "cpus" and "gpus" of a trial; "methods": a list of "strategy",
            "conditional", the setting with "with_options" (None: as named), its "value", and the value of the sweep's "own"
            setting (None if that did not run to its end).

        Raises:
            UserError: no setting of a method ran to its end.
        """
        spec = search.spec
        runs: dict[Method, dict[Setting, list[TrialConfig]]] = {_method(t): {} for t in search.of_kind("tune")}
        for trial in search.of_kind("tune"):
            runs[_method(trial)].setdefault((trial.training, trial.with_options), []).append(trial)
        methods = []
        for (strategy, conditional), by_setting in runs.items():
            values = {
                setting: mean
                for setting, trials in by_setting.items()
                if all(ledger.status[trial.key] == "done" for trial in trials)
                and math.isfinite(mean := fmean(ledger.values[trial.key][setting[0].steps] for trial in trials))
            }
            if not values:
                raise UserError(
                    f"tuning: of strategy {strategy!r} no setting ran to its end on {spec.targets[0]!r}; lower "
                    "tuning.learning_rate, or raise tuning.trials"
                )
            training, with_options = best = min(values, key=values.__getitem__)
            setting = {**{name: getattr(training, name) for name in TUNED}, "with_options": with_options}
            scores = {"value": values[best], "own": values.get((self.sweep.spec.training, None))}
            methods.append({"strategy": strategy, "conditional": conditional, **setting, **scores})
        return {
            "search": self.identity,
            "target": renamed(search.of_kind("tune")[0].domain.name, spec.labels),
            "source": next((renamed(trial.source.name, spec.labels) for trial in search.of_kind("tune") if trial.source), None),
            "size": search.of_kind("tune")[0].size,
            "metric": spec.stopping.metric,
            "view": spec.evaluation.view,
            "tried": len(next(iter(runs.values()))),
            "cost": self._cost(search, store),
            "methods": methods,
        }

    def _cost(self, search: Plan, store: Store) -> dict[str, float]:
        """Return the cost of the search's trials; sources that the sweep needs too are not counted."""
        measured = store.read("measurements")
        rows = measured[measured["trial"].isin(search.by_key.keys() - self.sweep.by_key.keys())]
        last = rows.groupby("trial")[["step", "seconds"]].max().sum()
        cost = {"trials": int(rows["trial"].nunique()), "steps": int(last["step"]), "seconds": float(last["seconds"])}
        return {**cost, "cpus": search.spec.resources.cpus, "gpus": search.spec.resources.gpus}

    def recorded(self, store: Store) -> Record | None:
        """Return the result of this search from the store, or None if it lacks a method.

        The result of a search that differs in `evaluation` alone counts too; that of this very search comes first.
        """
        methods = set(map(_method, self.held_out.of_kind("adapt")))
        otherwise_judged = None
        for planned in read_all(store):
            record: Record = {"view": planned.get("view"), **(planned.get("tuning") or {})}
            if not _chosen(record).keys() >= methods:
                continue
            if record["search"] == self.identity:
                return record
            before = planned["spec"].get("evaluation", {})
            judge = [record["view"], before.get("first_rung"), before.get("rung_factor")]
            if otherwise_judged is None and record["search"] == _digest(self.sweep.spec, self.held_out, judge):
                otherwise_judged = record
        return otherwise_judged

    def note(self, record: Record) -> str | None:
        """Return a line that says so if a recorded result is that of a search which judged otherwise."""
        if record["search"] == self.identity:
            return None
        return (
            f"tuning: the settings are those of a search that was judged in {record['view']}, with its own rungs; to search in "
            "this evaluation, set another tuning.seed"
        )

    def tuned(self, record: Record) -> Plan:
        """Return the sweep's plan with the setting that a search found for each method's adaptations."""
        chosen = _chosen(record)

        def with_setting(trial: TrialConfig) -> TrialConfig:
            if trial.kind == "pretrain":
                return trial
            setting = chosen[_method(trial)]
            training = trial.training.model_copy(update={name: setting[name] for name in TUNED})
            update = {"training": training, "tuned": record["search"], "with_options": setting["with_options"]}
            return trial.model_copy(update=update)

        tuned = {trial.key: with_setting(trial) for trial in self.sweep.trials}
        return replace(
            self.sweep, trials=tuple(tuned.values()), grid=tuple(tuned[key].key for key in self.sweep.grid)
        )  # fmt: skip


def lines(record: Record) -> list[str]:
    """Return the result of a search as text: a line for each method, and one for the cost."""
    metric, cost = label(record["metric"]), record["cost"]
    text = []
    for row in record["methods"]:
        own = "" if row["own"] is None else f", with the sweep's own {row['own']:.4g}"
        name = (row.get("with_options") or row["strategy"]) + (", conditional" if row["conditional"] else "")
        rate = f"{row['generator_lr']:g}" + (
            "" if row["critic_lr"] == row["generator_lr"] else f" (critic {row['critic_lr']:g})"
        )
        text.append(f"{name}: learning rate {rate}, {counted(row['steps'], 'step')}: {metric} {row['value']:.4g}{own}")
    total = f"{counted(cost['trials'], 'trial')}, {counted(cost['steps'], 'step')}, {cost['seconds']:,.0f} s"
    text.append(f"{counted(record['tried'], 'setting')} of each strategy on {record['target']}: {total}")
    return text


def _digest(spec: SweepSpec, plan: Plan, judge: list[Any]) -> str:
    """Return the hash of the search's settings and data, by content and not by name.

    `judge` is what decides its choice apart from them: the view of its evaluation, the first rung and the factor.
    """
    assert spec.tuning is not None
    decisive = {
        "cells": sorted(plan.cells),  # the target, its size, the networks, the training without its budget
        "steps": spec.training.steps,
        "evaluation": judge,
        "sources": sorted({trial.source.fingerprint for trial in plan.trials if trial.source}),
        "tuning": spec.tuning.model_dump(mode="json", exclude={"target", "source"}),
        "stopping": spec.stopping.model_dump(mode="json"),
        "pretrain": spec.pretrain.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _method(trial: TrialConfig) -> Method:
    return trial.strategy or "", trial.conditional


def _chosen(record: Record) -> Mapping[Method, dict[str, Any]]:
    """Return the settings in a record, by method."""
    return {
        (row["strategy"], row["conditional"]): {"with_options": row.get("with_options"), **{name: row[name] for name in TUNED}}
        for row in record.get("methods", ())
    }
