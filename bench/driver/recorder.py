"""The rows that the driver writes: the outcomes of trials that are stopped, failed or blocked.

A trial's own process records the other outcomes (see `bench.worker.trial`).
"""

from collections.abc import Mapping
from typing import Any

from bench.driver.ledger import ENDED, Ledger
from bench.store import Store
from bench.store.environments import record_environment
from bench.store.trial_files import checkpoint_paths, real_samples_path, samples_path
from bench.sweeps.rows import outcome_row


class Recorder:
    """Writes outcomes from the ledger, and from the last report of each trial."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store
        self._reports: dict[str, Mapping[str, Any]] = {}

    def keep(self, key: str, report: Mapping[str, Any]) -> None:
        """Keep a trial's report of a rung, for its outcome; forget it if the trial has ended, because that is recorded."""
        if self._ledger.status[key] in ENDED:
            self._reports.pop(key, None)
        else:
            self._reports[key] = report

    def write(self, key: str) -> None:
        """Write a trial's outcome. Raises StoreUnwritableError."""
        ledger, store, sweep = self._ledger, self._store, self._ledger.plan.spec.name
        trial, report, step = ledger.plan.by_key[key], self._reports.get(key, {}), ledger.last_rung(key)
        checkpoints, samples, real = checkpoint_paths(store, key), samples_path(key, step), real_samples_path(trial)
        row = outcome_row(
            trial,
            ledger.status[key],
            report.get("environment") or record_environment(store, sweep),
            report,
            steps=step,
            checkpoint=checkpoints[-1] if checkpoints else None,
            samples=samples if store.has_file(samples) else None,
            real_samples=real if store.has_file(real) else None,
            error=ledger.reasons.get(key),
            rule=ledger.plan.spec.stopping.canonical_json() if ledger.status[key] == "stopped" else None,
        )
        store.append("trials", sweep, [row])
        self._reports.pop(key, None)
