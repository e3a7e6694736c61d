"""Begins a source where a shorter training of the same ended; up to there they are equal to the bit.

A source's end is part of its key, since other trials start from there, so a longer training is another trial. It has the
results that it shares with the shorter one under its own key, as if it had been trained from the start.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from bench.store import Store
from bench.store.trial_files import (
    check_checkpoint,
    critic_path,
    critics,
    generator_path,
    generators,
    nearest_path,
    samples_path,
)
from bench.worker.publishing import Publisher, read_checkpoint
from trainers.common.errors import DamagedError
from trainers.config.metrics import metrics, plain_name
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.checkpoints import Checkpoint


def begin(publisher: Publisher) -> None:
    """Publish what a source shares with the longest shorter one that the store has; its checkpoint is last then.

    The store has these results once each: rungs that only the shorter one has, and metrics of its last rung, are left out.
    Nothing is published unless the shorter one was measured at every rung that they share.
    """
    from trainers.trial import checkpoints

    store, trial = publisher.store, publisher.trial
    shorter = _longest_shorter(store, trial)
    if shorter is None:
        return
    shared = [step for step in (0, *trial.rungs) if step <= shorter.step]
    rows, stored = _rows(store, shorter.trial.key, shared), _whole(store, generators(store, shorter.trial.key), shared)
    if {row["step"] for row in rows} != {*shared} or shared[-1] not in stored:
        return
    held = publisher.held
    for step, generator in stored.items():
        data = checkpoints.repack(generator, trial, generator.report, checkpoints.GENERATOR)
        store.write_file(generator_path(trial.key, step), data, held)
    for step, critic in _whole(store, critics(store, shorter.trial.key), shared).items():
        data = checkpoints.repack(critic, trial, critic.report, checkpoints.CRITIC)
        store.write_file(critic_path(trial.key, step), data, held)
    store.append("measurements", publisher.sweep, [{**row, "trial": trial.key} for row in rows], held)
    for step in shared:
        for path in (samples_path, nearest_path):
            if store.has_file(grid := path(shorter.trial.key, step)):
                store.write_file(path(trial.key, step), store.read_file(grid), held)
    # As a checkpoint between two rungs has it, if the shorter one did not end at a rung of this one.
    times = {name: shorter.report.get(name) for name in ("seconds", "evaluation_seconds")}
    report = {**stored[shared[-1]].report, **times}
    publisher.save(shorter.step, checkpoints.repack(shorter, trial, report, ("",)))
    publisher.last = read_checkpoint(store, trial.key)


def _longest_shorter(store: Store, trial: TrialConfig) -> "Checkpoint | None":
    """Return the end of the longest source that is this one but for an earlier end, if training can continue from it."""
    trials = store.read("trials")
    sources = trials[(trials["kind"] == "pretrain") & (trials["status"] == "done")]
    keys = set(sources["key"])
    for steps in sorted((int(budget) for budget in sources["budget"].dropna().unique()), reverse=True):
        training = trial.training.model_copy(update={"steps": steps})
        key = trial.model_copy(update={"training": training}).key
        if steps < trial.training.steps and key in keys:
            checkpoint = read_checkpoint(store, key)
            if checkpoint is not None and checkpoint.step == steps and checkpoint.resumable and _goes_on(checkpoint):
                return checkpoint
    return None


def _goes_on(end: "Checkpoint") -> bool:
    """Return whether a longer training passes this end: it is no plateau, and no evaluation there that the longer one lacks."""
    from trainers.trial.plateau import Plateau

    until = end.trial.until
    return until is None or (end.step % until.every == 0 and Plateau(until, end.report).since < until.patience)


def _rows(store: Store, key: str, steps: Collection[int]) -> list[dict[str, Any]]:
    """Return what is measured of a source at some steps, without the metrics that the last rung has in addition."""
    table = store.read_rows("measurements")
    known = metrics()

    def is_of_any_rung(metric: str) -> bool:
        return not ((record := known.get(plain_name(metric))) and record.last_rung_only)

    rows = table.filter(pc.equal(table["trial"], key)).drop_columns(["sweep", "recorded_at"]).to_pylist()
    return [row for row in rows if row["step"] in steps and is_of_any_rung(row["metric"])]


def _whole(store: Store, paths: Mapping[int, str], steps: Collection[int]) -> "dict[int, Checkpoint]":
    """Return the undamaged networks, given their paths by step, at some steps."""
    from trainers.trial import checkpoints

    whole = {}
    for step, path in paths.items():
        if step in steps:
            try:
                check_checkpoint(store, path, data := store.read_file(path))
            except DamagedError as error:
                store.set_aside(path, str(error))
                continue
            whole[step] = checkpoints.load(data, path)
    return whole
