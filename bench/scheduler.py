"""Ray Tune's scheduler around the stopping rule: pause at the rung, then promote or stop when the cell is complete."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from bench.claims import Sharing
from bench.ledger import Ledger
from bench.outcomes import Recorder
from bench.stopping import Action

#: Seconds that a trial waits before it is taken up again the first time; twice as long each further time.
BACK_OFF = 2.0


class CellHalving(FIFOScheduler):
    """Tells the ledger of every rung and carries out its verdicts.

    A trial that waits for its cell is paused, which frees its resources; it goes on from its checkpoint in the store.
    """

    def __init__(self, ledger: Ledger, sharing: Sharing, recorder: Recorder) -> None:
        """`recorder` records whom the verdicts stop; `sharing` knows of the trials that run elsewhere."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._ledger = ledger
        self._sharing = sharing
        self._recorder = recorder

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note the rung, and say whether the trial goes on, waits or ends."""
        if "status" not in result:  # Ray's own notice that the function has returned
            return str(TrialScheduler.STOP)
        key, ledger = trial.config["key"], self._ledger
        trial.config.pop("wait", None)
        if result["status"] == "diverged":
            ledger.end(key, "diverged", result["error"])
        else:
            ledger.reach(key, result["steps"], result[ledger.plan.spec.stopping.metric], result.get("diversity"))
            if result["status"] == "done":
                ledger.end(key, "done")
            else:
                ledger.pause(key)  # so that the verdict on this trial is carried out like those on the waiting ones
        self._recorder.on_rung(key, result)
        decision = {"running": TrialScheduler.CONTINUE, "paused": TrialScheduler.PAUSE}
        return str(decision.get(ledger.status[key], TrialScheduler.STOP))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Have a trial that is taken up again wait first: its process does, for Ray starts it at once."""
        trial.config["wait"] = BACK_OFF * 2 ** (trial.num_failures - 1)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return a promoted trial if there is one (its cell is nearest to its end), else a new one.

        Waiting trials that have been stopped meanwhile are ended here and not where the verdict falls: at that moment Ray
        may still be busy pausing them.
        """
        self._sharing.look()
        assert not self._ledger.stalled(), "no open trial can move; please report this with the store's measurements"
        promoted = None
        for trial in tune_controller.get_trials():
            if trial.status != Trial.PAUSED:
                continue
            key = trial.config["key"]
            if self._ledger.status[key] == "stopped":
                tune_controller.stop_trial(trial)
            elif promoted is None and self._ledger.verdict(key).action is Action.GO:
                promoted = trial
        if promoted is not None:
            return promoted
        return next((t for t in tune_controller.get_trials() if t.status == Trial.PENDING), None)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and ours is in the store."""
        return {}

    def debug_string(self) -> str:
        """Return a line for Ray's own display."""
        return "Successive halving within cells"
