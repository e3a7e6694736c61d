"""The driver: decides which trial runs next, and what follows from every event of a sweep.

A runner (Ray Tune, this process, or a simulation) reports the events to a `Driver` and carries out its answers. No rule of a
sweep's course stands anywhere else: release order, pause and promotion, stopping, retries, blocking, the budget, the end.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bench.driver.claims import Claims
from bench.driver.ledger import ENDED, Ledger
from bench.driver.limit import Limit
from bench.driver.ordered import Due
from bench.driver.recorder import Recorder
from bench.driver.results import Status
from bench.driver.retries import BACK_OFF, LOSSES, Retries
from bench.driver.sharing import Activity, Sharing
from bench.driver.stopping import Action
from bench.store import Store, StoreUnwritableError
from bench.store.trial_files import checkpoint_step

_STALLED = "no open trial can move; please report this with the store's measurements"

#: Called with (key, report) at a trial's new rung, or with (key, None) when it ended otherwise.
Listener = Callable[[str, Mapping[str, Any] | None], None]

#: Called with (key, text) when something happened to a trial that ends neither a rung nor the trial; key None: to all of them.
Notice = Callable[[str | None, str], None]


class Driver:
    """Drives one sweep.

    Attributes:
        ledger: the state of its trials.
        store: where outcomes are recorded; None in a simulation, which records nothing.
        notice: reports what a person who watches the run may want to know.
        limit: what the run may spend.
        let_go: trials whose claims this driver has lost, in that order; they no longer run here.
        unwritable: why the store accepts no more writes, once it does not; the run ends then.
        interrupted: whether the run ends as soon as the trials that run have left at their checkpoints.
        behind: whether the run ends because nothing can move before trials of other drivers, which evaluate otherwise, are
            measured as this sweep does. A new driver then goes on.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store | None = None,
        listener: Listener = lambda key, report: None,
        limit: Limit | None = None,
        *,
        notice: Notice = lambda key, text: None,
        lacking: Callable[[], Collection[str]] = tuple,
        back_off: float = BACK_OFF,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """From now on only the driver changes `ledger`.

        `lacking` returns the trials that the plan's evaluation has not measured everywhere, and can. `back_off` is the wait
        before the first retry from a rung, in the seconds that `clock` returns.
        """
        self.ledger, self.store = ledger, store
        self.limit = limit or Limit()
        self.notice = notice
        self.unwritable: StoreUnwritableError | None = None
        self.interrupted = False
        self.behind = False
        self._lacking = lacking
        self._listener, self._clock = listener, clock
        self._recorder = None if store is None else Recorder(ledger, store)
        self._sharing: Sharing | None = None
        self._activity = Activity(ledger)
        self._retries = Retries(ledger.plan.spec.resources.retries, back_off)
        self._waiting = Due()  # failed trials, for their retry
        self._unmeasured = Due()  # trials whose rung is to be measured
        self._reached: dict[str, Mapping[str, Any]] = {}  # the reports of these
        self._last_steps: dict[str, int] = {}
        self.let_go: list[str] = []

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Claim trials for the block, so that other drivers of the store run other ones."""
        assert self.store is not None
        with Claims(self.store, self._activity.told) as claims:
            self._sharing = Sharing(self.ledger, self.store, claims, self._lacking)
            self._sharing.catch_up()
            self.settle()
            yield

    # -- questions --------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether no trial will start or go on any more; trials that run still end."""
        ends = self.interrupted or self.behind or self.unwritable is not None or self.limit.refused is not None
        return ends or not self.ledger.is_open()

    def look(self) -> None:
        """Take in the results of other drivers; cheap to call."""
        stalled = self.ledger.stalled()
        if self._sharing is None:
            assert not stalled, _STALLED
        elif self._sharing.look(stalled=stalled):
            for key in self.ledger.having("paused"):
                self._is_lost(key)
            self.settle()
            # Drivers that evaluate otherwise may wait for each other's trials; else what others run is measured when it ends.
            if self.ledger.is_idle() and (self.ledger.waits() or not self.ledger.count("elsewhere")):
                self.behind = self.behind or bool(self.ledger.deferred or self._sharing.behind())
            assert self.behind or not self.ledger.stalled() or self._sharing.others(), _STALLED

    def take(self) -> str | None:
        """Return the next trial to run, now queued: a promoted one, because its cell is nearest to its end, else a new one."""
        self.look()
        promoted = self.ledger.next_promoted()
        return promoted if promoted is not None and self.promote(promoted) else self.release()

    def promote(self, key: str) -> bool:
        """Queue a paused trial that may go on (see `Ledger.next_promoted`), and return whether it is still ours and allowed."""
        if self.interrupted or self.behind or self._is_lost(key) or not self.limit.allows(key):
            return False
        self.ledger.queue(key)
        return True

    def release(self) -> str | None:
        """Return the next trial to start, now "queued": a retry that is due, else the first ready one in plan order.

        Trials that the limit does not allow or that another driver has claimed are not returned. None if there is none yet.
        """
        self.look()
        if self.interrupted or self.behind:
            return None
        while (key := self._waiting.first(self._clock())) is not None and self.limit.allows(key):
            if not self._is_lost(key):
                self._waiting.discard(key)
                return key
        while (key := self.ledger.next_ready()) is not None and self.limit.allows(key):
            if self._sharing is None or self._take(key, self._sharing):
                self.ledger.queue(key)
                return key
        return None

    def next_evaluation(self) -> tuple[str, str] | None:
        """Return a trial whose rung is to be measured now, and the environment it is trained in; None if there is none yet."""
        while not self.interrupted and (key := self._unmeasured.first(self._clock())) is not None:
            if not self._is_lost(key):
                self._unmeasured.discard(key)
                return key, self._reached[key]["environment"]
        return None

    def claim(self, key: str) -> str | None:
        """Return the path in the store of the claim under which a trial's results are published; None if none is needed."""
        return None if self._sharing is None else self._sharing.path(key)

    # -- events -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """End and record the trials that are stopped or blocked by what is known already."""
        self._announce(self._settle())

    def start(self, key: str, host: str | None = None) -> None:
        """Note that a trial runs, for the first time or again, and on which host; None: on the driver's."""
        self.limit.look()
        self._activity.begin(key, host)
        self.ledger.start(key)

    def rung(self, key: str, report: Mapping[str, Any]) -> Status:
        """Note a trial's report, record which trials stop for it, and return the trial's status.

        `report` is what `bench.worker.trial.train` yields: "status" ("running", "reached", "done" or "diverged"), "steps",
        metrics. The returned status is "running" if the trial goes on, "measuring" if its rung is to be measured elsewhere (see
        `next_evaluation`), "paused" if it waits at its checkpoint, "elsewhere" if its claim is lost, else how it ended.
        """
        self.limit.look()
        ledger = self.ledger
        if self._is_lost(key):
            return ledger.status[key]
        if report["status"] == "reached":
            ledger.measure(key)
            self._reached[key] = report
            self._unmeasured.add(key, self._clock())
            return ledger.status[key]
        self._reach(key, report, goes_on=True)
        return ledger.status[key]

    def measured(self, key: str, report: Mapping[str, Any]) -> None:
        """Note the report of a rung that was measured elsewhere, of step 0 too: the trial has ended, or it is paused."""
        self.limit.look()
        # It may have been started again while it was measured, and have gone on.
        if not self._is_open(key, measuring=True) or self._reached[key]["steps"] != report["steps"]:
            return
        if report["steps"]:
            self._reach(key, report, goes_on=False)
        else:
            self.ledger.pause(key)
            self.settle()

    def _reach(self, key: str, report: Mapping[str, Any], *, goes_on: bool) -> None:
        """Note the measurements of a rung; a trial in its process `goes_on` if it may."""
        ledger = self.ledger
        if self._sharing is not None and ledger.lacks_rungs(key, report["steps"]):
            self._sharing.fill(key)  # a resumed trial reports only its last rung
        if report["status"] == "diverged":
            ledger.end(key, "diverged", report["error"])
        else:
            if report.get("view", view := ledger.plan.spec.evaluation.view) == view:
                ledger.reach(key, report["steps"], report[ledger.plan.spec.stopping.metric], report.get("diversity"))
            # else it has resumed from a checkpoint of another evaluation, and was measured anew before (`bench.run.measuring`)
            if report["status"] == "done":
                ledger.end(key, "done")
            else:
                ledger.pause(key)  # so that its verdict is carried out like those on the waiting trials
        if self._recorder is not None:
            self._recorder.keep(key, report)
        settled = self._settle()
        if goes_on and ledger.status[key] == "paused" and ledger.verdict(key).action is Action.GO:
            ledger.start(key)
        if self._last_steps.get(key) != report["steps"]:  # a resumed trial reports its last rung again
            self._last_steps[key] = report["steps"]
            self._listener(key, report)
        self._announce(settled - {key})
        self.limit.on_rung(key)
        if ledger.status[key] == "running" and (self.interrupted or not self.limit.allows(key)):
            ledger.pause(key)  # at its checkpoint, for another run to resume it

    def fail(self, key: str, reason: str, unwritable: StoreUnwritableError | None = None, *, measuring: bool = False) -> None:
        """Note that a trial's process failed: retry it later, or after too many failures since its last rung record it.

        `reason` is for a person. If the store accepted no write (`unwritable`), the run ends, and no trial counts as failed.
        `measuring`: whether it is the process that measures a rung of it.
        """
        self.limit.look()
        if not self._is_open(key, measuring):  # it ended while the runner was still pausing it
            return
        wait = self._retries.wait(key, self.ledger.last_rung(key))
        # A full disk is full for all trials, but a server may be unreachable from one host only.
        disk_is_full = unwritable is not None and self.store is not None and "://" not in self.store.address
        if wait is not None and not disk_is_full:
            self._queue_after(wait, key, measuring=measuring)
        elif unwritable is not None:
            self.unwritable = unwritable
        else:
            self._end_failed(key, reason)

    def lose(self, key: str, reason: str, seconds: float, *, measuring: bool = False) -> None:
        """Note that a trial's machine is gone: the trial goes on from its last checkpoint, and no retry is counted.

        Args:
            key: the trial.
            reason: what became of the machine, for a person.
            seconds: since the trial's last rung, or since it started from its last checkpoint. A trial whose machines are lost
                again and again soon after that fails (see `bench.driver.retries`).
            measuring: whether it is the machine where a rung of it is measured.
        """
        self.limit.look()
        if not self._is_open(key, measuring):
            return
        step = self._last_checkpoint(key)
        wait = self._retries.lose(key, step, seconds)
        if wait is None:
            self._end_failed(key, f"it lost its machine {LOSSES + 1} times in a row soon after step {step}: {reason}")
        else:
            self.notice(key, f"machine lost ({reason}); goes on from step {step}, not counted as a retry")
            self._queue_after(wait, key, measuring=measuring)

    def leave(self, key: str, reason: str, *, measuring: bool = False) -> None:
        """Note that a trial has left its process at a checkpoint, or the queue for one, for a `reason` other than itself.

        It goes on elsewhere. `measuring`: whether it was to be measured there.
        """
        self.limit.look()
        if not self._is_open(key, measuring):
            return
        if not self.interrupted:
            self.notice(key, f"{reason}; goes on elsewhere from step {self._last_checkpoint(key)}, not counted as a retry")
        self._queue_after(0.0, key, measuring=measuring)

    def requeue(self, key: str) -> None:
        """Note that a trial has lost its process, and that the runner itself will give it another."""
        self.limit.look()
        if self._is_open(key):
            self.ledger.queue(key)

    # -- internals --------------------------------------------------------------------------------------------------

    def _take(self, key: str, sharing: Sharing) -> bool:
        """Claim a ready trial; return False if another driver has it, or if it has gone too far since it was ready."""
        if not sharing.take(key):
            return False
        self.settle()
        if self.ledger.is_ready(key) and sharing.is_behind(key):
            self.ledger.defer(key)
        if not self.ledger.is_ready(key):
            sharing.free(key)
            return False
        return True

    def _is_lost(self, key: str) -> bool:
        """Return whether a trial's claim is lost, and let go of the trial then: other drivers may run it."""
        if self._sharing is None or self._sharing.holds(key):
            return False
        if self.ledger.status[key] not in ENDED:
            self.ledger.hand_over(key)
        self._waiting.discard(key)
        self._unmeasured.discard(key)
        self.let_go.append(key)
        return True

    def _is_open(self, key: str, measuring: bool = False) -> bool:
        """Return whether a trial is ours and has not ended; with `measuring`, whether it waits for a measurement."""
        status = self.ledger.status[key]
        return (status == "measuring" if measuring else status not in ENDED) and not self._is_lost(key)

    def _queue_after(self, seconds: float, key: str, *, measuring: bool = False) -> None:
        """Queue a trial after some time, for its process or to be measured."""
        if measuring:
            self._unmeasured.add(key, self._clock() + seconds)
            return
        self._unmeasured.discard(key)
        self.ledger.queue(key)
        self._waiting.add(key, self._clock() + seconds)

    def _end_failed(self, key: str, reason: str) -> None:
        self.ledger.end(key, "failed", reason)
        self._write(key)
        self._listener(key, None)
        self.settle()

    def _last_checkpoint(self, key: str) -> int:
        """Return the step from which a trial goes on; it may have left a checkpoint after its last rung."""
        step = self.ledger.last_rung(key)
        if self.store is not None:
            with suppress(OSError):  # a server that does not answer now
                step = max(step, checkpoint_step(self.store, key))
        return step

    def _settle(self) -> set[str]:
        settled = self.ledger.settle()
        for key in settled:
            self._write(key)
        return set(settled)

    def _announce(self, keys: set[str]) -> None:
        for key in sorted(keys):
            self._listener(key, None)

    def _write(self, key: str) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.write(key)
        except StoreUnwritableError as error:
            self.unwritable = error
