"""What a sweep must do again because the store has lost it: measurements, and checkpoints of trials that have ended."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.driver.ledger import Ledger
from bench.store import Store
from bench.store.environments import record_environment
from bench.store.schema import FINISHED
from bench.store.store import READERS
from bench.store.trial_files import checkpoints_by_trial
from bench.sweeps.plan import Plan
from bench.upkeep.check import rungs_until, steps_by_trial
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError


def reopen(plan: Plan, ledger: Ledger, store: Store) -> Iterator[str]:
    """Reopen the trials of a plan of which the store has lost measurements or the last checkpoint, before anything is run.

    A trial goes on from its last checkpoint where nothing before it is lost; else it begins anew, and its checkpoints are set
    aside. On the same kind of machine it measures the same again.

    Yields:
        a line per trial that is reopened.
    """
    trials = store.read("trials")
    if set(trials["environment"].dropna()) - set(store.read("environments")["environment"]):
        record_environment(store, plan.spec.name)  # perhaps it was this machine's row
    rows = {row["key"]: row for row in trials[trials["status"].isin(FINISHED)].to_dict("records")}
    # In this order, against that in which a trial publishes them: one that runs elsewhere meanwhile has lost nothing.
    kept = _checkpoints(plan, ledger, store)
    measured = steps_by_trial(store.read("measurements"))
    for key, trial in plan.by_key.items():
        row, own = rows.get(key), kept.get(key, {})
        if row is None and not own:
            continue
        last = max(own, default=0)
        needed = rungs_until(trial, "running", last)
        lost = []
        if row is not None:
            needed |= rungs_until(trial, row["status"], int(row["steps"]))
            named = row["checkpoint"]
            if isinstance(named, str) and not any(name >= named for name in own.values()):
                lost.append("its last checkpoint")
        missing = sorted(needed - measured.get(key, set()))
        if missing:
            lost.append("what it measured at step " + ", ".join(map(str, missing)))
        if not lost:
            continue
        if own and missing and missing[0] <= last:
            for name in own.values():
                store.set_aside(name, "its trial begins anew, for measurements before it are lost")
            own, last = {}, 0
        ledger.reopen(key, last)
        what = f"goes on from step {last}" if last else "begins anew"
        yield f"trial {key} {what}: the store has lost {' and '.join(lost)}"


def _checkpoints(plan: Plan, ledger: Ledger, store: Store) -> dict[str, dict[int, str]]:
    """Return a plan's checkpoints by trial and step; damaged ones are set aside.

    Those that will be read are looked at as a whole; of the others, which may be many and large, the length.
    """
    files = store.files("checkpoints", below=True)
    found = checkpoints_by_trial(files)
    planned = [name for key in plan.by_key for name in found.get(key, {}).values()]
    still = ledger.open_trials()
    read = {*still, *(plan.by_key[key].parent for key in still)}
    will_be_read = {name for key in read if key for name in found.get(key, {}).values()}

    def whole(name: str) -> bool:
        try:
            if name in will_be_read:
                sealed_tensors.check(store.read_file(name))
            expected = sealed_tensors.length(lambda count: store.read_file(name, count))
            if expected != files[name].size:
                raise DamagedError(f"it has {files[name].size:,} bytes instead of {expected:,}")
        except DamagedError as error:
            store.set_aside(name, str(error))
            return False
        except FileNotFoundError:  # another driver's trial has gone on since
            return False
        return True

    with ThreadPoolExecutor(READERS) as pool:
        return checkpoints_by_trial(name for name, kept in zip(planned, pool.map(whole, planned), strict=True) if kept)
