"""What the driver writes to the store."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.driver.ledger import Ledger
from bench.driver.stopping import Action
from bench.store import Store, StoreUnwritableError
from bench.store.environments import record_environment
from bench.store.trial_files import checkpoint_paths, real_samples_path, samples_path
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row

if TYPE_CHECKING:
    pass


#: Told of a trial's key when something has become of it, with a rung's result where it is that.
Listener = Callable[[str, Mapping[str, Any] | None], None]


class Recorder:
    """Records in the store what the driver decides, and passes on the news.

    Attributes:
        unwritable: why the store takes nothing more, once it does not; then the sweep had better end.
    """

    def __init__(self, plan: Plan, ledger: Ledger, store: Store, listener: Listener) -> None:
        self._plan = plan
        self._ledger = ledger
        self._store = store
        self._listener = listener
        self._last: dict[str, Mapping[str, Any]] = {}
        self.unwritable: StoreUnwritableError | None = None

    def on_rung(self, key: str, result: Mapping[str, Any]) -> None:
        """Hear of a trial's rung, at which the ledger has it paused or ended; record whom that stops."""
        news = self._last.get(key, {}).get("steps") != result["steps"]  # a trial that goes on tells its last rung again
        self._last[key] = result
        settled = self._settle()
        if self._ledger.status[key] == "paused" and self._ledger.verdict(key).action is Action.GO:
            self._ledger.start(key)
        if news:
            self._listener(key, result)
        self._tell(settled - {key})

    def on_failure(self, key: str, reason: str) -> None:
        """Record a trial that failed for good, and whom that stops or blocks; not one whose fault it was not."""
        if StoreUnwritableError.__name__ in reason:  # it comes from another process, as text
            self.unwritable = StoreUnwritableError(reason.splitlines()[-1].partition(": ")[2])
            return
        self._ledger.end(key, "failed", reason)
        self._write(key)
        self._listener(key, None)
        self._tell(self._settle())

    def settle(self) -> None:
        """Record the trials that are stopped or blocked by what the store has already."""
        self._tell(self._settle())

    def _settle(self) -> set[str]:
        settled = self._ledger.settle()
        for key in settled:
            self._write(key)
        return set(settled)

    def _tell(self, keys: set[str]) -> None:
        for key in sorted(keys):
            self._listener(key, None)

    def _write(self, key: str) -> None:
        try:
            self._append(key)
        except StoreUnwritableError as error:
            self.unwritable = error

    def _append(self, key: str) -> None:
        trial = self._plan.by_key[key]
        last = self._last.get(key, {})
        checkpoints, step = checkpoint_paths(self._store, key), self._ledger.last_rung(key)
        samples, real = samples_path(key, step), real_samples_path(trial)
        row = outcome_row(
            trial,
            self._ledger.status[key],
            last.get("environment") or record_environment(self._store, self._plan.spec.name),
            steps=step,
            seconds=last.get("seconds"),
            images_per_second=last.get("images_per_second"),
            peak_memory_mib=last.get("peak_memory_mib"),
            checkpoint=checkpoints[-1] if checkpoints else None,
            samples=samples if self._store.has_file(samples) else None,
            real_samples=real if self._store.has_file(real) else None,
            error=self._ledger.reasons.get(key),
        )
        self._store.append("trials", self._plan.spec.name, [row])
