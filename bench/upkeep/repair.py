"""Reopening of trials whose measurements or last checkpoint the store has lost."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from bench.driver.ledger import Ledger
from bench.store import Store
from bench.store.environments import record_environment
from bench.store.schema import FINISHED
from bench.store.store import READERS
from bench.store.trial_files import check_checkpoint, checkpoints_by_trial
from bench.sweeps.plan import Plan
from bench.sweeps.rows import trial_of
from bench.upkeep.check import rungs_until, steps_by_trial
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError


def reopen(plan: Plan, ledger: Ledger, store: Store) -> Iterator[str]:
    """Reopen the trials of a plan whose measurements or last checkpoint the store has lost. To be called before a run.

    A trial resumes from its last checkpoint if no measurement up to it is lost; otherwise it restarts, and its checkpoints are
    set aside. On the same kind of machine the repeated measurements are equal to the lost ones. Yields a line per trial.
    """
    trials = store.read("trials")
    if set(trials["environment"].dropna()) - set(store.read("environments")["environment"]):
        record_environment(store, plan.spec.name)  # the lost row may be this machine's
    rows = {row["key"]: row for row in trials[trials["status"].isin(FINISHED)].to_dict("records")}
    # A trial publishes measurements before checkpoints; in the opposite order none of a running trial's can seem lost.
    undamaged, written_by = _checkpoints(plan, ledger, store)
    measured = steps_by_trial(store.read("measurements"))
    for key, trial in plan.by_key.items():
        row, checkpoints = rows.get(key), undamaged.get(key, {})
        if row is None and not checkpoints:
            continue
        last = max(checkpoints, default=0)
        # The run that trained it may have evaluated it at other rungs than this plan does, and have left before the last one.
        config, measured_until = written_by.get(key, (None, None))
        until = last if measured_until is None else measured_until
        needed = rungs_until(trial_of(config) or trial, "running", until) if row is None else set()
        lost = []
        if row is not None:
            steps = 0 if pd.isna(row["steps"]) else int(row["steps"])
            needed |= rungs_until(trial_of(row["config"]) or trial, row["status"], steps)
            recorded = row["checkpoint"]
            if isinstance(recorded, str) and not any(name >= recorded for name in checkpoints.values()):
                lost.append("its last checkpoint")
        missing = sorted(needed - measured.get(key, set()))
        if missing:
            lost.append("its measurements at step " + ", ".join(map(str, missing)))
        if not lost:
            continue
        if checkpoints and missing and missing[0] <= last:
            for name in checkpoints.values():
                store.set_aside(name, "its trial restarts, because measurements before it are lost")
            last = 0
        ledger.reopen(key, last)
        action = f"resumes from step {last}" if last else "restarts"
        yield f"trial {key} {action}: the store has lost {' and '.join(lost)}"


#: Of the trial that wrote a checkpoint: its configuration, and the last rung that it had measured. None: the file does not say.
_Writer = tuple[str | None, int | None]


def _checkpoints(plan: Plan, ledger: Ledger, store: Store) -> tuple[dict[str, dict[int, str]], dict[str, _Writer]]:
    """Return a plan's undamaged checkpoints by trial and step, and by trial what the last one says if it was read.

    Damaged checkpoints are set aside. Those that the run will read are checked whole; of the others, which may be many and
    large, only the length.
    """
    files = store.files("checkpoints", below=True)
    checkpoints = checkpoints_by_trial(files)
    planned = [name for key in plan.by_key for name in checkpoints.get(key, {}).values()]
    unfinished = ledger.open_trials()
    readers = {*unfinished, *(plan.by_key[key].parent for key in unfinished)}
    will_be_read = {name for key in readers if key for name in checkpoints.get(key, {}).values()}

    writers: dict[str, _Writer] = {}

    def is_whole(name: str) -> bool:
        try:
            if name in will_be_read:
                data = store.read_file(name)
                check_checkpoint(store, name, data)
                header = sealed_tensors.metadata(data)
                writers[name] = header["trial"], _reported_step(header.get("report", ""))
            expected = sealed_tensors.length(lambda count: store.read_file(name, count))
            if expected != files[name].size:
                raise DamagedError(f"it has {files[name].size:,} bytes instead of {expected:,}")
        except DamagedError as error:
            store.set_aside(name, str(error))
            return False
        except FileNotFoundError:  # replaced by another driver's trial since it was listed
            return False
        return True

    with ThreadPoolExecutor(READERS) as pool:
        whole = [name for name, usable in zip(planned, pool.map(is_whole, planned), strict=True) if usable]
    by_trial = checkpoints_by_trial(whole)
    return by_trial, {key: writers[steps[last]] for key, steps in by_trial.items() if steps[last := max(steps)] in writers}


def _reported_step(report: str) -> int | None:
    """Return the step in the report of a checkpoint, JSON; None for other content."""
    try:
        step = json.loads(report)["steps"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return step if isinstance(step, int) else None
