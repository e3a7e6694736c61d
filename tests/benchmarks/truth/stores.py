"""A simulated sweep as a store, as a real sweep would leave it: its plan, and trials stopped by the real rule."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.driver.ledger import Ledger
from bench.driver.results import Status
from bench.driver.stopping import Action, Verdict
from bench.run.confirmation import confirmation
from bench.store import Store, open_store
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row, record
from tests.benchmarks.truth.worlds import OTHER, RESOLUTION, RUNGS, Sweep
from trainers.config.embeddings import embedding_identity
from trainers.config.trial import TrialConfig

EMBEDDING, ENVIRONMENT = embedding_identity("builtin"), "simulated"

#: A folder in memory, where there is one: a store has some files, and there are hundreds of stores.
_MEMORY = Path("/dev/shm")


@contextmanager
def stored(sweep: Sweep) -> Iterator[Store]:
    """Yield a store with the results of a sweep; it is deleted when the block ends."""
    with TemporaryDirectory(prefix="transfergan-truth-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        store, name = open_store(str(Path(folder) / "store"), create=True), sweep.plan.spec.name
        store.write_sweep(name, record(sweep.plan))
        _write(store, sweep, sweep.plan, ends(sweep))
        store.append("distances", name, _distances(sweep))
        store.append("domains", name, _figures(sweep))
        store.append("environments", name, [{"environment": ENVIRONMENT, "details": "{}"}])
        if sweep.world.confirm:
            _confirm(store, sweep)
        yield store


def ends(sweep: Sweep) -> dict[str, tuple[Status, int]]:
    """Return how each trial ends, by the real rules, and the last step where it is measured."""
    status: dict[str, Status] = {trial.key: "done" for trial in sweep.plan.trials}
    values: dict[str, dict[int, float]] = {trial.key: {} for trial in sweep.plan.trials}
    for trial in sweep.plan.of_kind("adapt"):
        lost = sweep.diverges(trial.strategy, trial.seed)
        status[trial.key] = "diverged" if lost else "pending"
        reached = RUNGS[:1] if lost else RUNGS
        values[trial.key] = dict(zip(reached, np.exp2(sweep.curve(trial)).tolist(), strict=False))
    ledger = Ledger(sweep.plan, status, values)
    return {trial.key: _end(trial, status[trial.key], ledger.verdict(trial.key)) for trial in sweep.plan.trials}


def _end(trial: TrialConfig, status: Status, verdict: Verdict) -> tuple[Status, int]:
    assert verdict.action is not Action.WAIT
    if verdict.action is Action.STOP and verdict.rung is not None:
        return "stopped", verdict.rung
    return ("diverged", RUNGS[0]) if status == "diverged" else ("done", trial.training.steps)


def _confirm(store: Store, sweep: Sweep) -> None:
    """Write the confirmation of a sweep that has ended, planned by the real choice."""
    ledger = Ledger.open(sweep.plan, store)
    ledger.settle()
    confirming = confirmation(sweep.plan, ledger, store, sweep.world.confirm)
    store.write_sweep(confirming.plan.spec.name, confirming.record)
    ended = {trial.key: ("done", trial.training.steps) for trial in confirming.plan.trials}
    _write(store, sweep, confirming.plan, ended)


def _write(store: Store, sweep: Sweep, plan: Plan, ended: Mapping[str, tuple[str, int]]) -> None:
    """Write the outcomes and measurements of the trials of a plan, one part of each table."""
    trials, measurements = [], []
    drawn: dict[tuple[Any, ...], np.ndarray] = {}
    for trial in plan.trials:
        status, steps = ended[trial.key]
        trials.append(outcome_row(trial, status, ENVIRONMENT, steps=steps))
        if trial.kind == "pretrain":
            continue
        method = (trial.domain.name, trial.size, trial.strategy, trial.source and trial.source.name)
        if method not in drawn:
            drawn[method] = np.exp2(sweep.replicates(*method))
        for step, log in zip(RUNGS, sweep.curve(trial), strict=True):
            if step > steps:
                break
            row = {
                "trial": trial.key, "step": step, "metric": "fid", "embedding": EMBEDDING, "value": float(2**log),
                "samples": 1000, "images_seen": 64 * step, "seconds": 0.1 * step, "view": trial.evaluation.view, "version": "1",
            }  # fmt: skip
            measurements.append({**row, "replicates": (row["value"] * drawn[method]).tolist()})
    store.append("trials", plan.spec.name, trials)
    store.append("measurements", plan.spec.name, measurements)


def _distances(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the rows of table `distances`: FID and KID of the real images, FID of generated ones."""
    generators = {trial.as_source.name: trial.key for trial in sweep.plan.of_kind("pretrain")}
    random, rows = sweep.random("other distances"), []
    for target, of_target in zip(sweep.world.layout.targets, sweep.distances, strict=False):
        for source, log in zip(sweep.world.layout.sources, of_target, strict=True):
            pair = {"source": source, "target": target, "resolution": RESOLUTION, "embedding": EMBEDDING}
            pair |= {"source_samples": 1000, "target_samples": 1000}
            kid, generated = 2.0 ** (log + random.normal(0, OTHER, 2))
            rows.append({**pair, "kind": "fid", "value": float(2**log)})
            rows.append({**pair, "kind": "kid", "value": kid / 900, "low": kid / 1000, "high": kid / 800})
            rows.append({**pair, "kind": "fid", "value": generated, "trial": generators[source]})
    return rows


def _figures(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the rows of table `domains`: diversity and spacing of the sources, which have no effect."""
    random = sweep.random("figures")
    common = {"resolution": RESOLUTION, "embedding": EMBEDDING, "samples": 1000}
    return [
        {**common, "domain": source, "figure": figure, "value": float(value)}
        for figure in ("diversity", "spacing")
        for source, value in zip(
            sweep.world.layout.sources, np.exp2(random.normal(0, 0.5, len(sweep.world.layout.sources))), strict=True
        )
    ]
