"""Tuning: for each strategy the learning rate and the budget that do best on a held-out target, before the sweep.

A search is a plan like any other. Its trials, of kind "tune", are run, stopped early, kept and taken up again as all are; in a
cell of theirs the settings of one strategy compete. What comes of it is recorded with what the search planned; the sweep's
trials bear the search's identity, and those of one search are compared though their settings differ.
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
from bench.sweeps.plan import Imports, Plan, make_plan
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError
from trainers.config.metrics import label
from trainers.config.settings import TrainingConfig
from trainers.config.trial import TUNED, TrialConfig
from trainers.domains import Domain, get

#: What is tuned for itself: a strategy, as it is called in its cell, and whether it is conditional.
Method = tuple[str, bool]

#: What a search has found, as plain data: see `Search.choose`.
Record = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """The search that a sweep asks for; make one with :meth:`of`.

    Attributes:
        sweep: the sweep's plan, not tuned.
        held_out: the plan of the same strategies on the held-out target, at the sweep's own setting.
        identity: content hash of all that decides what is found, but for which strategies there are.
    """

    sweep: Plan
    held_out: Plan
    identity: str

    @classmethod
    def of(
        cls, sweep: Plan, imports: Imports = MappingProxyType({}), find: Callable[[str], Domain] = get
    ) -> "Search":  # fmt: skip
        """Return the search of a sweep that has `tuning`; the arguments are as of `make_plan`.

        Raises:
            UserError: the target is not held out; or as `make_plan`.
        """
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
            raise UserError(
                f"tuning.target: {tuning.target!r} is one of the sweep's targets; name a domain that is held out, on which no "
                "strategy is compared"
            )
        identity = _digest(spec, plan)
        named = held.model_copy(update={"name": f"{spec.name[:49]}-tuning-{identity[:6]}"})
        return cls(sweep, replace(plan, spec=named), identity)

    def plan(self, settings: Iterable[TrainingConfig] | None = None) -> Plan:
        """Return the plan of the search: every method with every setting; by default with those that Ray Tune proposes."""
        if settings is None:
            from bench.on_ray import proposals

            assert self.sweep.spec.tuning is not None
            settings = proposals.settings(self.sweep.spec.tuning, self.sweep.spec.training)
        adapts = self.held_out.of_kind("adapt")
        tried = (each.model_copy(update={"kind": "tune", "training": one}) for one in settings for each in adapts)
        return replace(self.held_out, trials=(*self.held_out.of_kind("pretrain"), *tried))

    def choose(self, search: Plan, ledger: Ledger, store: Store) -> Record:
        """Return what a search has found: of each method the setting with the least mean over its seeds, and what it cost.

        Args:
            search: its plan.
            ledger: of that plan; every trial has ended.
            store: where they were measured.

        Returns:
            "search", the identity; "target", "source", "size", "metric"; "tried", how many settings; "cost": "trials",
            "steps", "seconds", and "cpus" and "gpus" of a trial; "methods": a list of "strategy", "conditional", the setting,
            its "value", and that of the sweep's "own" setting (None where it did not run to its end).

        Raises:
            UserError: of a method no setting ran to its end.
        """
        spec = search.spec
        runs: dict[Method, dict[TrainingConfig, list[TrialConfig]]] = {_method(t): {} for t in search.of_kind("tune")}
        for trial in search.of_kind("tune"):
            runs[_method(trial)].setdefault(trial.training, []).append(trial)
        methods = []
        for (strategy, conditional), by_setting in runs.items():
            values = {
                setting: fmean(ledger.values[trial.key][setting.steps] for trial in trials)
                for setting, trials in by_setting.items()
                if all(ledger.status[trial.key] == "done" for trial in trials)
            }
            values = {setting: value for setting, value in values.items() if math.isfinite(value)}
            if not values:
                raise UserError(
                    f"tuning: of strategy {strategy!r} no setting ran to its end on {spec.targets[0]!r}; lower "
                    "tuning.learning_rate, or raise tuning.trials"
                )
            best = min(values, key=values.__getitem__)
            own = {"value": values[best], "own": values.get(self.sweep.spec.training)}
            methods.append({"strategy": strategy, "conditional": conditional, **_setting(best), **own})
        return {
            "search": self.identity,
            "target": spec.targets[0],
            "source": next(iter(spec.sources), None),
            "size": search.of_kind("tune")[0].size,
            "metric": spec.stopping.metric,
            "tried": len(next(iter(runs.values()))),
            "cost": self._cost(search, store),
            "methods": methods,
        }

    def _cost(self, search: Plan, store: Store) -> dict[str, float]:
        """Return what the search took beyond what the sweep takes: sources that both need are the sweep's."""
        measured = store.read("measurements")
        own = measured[measured["trial"].isin(search.by_key.keys() - self.sweep.by_key.keys())]
        last = own.groupby("trial")[["step", "seconds"]].max().sum()
        taken = {"trials": int(own["trial"].nunique()), "steps": int(last["step"]), "seconds": float(last["seconds"])}
        return {**taken, "cpus": search.spec.resources.cpus, "gpus": search.spec.resources.gpus}

    def recorded(self, store: Store) -> Record | None:
        """Return what this search has found, where the store has it for every method; else None."""
        for planned in store.read_sweeps().values():
            record: Record = planned.get("tuning") or {}
            if record.get("search") == self.identity and _chosen(record).keys() >= set(map(_method, self._adapts)):
                return record
        return None

    def tuned(self, record: Record) -> Plan:
        """Return the sweep's plan, each method's adaptations with the setting that was found for it."""
        chosen = _chosen(record)

        def own(trial: TrialConfig) -> TrialConfig:
            if trial.kind == "pretrain":
                return trial
            training = trial.training.model_copy(update=chosen[_method(trial)])
            return trial.model_copy(update={"training": training, "tuned": self.identity})

        tuned = {trial.key: own(trial) for trial in self.sweep.trials}
        return replace(
            self.sweep, trials=tuple(tuned.values()), grid=tuple(tuned[key].key for key in self.sweep.grid)
        )  # fmt: skip

    @property
    def _adapts(self) -> tuple[TrialConfig, ...]:
        return self.held_out.of_kind("adapt")


