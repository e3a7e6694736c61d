"""What a run may spend, and has spent: the seconds that its trials have held their slots. No Ray in here.

A slot is what one trial takes (`resources`). It is held from a trial's start to its pause or end, so that failed attempts and
lost machines count too. Trials are interrupted at rungs alone, where nothing is lost; so what a launch commits to is the time
up to the trial's next rung. A launch that would, with what the running trials are committed to, take the run past its limit
ends all launching: the running trials end at their next rungs.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from bench.costs.estimate import Estimate, rounded
from bench.driver.ledger import Ledger
from bench.driver.loop import Limit
from bench.sweeps.spec import ResourcesConfig
from trainers.common.errors import UserError


def hours(seconds: float, resources: ResourcesConfig) -> float:
    """Return what slot seconds are in GPU-hours, of the share that a trial has of a GPU; in slot hours where it has none."""
    return seconds / 3600 * (resources.gpus or 1)


def unit(resources: ResourcesConfig) -> str:
    """Return what `hours` are hours of."""
    return "GPU-hours" if resources.gpus else "slot-hours"


class Budget(Limit):
    """Says which trials may still be started, or go on past a rung.

    Attributes:
        limit: slot seconds that may be spent; infinite for no limit.
        spent: slot seconds that have been.
        refused: the slot seconds that it would have come to with the launch that was refused, after which every one is; None
            while none has been.
        slots: how many trials can run at a time.
    """

    def __init__(
        self,
        ledger: Ledger,
        limit: float = math.inf,
        estimates: Callable[[], Mapping[str, Estimate]] = dict,
        clock: Callable[[], float] = time.monotonic,
        spent: float = 0.0,
    ) -> None:
        """Make one.

        Args:
            ledger: what runs, and how far it has come.
            limit: slot seconds that may be spent.
            estimates: returns what every trial takes; raises UserError (or returns none) while that is unknown. It is asked
                at the start and, for trials may take another time than the first of them did, at rungs, ever more seldom.
            clock: seconds.
            spent: slot seconds that have been spent before.
        """
        self.limit = limit
        self.spent = spent
        self.refused: float | None = None
        self.slots = 1
        self._ledger = ledger
        self._ask, self._asked = estimates, False
        self._rungs = 0
        self._estimates: Mapping[str, Estimate] = {}  # of no trial while it is unknown
        self._clock, self._last = clock, clock()
        self._running: dict[str, float] = {}  # since when they are on their way to the next rung

    def look(self) -> None:
        """Count the time since the last look. To be called before the ledger hears of a start, a pause or an end."""
        now = self._clock()
        running = self._ledger.having("running")
        self.spent += (now - self._last) * len(running)
        self._running = {key: self._running.get(key, self._last) for key in running}
        self._last = now

    def on_rung(self, key: str) -> None:
        """Hear that a trial has reached a rung."""
        self._running.pop(key, None)
        self._rungs += 1
        if not self._estimates or self._rungs.bit_count() == 1:  # the first, second, fourth, eighth, ...
            self._asked = False

    def allows(self, key: str) -> bool:
        """Say whether a trial may be started, or go on from its rung.

        While nothing tells how long trials take, no more of them are let into Ray's queue than there are slots.
        """
        if self.limit == math.inf:
            return True
        self.look()
        if not self._asked:
            self._asked = True
            with suppress(UserError):
                self._estimates = self._ask()
        held = {*self._ledger.having("running", "queued"), key}
        known = bool(self._estimates)
        comes_to = self.spent + (sum(map(self._left, held)) if known else 0)
        if self.refused is None and (comes_to > self.limit or self.spent >= self.limit):
            self.refused = comes_to
        return self.refused is None and (known or len(held) <= self.slots)

    def told(self) -> str:
        """Return in a line why no more trials were started, and what remains."""
        resources = self._ledger.plan.spec.resources
        assert self.refused is not None
        spent, more, limit = (rounded(hours(each, resources)) for each in (self.spent, self.refused, self.limit))
        why = f"the next rungs would have made it {more}, and " if self.refused > self.spent else ""
        return (
            f"stopped after {spent} {unit(resources)}: {why}the limit is {limit}; "
            f"{len(self._ledger.open_trials())} trials remain, and the same command with a higher limit goes on"
        )

    def _left(self, key: str) -> float:
        """Return the seconds that a trial will still take up to its next rung, which must be known."""
        reached = sum(rung <= self._ledger.last_rung(key) for rung in self._ledger.plan.by_key[key].rungs)
        leg = self._estimates[key].seconds(reached or None, reached + 1)
        return max(0.0, leg - (self._last - self._running.get(key, self._last)))
