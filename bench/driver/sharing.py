"""Keeps a ledger up to date with the other drivers of the same store."""

import random
import time

from bench.driver.claims import Claims
from bench.driver.ledger import Ledger
from bench.store import Store

#: Average seconds between two polls of the store for the results of other drivers.
POLL = 3.0


class Sharing:
    """Claims trials for this driver, and polls the store for those of other drivers."""

    def __init__(self, ledger: Ledger, store: Store, claims: Claims) -> None:
        self._ledger, self._store, self._claims = ledger, store, claims
        self._next = 0.0
        self._freed = 0  # number of the ledger's ends whose claims are released

    def take(self, key: str) -> bool:
        """Claim a ready trial and return True; if another driver has it, note that in the ledger and return False."""
        if self._claims.take(key):
            return True
        self._ledger.hand_over(key)
        return False

    def look(self) -> bool:
        """Release the claims of trials that have ended here, and poll the store if any trials run elsewhere and it is time.

        Cheap to call. Returns whether the store was polled, after which the ledger must be settled.
        """
        ends, self._freed = self._ledger.ends[self._freed :], len(self._ledger.ends)
        for key in ends:
            self._claims.free(key)
        elsewhere = self._ledger.having("elsewhere")
        if not elsewhere or time.monotonic() < self._next:
            return False
        began = time.monotonic()
        # Before reading, because a trial's end is published before its claim is released.
        claimed = self._claims.elsewhere()
        self._ledger.update_elsewhere(self._store, [key for key in elsewhere if key not in claimed])
        # At most a tenth of the time, however large the store, and not in step with other drivers.
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
        self._next = time.monotonic() + max(POLL * jitter, 10 * (time.monotonic() - began))
        return True
