"""The budget of a run: a limit on the seconds that its trials occupy slots. Independent of Ray.

A slot is the resources of one trial. It is occupied from the trial's start to its pause or end, so failed attempts and lost
machines count. A trial that takes several slots counts as several. Trials are interrupted only at rungs, where no work is lost,
so a start commits the run to the time up to the trial's next rung. If the running trials plus this one would exceed the limit,
no trial is started any more, and the running trials end at their next rungs.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from bench.costs.estimate import Estimate, rounded
from bench.driver.ledger import Ledger
from bench.driver.limit import Limit
from bench.sweeps.spec import ResourcesConfig
from trainers.common.counts import counted
from trainers.common.errors import UserError


def hours(seconds: float, resources: ResourcesConfig) -> float:
    """Convert slot seconds to GPU-hours (times a trial's share of a GPU), or to slot-hours if trials have no GPU."""
    return seconds / 3600 * (resources.gpus or 1)


def unit(resources: ResourcesConfig) -> str:
    """Return the unit of `hours`."""
    return "GPU-hours" if resources.gpus else "slot-hours"


class Budget(Limit):
    """Decides which trials may start, or continue past a rung.

    Attributes:
        limit, spent: slot seconds that may be spent (infinite for no limit), and that have been spent.
        refused: the slot seconds that the first refused start would have led to; all later ones are refused. None before.
        slots, rooms: see `bench.driver.limit.Limit`.
    """

    def __init__(
        self,
        ledger: Ledger,
        limit: float = math.inf,
        estimates: Callable[[], Mapping[str, Estimate]] = dict,
        clock: Callable[[], float] = time.monotonic,
        spent: float = 0.0,
    ) -> None:
        """`limit` and `spent` are slot seconds; `clock` returns seconds.

        `estimates` returns the estimate of every trial, and raises UserError or returns none while they are unknown. It is
        called at the start, and again at the first, second, fourth, eighth, ... rung, as estimates improve.
        """
        self.limit = limit
        self.spent = spent
        self.refused: float | None = None
        self._ledger = ledger
        self._estimate, self._estimated = estimates, False
        self._rungs = 0
        self._estimates: Mapping[str, Estimate] = {}  # empty while unknown
        self._clock, self._last = clock, clock()
        self._running: dict[str, float] = {}  # when the trial left its last rung

    def look(self) -> None:
        """Count the time since the last call. To be called before a start, a pause or an end is recorded in the ledger."""
        now = self._clock()
        running = self._ledger.having("running")
        self.spent += (now - self._last) * self._slots(running)
        self._running = {key: self._running.get(key, self._last) for key in running}
        self._last = now

    def on_rung(self, key: str) -> None:
        """Note that a trial has reached a rung."""
        self._running.pop(key, None)
        self._rungs += 1
        if not self._estimates or self._rungs.bit_count() == 1:  # the first, second, fourth, eighth, ...
            self._estimated = False

    def allows(self, key: str) -> bool:
        """Return whether a trial may be started, or continue from its rung.

        While the duration of trials is unknown, no more of them are queued than the slots suffice for.
        """
        if self.limit == math.inf:
            return True
        self.look()
        if not self._estimated:
            self._estimated = True
            with suppress(UserError):
                self._estimates = self._estimate()
        active = {*self._ledger.having("running", "queued"), key}
        fit = len(active) == 1 or self._slots(active) <= self.slots  # machines may have come since the slots were counted
        total = self.spent + (sum(map(self._seconds_left, active)) if self._estimates else 0)
        if self.refused is None and (total > self.limit or self.spent >= self.limit):
            self.refused = total
        return self.refused is None and (bool(self._estimates) or fit)

    def forecast(self) -> str | None:
        """Return one line on the hours that the open trials take, and whether the limit ends the run before; or None."""
        with suppress(UserError):
            self._estimates = self._estimates or self._estimate()
        trials = self._ledger.open_trials()
        if not self._estimates or not trials:
            return None
        resources = self._ledger.plan.spec.resources
        left = sum(self._estimates[key].seconds(self._reached(key) or None) for key in trials)
        most = f"{counted(len(trials), 'trial')} left: {rounded(hours(left, resources))} {unit(resources)} at most"
        if self.spent + left <= self.limit:
            return most
        limit = rounded(hours(self.limit, resources))
        return f"note: {most}, and the limit is {limit}: unless enough stop early, the run ends before"

    def _reached(self, key: str) -> int:
        """Return the number of rungs that a trial has reached."""
        return sum(rung <= self._ledger.last_rung(key) for rung in self._ledger.plan.by_key[key].rungs)

    def told(self) -> str:
        """Return one line on why no more trials were started, and what remains."""
        resources = self._ledger.plan.spec.resources
        assert self.refused is not None
        spent, refused, limit = (rounded(hours(seconds, resources)) for seconds in (self.spent, self.refused, self.limit))
        why = f"the next rungs would have made it {refused}, and " if self.refused > self.spent else ""
        return (
            f"stopped after {spent} {unit(resources)}: {why}the limit is {limit}; "
            f"{counted(len(self._ledger.open_trials()), 'trial')} left, and the same command with a higher limit goes on"
        )

    def _slots(self, keys: Iterable[str]) -> int:
        """Return the slots that trials take together."""
        return sum(self.rooms.get(key, 1) for key in keys)

    def _seconds_left(self, key: str) -> float:
        """Return the estimated slot seconds that a trial needs to its next rung."""
        reached = self._reached(key)
        leg = self._estimates[key].seconds(reached or None, reached + 1)
        return self._slots([key]) * max(0.0, leg - (self._last - self._running.get(key, self._last)))