def lines(record: Record) -> list[str]:
    """Return what a search has found, a line for each method, and what it cost."""
    metric, cost = label(record["metric"]), record["cost"]
    said = []
    for row in record["methods"]:
        own = "" if row["own"] is None else f", with the sweep's own {row['own']:.4g}"
        name = row["strategy"] + (", conditional" if row["conditional"] else "")
        rate = f"{row['generator_lr']:g}" + (
            "" if row["critic_lr"] == row["generator_lr"] else f" (critic {row['critic_lr']:g})"
        )
        said.append(f"{name}: learning rate {rate}, {row['steps']:,} steps: {metric} {row['value']:.4g}{own}")
    took = f"{cost['trials']:,} trials, {cost['steps']:,} steps, {cost['seconds']:,.0f} s"
    said.append(f"{record['tried']} settings of each strategy on {record['target']}: {took}")
    return said


def _digest(spec: SweepSpec, plan: Plan) -> str:
    """Return the hash of what is searched, and where: by content, not by name."""
    assert spec.tuning is not None
    said = {
        "cells": sorted(plan.cells),  # the target, its size, the networks, the training, the evaluation
        "sources": sorted({trial.source.fingerprint for trial in plan.trials if trial.source}),
        "tuning": spec.tuning.model_dump(mode="json", exclude={"target", "source"}),
        "stopping": spec.stopping.model_dump(mode="json"),
        "pretrain": spec.pretrain.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _method(trial: TrialConfig) -> Method:
    return trial.strategy or "", trial.conditional


def _setting(training: TrainingConfig) -> dict[str, Any]:
    return {name: getattr(training, name) for name in TUNED}


def _chosen(record: Record) -> Mapping[Method, dict[str, Any]]:
    """Return the settings in a record by method."""
    return {(row["strategy"], row["conditional"]): {name: row[name] for name in TUNED} for row in record.get("methods", ())}
