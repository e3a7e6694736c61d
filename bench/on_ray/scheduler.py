"""Ray Tune's scheduler around the stopping rule: pause at the rung, then promote or stop when the cell is complete."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from bench.costs.budget import Budget
from bench.driver.ledger import Ledger
from bench.driver.recorder import Recorder
from bench.driver.sharing import Sharing


class CellHalving(FIFOScheduler):
    """Tells the ledger of every rung and carries out its verdicts.

    A trial that waits for its cell is paused, which frees its resources; it goes on from its checkpoint in the store.
    """

    def __init__(self, ledger: Ledger, sharing: Sharing, budget: Budget, recorder: Recorder) -> None:
        """`recorder` records whom the verdicts stop; `sharing` knows of the trials that run elsewhere, `budget` of the bill."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._ledger = ledger
        self._sharing = sharing
        self._budget = budget
        self._recorder = recorder
        self._trials: dict[str, Trial] = {}
        self._heard = 0  # of the ledger's ends
        self._stopping: set[str] = set()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Remember which of Ray's trials stands for which of ours: the last one, where it has been taken up again."""
        self._trials[trial.config["key"]] = trial

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note the rung, and say whether the trial goes on, waits or ends."""
        if "status" not in result:  # Ray's own notice that the function has returned
            return str(TrialScheduler.STOP)
        key, ledger = trial.config["key"], self._ledger
        self._budget.look()
        if result["status"] == "diverged":
            ledger.end(key, "diverged", result["error"])
        else:
            ledger.reach(key, result["steps"], result[ledger.plan.spec.stopping.metric], result.get("diversity"))
            if result["status"] == "done":
                ledger.end(key, "done")
            else:
                ledger.pause(key)  # so that the verdict on this trial is carried out like those on the waiting ones
        self._recorder.on_rung(key, result)
        self._budget.on_rung(key)
        if ledger.status[key] == "running" and not self._budget.allows(key):
            ledger.pause(key)  # at its checkpoint, for another run to take it up
        decision = {"running": TrialScheduler.CONTINUE, "paused": TrialScheduler.PAUSE}
        return str(decision.get(ledger.status[key], TrialScheduler.STOP))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a promoted trial if there is one (its cell is nearest to its end), else a new one."""
        self._sharing.look()
        assert not self._ledger.stalled(), "no open trial can move; please report this with the store's measurements"
        self._end_stopped(tune_controller)
        promoted = self._ledger.next_promoted()
        paused = promoted is not None and self._trials[promoted].status == Trial.PAUSED  # else Ray is still busy pausing it
        if promoted is not None and paused and self._budget.allows(promoted):
            self._ledger.queue(promoted)
            return self._trials[promoted]
        queued = (self._trials.get(key) for key in self._ledger.having("queued"))
        return next((trial for trial in queued if trial and trial.status in (Trial.PENDING, Trial.PAUSED)), None)

    def _end_stopped(self, tune_controller: Any) -> None:
        """End the waiting trials that have been stopped; not where the verdict falls, for Ray may be busy pausing them."""
        ends, self._heard = self._ledger.ends[self._heard :], len(self._ledger.ends)
        self._stopping.update(key for key in ends if self._ledger.status[key] == "stopped" and key in self._trials)
        for key in list(self._stopping):
            trial = self._trials[key]
            if trial.status == Trial.PAUSED:
                tune_controller.stop_trial(trial)
            if trial.status in (Trial.TERMINATED, Trial.ERROR):
                self._stopping.remove(key)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and ours is in the store."""
        return {}

    def debug_string(self) -> str:
        """Return a line for Ray's own display."""
        return "Successive halving within cells"
