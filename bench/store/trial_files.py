"""How outcomes get into the store: the rows of table `trials`, where a trial's files lie, and what the driver records.

A trial records its own end; the driver records what only it can know: stopped, failed, blocked.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench.driver.ledger import Ledger
from bench.driver.stopping import Action
from bench.store import Store, StoreUnwritableError
from bench.store.environments import record_environment
from bench.sweeps.plan import Plan, trial_columns
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError
from trainers.config.settings import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.run import Rung

#: Told of a trial's key when something has become of it, with a rung's result where it is that.
Listener = Callable[[str, Mapping[str, Any] | None], None]

_CHECKPOINT = re.compile(r"checkpoints/(?P<key>[^/]+)/(?P<step>\d+)\.safetensors")


def checkpoint_path(key: str, step: int) -> str:
    """Return where a trial's checkpoint at a step lies in the store; names sort by step."""
    return f"checkpoints/{key}/{step:08d}.safetensors"


def checkpoints_by_trial(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Return those paths in the store that are checkpoints', by the trial's key and the step."""
    found: dict[str, dict[int, str]] = {}
    for matched in filter(None, map(_CHECKPOINT.fullmatch, names)):
        found.setdefault(matched["key"], {})[int(matched["step"])] = matched[0]
    return found


def checkpoint_paths(store: Store, key: str) -> list[str]:
    """Return a trial's checkpoints in the store, oldest first."""
    return [name for name in store.list_files(f"checkpoints/{key}") if name.endswith(".safetensors")]


def last_checkpoint(store: Store, key: str) -> tuple[str, bytes] | None:
    """Return the name and the bytes of a trial's last checkpoint that is whole, if there is one; others are set aside."""
    for name in reversed(checkpoint_paths(store, key)):
        data = store.read_file(name)
        try:
            sealed_tensors.check(data)
        except DamagedError as error:
            store.set_aside(name, str(error))
            continue
        return name, data
    return None


def samples_path(key: str, step: int) -> str:
    """Return where a trial's sample grid at a step lies in the store; those of earlier steps stay there."""
    return f"samples/{key}-{step:08d}.png"


def real_samples_path(trial: TrialConfig) -> str:
    """Return where the grid of the domain's reference images lies in the store."""
    identity = trial.domain.fingerprint.replace("/", "-").replace(":", "-")
    return f"samples/real-{identity}-{trial.gan.resolution}.png"


def outcome_row(trial: TrialConfig, status: str, environment: str, **columns: Any) -> dict[str, Any]:
    """Return the row of table `trials` that records how a trial ended."""
    return {**trial_columns(trial), "status": status, "environment": environment, **columns}


def measurement_rows(key: str, rung: "Rung") -> list[dict[str, Any]]:
    """Return the rows of table `measurements` for what a trial has to show at a rung."""
    return [
        {
            "trial": key,
            "step": rung.step,
            "metric": measured.metric,
            "embedding": rung.embedding,
            "value": measured.value,
            "standard_error": measured.standard_error,
            "samples": measured.samples,
            "images_seen": rung.images_seen,
            "seconds": rung.seconds,
        }
        for measured in rung.measurements
    ]


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
