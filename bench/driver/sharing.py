"""Keeps a ledger up to date with the other drivers of the same store, and tells others what this driver is at."""

import random
import socket
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.driver.claims import Claims
from bench.driver.ledger import ENDED, Ledger
from bench.driver.results import Results
from bench.store import Store
from bench.store.trial_files import checkpoint_step

#: Average seconds between two polls of the store for the results of other drivers.
POLL = 3.0


class Activity:
    """What a driver's heartbeat tells of its sweep and of the trials that it has claimed; nothing is decided by it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._since: dict[str, tuple[str, str, str]] = {}  # by trial: its status, its host, and since when

    def begin(self, key: str, host: str | None) -> None:
        """Note that a trial runs from now on, and on which host; None: on this one."""
        self._since[key] = "running", host or socket.gethostname(), _now()

    def told(self, held: Iterable[str]) -> dict[str, Any]:
        """Return what the heartbeat says, as plain data; `held` are the claimed trials. Called by the heartbeat's thread."""
        trials = {}
        for key in [key for key in list(self._since) if self._ledger.status[key] in ENDED]:
            del self._since[key]
        for key in held:
            status, last = self._ledger.status[key], self._since.get(key)
            if last is None or last[0] != status:
                last = self._since[key] = status, "", _now()
            trials[key] = dict(zip(("status", "host", "since"), last, strict=True))
        return {"sweep": self._ledger.plan.spec.name, "trials": trials}


class Sharing:
    """Claims trials for this driver, and polls the store for those of other drivers."""

    def __init__(self, ledger: Ledger, store: Store, claims: Claims, lacking: Callable[[], Collection[str]]) -> None:
        """`lacking` is that of `bench.driver.loop.Driver`."""
        self._ledger, self._store, self._claims, self._lacking = ledger, store, claims, lacking
        self._results = Results(ledger.plan, store)
        self._new: set[str] = set()  # trials whose results changed in the store while they ran here
        self._next = 0.0
        self._freed = 0  # number of the ledger's ends whose claims are released

    def take(self, key: str) -> bool:
        """Claim a ready trial and return True; if another driver has it, note that in the ledger and return False.

        The ledger then has all that was published of any trial before the claim, so the trial may no longer be ready.
        """
        if not self._claims.take(key):
            self._ledger.hand_over(key)
            return False
        self.catch_up()
        return True

    def free(self, key: str) -> None:
        """Release a trial."""
        self._claims.free(key)

    def holds(self, key: str) -> bool:
        """Look up whether this driver still has its claim on a trial."""
        return self._claims.holds(key)

    def path(self, key: str) -> str:
        """Return the path in the store of the claim on a trial."""
        return self._claims.path(key)

    def others(self) -> bool:
        """Return whether other live drivers have claimed any trials."""
        return bool(self._claims.elsewhere())

    def catch_up(self, freed: Iterable[str] = ()) -> None:
        """Take the new results in the store into the ledger; trials in `freed` run elsewhere no more."""
        self._new |= self._results.update()
        last_checkpoint = partial(checkpoint_step, self._store)
        self._new = self._ledger.take_in(self._results, self._new, freed, last_checkpoint, self.is_behind)

    def fill(self, key: str) -> None:
        """Take the values of one trial from the store into the ledger."""
        self._new |= self._results.update()
        self._ledger.fill(key, self._results)

    def behind(self) -> Collection[str]:
        """Return the trials at rungs that only other evaluations have measured, and this one can measure."""
        if not any(map(self._may_be_behind, self._results.otherwise)):
            return ()
        began = time.monotonic()
        keys = self._lacking()
        self._next = max(self._next, time.monotonic() + 10 * (time.monotonic() - began))
        return keys

    def is_behind(self, key: str) -> bool:
        """Return whether `behind` has a trial."""
        return self._may_be_behind(key) and key in self.behind()

    def _may_be_behind(self, key: str) -> bool:
        unmeasured = self._results.otherwise.get(key, set()) - self._ledger.values[key].keys()
        return not unmeasured.isdisjoint(self._ledger.plan.by_key[key].rungs)

    def look(self, *, stalled: bool) -> bool:
        """Release the claims of trials that have ended here, and poll the store if it is time and anything depends on others.

        Cheap to call. Returns whether the store was polled, after which the ledger must be settled. With `stalled`, no trial
        can move by what the ledger has.
        """
        ends, self._freed = self._ledger.ends[self._freed :], len(self._ledger.ends)
        for key in ends:
            self._claims.free(key)
        elsewhere = self._ledger.having("elsewhere")
        if not (elsewhere or stalled) or time.monotonic() < self._next:
            return False
        began = time.monotonic()
        # Before reading, because a trial's end is published before its claim is released.
        claimed = self._claims.elsewhere()
        self.catch_up([key for key in elsewhere if key not in claimed])
        # At most a tenth of the time, however large the store, and not in step with other drivers.
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
        self._next = time.monotonic() + max(POLL * jitter, 10 * (time.monotonic() - began))
        return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
