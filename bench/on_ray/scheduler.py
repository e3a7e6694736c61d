"""Ray Tune's scheduler as an adapter of the driver: pauses trials at their rungs, then resumes or stops them."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from bench.driver.loop import Driver
from bench.on_ray.slots import Rooms, alive, slots_of
from bench.on_ray.tasks import Evaluations
from bench.on_ray.trainable import LEFT, UNWRITABLE, received
from bench.store import StoreUnwritableError

#: Ray's decision for a trial's status after a report; it stops a trial of any other status.
DECISIONS = {"running": TrialScheduler.CONTINUE, "paused": TrialScheduler.PAUSE, "measuring": TrialScheduler.PAUSE}

#: The sets of Ray's controller that keep trials after their end, besides those that it lets a scheduler ask for.
KEPT_BY_RAY = ("_stopped_trials", "_failed_trials", "_trials_to_cache")


class CellHalving(FIFOScheduler):
    """Reports every rung to the driver and carries out its answers.

    A trial that waits for its cell is paused, which frees its resources; it resumes from its checkpoint in the store.
    """

    def __init__(self, driver: Driver, rooms: Rooms, evaluations: Evaluations) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._driver, self._rooms, self._evaluations = driver, rooms, evaluations
        self._trials: dict[str, Trial] = {}
        self._seen = 0  # number of the ledger's ends that were looked at
        self._let_go = 0  # number of the trials let go of that were looked at
        self._stopping: list[Trial] = []
        self._leaving: dict[Trial, None] = {}  # those of which Ray has said that they end, in this order

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Remember Ray's trial by our key; of a trial that is retried the last one."""
        self._note_stopped()  # of the former trial of this key
        self._trials[trial.config["key"]] = trial

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Report a rung to the driver, and return whether the trial goes on, waits or ends."""
        if "status" not in result:  # Ray's own notice that the function has returned
            return str(TrialScheduler.STOP)
        key = trial.config["key"]
        if result["status"] == UNWRITABLE:
            self._driver.fail(key, result["error"], StoreUnwritableError(result["error"]))
            return str(TrialScheduler.STOP)
        if result["status"] == LEFT:
            return str(TrialScheduler.CONTINUE)  # up to the exception that follows, see `Events.on_trial_error`
        return str(DECISIONS.get(self._driver.rung(key, received(result)), TrialScheduler.STOP))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Note that a trial ends, see `_forget_ended`."""
        self._leaving[trial] = None

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Note that a trial ends that was waiting."""
        self._leaving[trial] = None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Note that a trial has failed; it ends, unless Ray starts it again."""
        self._leaving[trial] = None

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a promoted trial if there is one, because its cell is nearest to its end, else a queued one."""
        self._driver.look()
        self._end_stopped(tune_controller)
        self._forget_ended(tune_controller)
        self._narrow(tune_controller)
        ledger = self._driver.ledger
        promoted = ledger.next_promoted()
        # Ray may still be busy pausing it.
        paused = promoted and self._trials.get(promoted)
        if promoted and paused and paused.status == Trial.PAUSED and self._driver.promote(promoted):
            return paused
        if self._driver.interrupted:
            return None
        queued = (self._trials.get(key) for key in ledger.having("queued"))
        chosen = next((trial for trial in queued if trial and trial.status in (Trial.PENDING, Trial.PAUSED)), None)
        if chosen is None and ledger.count("measuring") and tune_controller._actor_cache.num_cached_objects:
            self._free_cores(tune_controller)
        return chosen

    def _free_cores(self, tune_controller: Any) -> None:
        """End the idle processes that Tune keeps for the next trials if evaluations wait for their cores."""
        needed, evaluations = self._driver.ledger.plan.spec.resources.model_copy(update={"gpus": 0.0}), self._evaluations.slots
        taken = tune_controller._actor_manager.get_live_actors_resources().get("CPU", 0) / needed.cpus
        room = sum(slots_of(machine, needed) for machine in alive()) - taken
        # One that takes several slots needs them on one machine.
        if sum(evaluations) > room or max(evaluations, default=0) > 1:
            tune_controller._cleanup_cached_actors(force_all=True)

    def _narrow(self, tune_controller: Any) -> None:
        """End the trials that wait for more slots than any machine has now; released again, they take fewer.

        Tune changes no request for resources that waits.
        """
        for key in self._rooms.taken:
            trial = self._trials.get(key)
            if trial is None or trial.status != Trial.PENDING or self._rooms.may_get(trial.config["room"]):
                continue
            if tune_controller._actor_manager.is_actor_started(tune_controller._trial_to_actor.get(trial)):
                continue  # on a machine that was lost just now, which Ray will report
            if trial in tune_controller._staged_trials:
                tune_controller._unstage_trial_with_resources(trial)
            tune_controller.stop_trial(trial)
            self._driver.leave(key, self._rooms.narrowed(key, trial.config["room"]))

    def _end_stopped(self, tune_controller: Any) -> None:
        """End the waiting trials that have ended without their processes, or whose claims are lost.

        Not at the verdict itself, because Ray may still be busy pausing them.
        """
        self._note_stopped()
        for trial in self._stopping:
            if trial.status == Trial.PAUSED:
                tune_controller.stop_trial(trial)
        self._stopping = [trial for trial in self._stopping if trial.status not in (Trial.TERMINATED, Trial.ERROR)]

    def _forget_ended(self, tune_controller: Any) -> None:
        """Remove the trials that have ended from what Ray keeps as long as the run lasts: some 20 KiB for each of them.

        The last one stays, because Ray takes the first of its list for an example when it warns that none can start.
        """
        ended = [trial for trial in self._leaving if trial.status in (Trial.TERMINATED, Trial.ERROR)]
        for trial in ended[:-1]:
            del self._leaving[trial]
            if self._trials.get(trial.config["key"]) is trial:  # else a retry has taken its place
                del self._trials[trial.config["key"]]
            tune_controller.get_trials().remove(trial)
            tune_controller.get_live_trials().discard(trial)
            for name in KEPT_BY_RAY:
                getattr(tune_controller, name, set()).discard(trial)

    def _note_stopped(self) -> None:
        ledger, let_go = self._driver.ledger, self._driver.let_go
        ends, self._seen = ledger.ends[self._seen :], len(ledger.ends)
        lost, self._let_go = let_go[self._let_go :], len(let_go)
        self._stopping += [self._trials[key] for key in sorted({*ends, *lost}) if key in self._trials]

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and our state is in the store."""
        return {}

    def debug_string(self) -> str:
        """Return a line for Ray's own display."""
        return "Successive halving within cells"
