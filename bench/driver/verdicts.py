"""The verdicts of the stopping rules on a plan's trials, and the curves of each cell, by which they are judged."""

from collections.abc import Container, Iterable, Iterator, Mapping

from bench.driver.results import Status
from bench.driver.stopping import GO, Action, Curve, Verdict, judge
from bench.sweeps.plan import Plan
from trainers.config.trial import TrialConfig


class Verdicts:
    """The verdicts on the trials of a ledger, which has a cell judged again whenever a value or an end in it is new."""

    def __init__(
        self, plan: Plan, status: Mapping[str, Status], values: Mapping[str, dict[int, float]],
        diversity: Mapping[str, dict[int, float]], apart: Container[str],
    ) -> None:  # fmt: skip
        """The first three mappings are the ledger's own, as it changes them; `apart` are trials that count as failed."""
        self._plan, self._status, self._values, self._diversity, self._apart = plan, status, values, diversity, apart
        self._verdicts: dict[str, Verdict] = {}

    def of(self, key: str) -> Verdict:
        """Return the verdict on a trial; a pretrain trial always goes on."""
        return self._verdicts.get(key, GO)

    def waiting(self) -> Iterator[str]:
        """Yield the trials that wait for others of their cell, if they have not ended."""
        return (key for key, verdict in self._verdicts.items() if verdict.action is Action.WAIT)

    def judge(self, cell: str) -> list[str]:
        """Judge the trials of a cell; return those on which the verdict has changed."""
        stopping = self._plan.spec.stopping
        if stopping.rule == "none":
            return []
        judged = judge(self.curves(cell), self.rungs(cell), stopping, cell)
        changed = {key: verdict for key, verdict in judged.items() if verdict != self.of(key)}
        self._verdicts |= changed
        return list(changed)

    def rungs(self, cell: str) -> tuple[int, ...]:
        """Return the rungs of a cell: those of its trial with the largest budget."""
        return max((self._plan.by_key[key].rungs for key in self._plan.cells[cell]), key=lambda rungs: rungs[-1])

    def curves(self, cell: str) -> list[Curve]:
        """Return the curves of a cell's trials, in plan order, for the stopping rules."""
        rungs = self.rungs(cell)
        return [
            Curve(
                trial.key,
                trial.strategy or "",
                held(self._values[trial.key], trial.training.steps, rungs),
                diverged=self._status[trial.key] == "diverged",
                failed=self._status[trial.key] in ("failed", "blocked") or trial.key in self._apart,
                diversity=self._diversity.get(trial.key, {}),
                method=_method(trial),
            )
            for trial in map(self._plan.by_key.__getitem__, self._plan.cells[cell])
        ]


def held(values: dict[int, float], budget: int, rungs: Iterable[int]) -> dict[int, float]:
    """Return a trial's values by rung; the value at its budget, if reached, stands for the later rungs of its cell."""
    return values | {rung: values[budget] for rung in rungs if rung > budget and budget in values}


def _method(trial: TrialConfig) -> str:
    """Return the name that a trial shares with the other seeds of its method in its cell."""
    name = f"{trial.strategy} {trial.source and trial.source.name}"
    if trial.kind == "adapt":
        return name
    training = trial.training
    return f"{name} {trial.with_options} {training.generator_lr} {training.critic_lr} {training.steps}"
