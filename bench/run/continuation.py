"""The plan of one trial that is trained further than its sweep asked for, as a final model."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from pydantic import ValidationError

from bench.store import Store
from bench.store.plans import read_all
from bench.sweeps.plan import Plan
from bench.sweeps.rows import recorded
from bench.sweeps.spec import StoppingConfig
from trainers.common.errors import UserError
from trainers.config.settings import MOST_STEPS
from trainers.config.trial import TrialConfig


def continuation(store: Store, key: str, steps: int) -> Plan:
    """Return the plan that takes a trial to `steps` generator steps, with the sources that it starts from.

    Raises:
        UserError: no sweep of this version planned the trial, its end is part of what it is, or it has gone as far already.
    """
    plan = _planned(store, key)
    trial = plan.by_key[key]
    if trial.imported:
        raise UserError(f"--trial {key}: {trial.as_source.name!r} is an import, which has no training to continue")
    if trial.kind == "pretrain":
        raise UserError(f"--trial {key} is a source, from whose end other trials start; set pretrain.steps in its sweep file")
    if trial.has_fixed_budget:
        raise UserError(f"--trial {key}: the phases of {trial.strategy} are shares of its budget; set training.steps instead")
    trials = store.read("trials")
    reached = trials.loc[trials["key"] == key, "steps"].max()
    reached = 0 if pd.isna(reached) else int(reached)
    if not reached <= steps <= MOST_STEPS:
        raise UserError(
            f"--steps {steps:,}: trial {key} has reached step {reached:,}; give a later one, at most {MOST_STEPS:,}"
        )
    training = trial.training.model_copy(update={"steps": steps})
    longer = trial.model_copy(update={"training": training})
    vars(longer).update(key=key, cell=trial.cell)  # as in `bench.sweeps.rows.recorded_trial`
    spec = plan.spec.model_copy(
        update={
            "name": f"continue-{key}", "training": training, "confirm": None, "tuning": None,
            "stopping": StoppingConfig(rule="none", metric=plan.spec.stopping.metric),
        }
    )  # fmt: skip
    return replace(plan, spec=spec, trials=(*_sources(plan, trial), longer), grid=(key,), notes=())


def _planned(store: Store, key: str) -> Plan:
    for planned in read_all(store):
        if any(row["key"] == key for row in planned["trials"]) and not planned.get("continues"):
            try:
                return recorded(planned)
            except ValidationError:
                continue
    raise UserError(f"--trial {key}: no sweep of store {store.uri!r} that this version reads has planned it")


def _sources(plan: Plan, trial: TrialConfig) -> Iterator[TrialConfig]:
    """Yield the pretrain trials that a trial starts from, the first of a chain first."""
    if trial.parent is not None:
        parent = plan.by_key[trial.parent]
        yield from _sources(plan, parent)
        yield parent
