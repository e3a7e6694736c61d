"""Counts of a trial's failed attempts: its own failures, which are few, and losses of its machine, which are not its fault."""

from collections import Counter

#: Seconds before a failed trial is retried for the first time; doubled for each further retry from the same rung.
BACK_OFF = 2.0

#: A trial whose machine is lost more often than this in a row, each time within `SOON` seconds of its last checkpoint or start,
#: fails: it probably is the cause, e.g. it exhausts the memory of the whole machine.
LOSSES, SOON = 20, 3600.0


class Retries:
    """Counts failed attempts since the last rung or checkpoint, so that a long trial may fail more often than a short one."""

    def __init__(self, allowed: int, back_off: float = BACK_OFF) -> None:
        """`allowed`: retries from one rung; `back_off`: seconds before the first of them, and after every loss of a machine."""
        self._allowed, self._back_off = allowed, back_off
        self._failures: Counter[tuple[str, int]] = Counter()
        self._losses: Counter[tuple[str, int]] = Counter()

    def wait(self, key: str, rung: int) -> float | None:
        """Count a failure after a rung; return the seconds before the next attempt, or None if there is none."""
        self._failures[key, rung] += 1
        failures = self._failures[key, rung]
        return self._back_off * 2 ** (failures - 1) if failures <= self._allowed else None

    def lose(self, key: str, checkpoint: int, seconds: float) -> float | None:
        """Note the loss of a machine, `seconds` after a checkpoint or a start from it; return as `wait` does.

        It is no failure. A loss that comes late shows that the trial can run, so only losses in a row that come soon count.
        """
        self._losses[key, checkpoint] = self._losses[key, checkpoint] + 1 if seconds <= SOON else 0
        return self._back_off if self._losses[key, checkpoint] <= LOSSES else None
