"""The ledger in step with other drivers of the same store."""

import random
import time
from collections.abc import Callable

from bench.driver.claims import Claims
from bench.driver.ledger import Ledger
from bench.store import Store

#: Seconds, on average, between two looks at what other drivers have come to.
LOOK = 3.0


class Sharing:
    """Keeps a ledger in step with the other drivers of its store; to be asked often, it looks seldom."""

    def __init__(self, ledger: Ledger, store: Store, claims: Claims, settle: Callable[[], None]) -> None:
        """`settle` is called when something has been heard of others."""
        self._ledger, self._store, self._claims, self._settle = ledger, store, claims, settle
        self._next = 0.0
        self._heard = 0  # of the ledger's ends

    def take(self, key: str) -> bool:
        """Claim a trial that is ready; where another driver has it, the ledger has it elsewhere."""
        if self._claims.take(key):
            return True
        self._ledger.leave(key)
        return False

    def look(self) -> None:
        """Let go of the trials that have ended here, and hear, now and then, of those that run elsewhere."""
        ends, self._heard = self._ledger.ends[self._heard :], len(self._ledger.ends)
        for key in ends:
            self._claims.free(key)
        elsewhere = self._ledger.having("elsewhere")
        if not elsewhere or time.monotonic() < self._next:
            return
        began = time.monotonic()
        # Before reading, for a trial's end is published before it is let go.
        claimed = self._claims.elsewhere()
        self._ledger.hear(self._store, [key for key in elsewhere if key not in claimed])
        self._settle()
        # No more than a tenth of the time, however large the store; and not in step with the others.
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        self._next = time.monotonic() + max(LOOK * jitter, 10 * (time.monotonic() - began))
