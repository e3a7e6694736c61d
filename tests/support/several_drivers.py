"""Simulations of several drivers that share a store, in one process: their steps are interleaved by a seeded generator.

The drivers, their claims and the store are the real ones. Only the training is not: a trial's values come from a hash. They are
published in the order of `bench.worker.trial.train`, with a possible change of turn between any two publications. A process may
also be suspended between its look at a claim and the publication, until others hold its trials; what it publishes then may not
change what they have published. The clock is that of the simulation, so a lease ends without waiting.
"""

import hashlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from bench.driver import claims
from bench.driver.claims import LostClaimError, holding
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver
from bench.run.measuring import Work, lacking
from bench.store import Held, Store, open_store
from bench.store.trial_files import checkpoint_path, checkpoint_paths, generator_path
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.rows import outcome_row, record
from bench.sweeps.spec import SweepSpec
from bench.upkeep.check import check
from trainers.config.trial import TrialConfig

#: What a run may suffer: at most one of each.
TROUBLES = ("freeze", "kill", "quit", "claims", "crash", "heartbeat", "suspend")

#: Turns after which a run counts as endless.
TURNS = 1_500

#: Final status and steps of each trial, and its values by view and step.
Outcomes = dict[str, tuple[str, int, tuple[tuple[tuple[str, int], float], ...]]]


def planned(name: str = "one", **changes: Any) -> Plan:
    """Return a plan of one cell: scratch, and a transfer from each of three sources."""
    base: dict[str, Any] = {
        "name": name, "sources": ["letters", "shapes", "textures"], "targets": ["digits"], "sizes": [10],
        "strategies": ["scratch", "finetune"], "training": {"steps": 8}, "pretrain": {"steps": 2},
        "evaluation": {"first_rung": 2}, "stopping": {"protect_strategies": False}, "resources": {"retries": 50},
    }  # fmt: skip
    return make_plan(SweepSpec.model_validate({**base, **changes}))


ONE = planned()

#: By name, the plans of the drivers: of the same sweep, of overlapping sweeps, and of other rules on the same trials.
CROWDS: dict[str, tuple[Plan, ...]] = {
    "two of a sweep": (ONE, ONE),
    "three of a sweep": (ONE, ONE, ONE),
    "a sweep and a larger one": (ONE, planned("large", sources=["letters", "shapes", "textures", "numerals"])),
    "two rules": (ONE, planned("strict", stopping={"protect_strategies": False, "keep": 0.3})),
    "with and without stopping": (ONE, planned("whole", stopping={"rule": "none"})),
    "two evaluations": (ONE, planned("anew", evaluation={"first_rung": 2, "samples": 96})),
}


@dataclass(frozen=True)
class Fates:
    """What is measured in the trials of a run, by a hash of its seed."""

    seed: int

    def value(self, key: str, step: int) -> float:
        """Return the stopping metric at a step."""
        return self._draw("value", key, step) * 100

    def diverges(self, key: str, step: int) -> bool:
        """Return whether a trial diverges on the way to a step; a few of the adaptations do."""
        return step > 2 and self._draw("diverges", key, step) < 0.08

    def _draw(self, *what: object) -> float:
        return int.from_bytes(hashlib.sha256(repr((self.seed, *what)).encode()).digest()[:8]) / 2**64


def measure(
    store: Store, sweep: str, trial: TrialConfig, steps: Sequence[int], fates: Fates, author: int = 0, held: Held | None = None
) -> None:
    """Publish the stopping metric of a trial at some steps, as its evaluation measures it."""
    row = {"trial": trial.key, "metric": "fid", "embedding": "builtin", "view": trial.evaluation.view, "version": "1"}
    row |= {"seconds": author}
    store.append("measurements", sweep, [{**row, "step": at, "value": fates.value(trial.key, at)} for at in steps], held)


@dataclass
class Publication:
    """One file of a trial that its process publishes, and what is wrong if it was suspended meanwhile.

    `pause` suspends the process, or does nothing; `seen` returns what the store has of the same file or row.
    """

    store: Store
    claim: str | None
    pause: Callable[[], None]
    wrong: list[str]
    seen: Callable[[], object]

    def by(self, write: Callable[[Held | None], None]) -> None:
        """Publish; raises LostClaimError."""
        look, found = holding(self.store, self.claim), []

        def held() -> None:
            assert look is not None
            look()
            self.pause()
            if not self.store.has_file(str(self.claim)):
                found.append(self.seen())

        write(None if look is None else held)
        if found and found[-1] is not None and self.seen() != found[-1]:
            self.wrong.append(f"without {self.claim}, {found[-1]} became {self.seen()}")


def work(
    plan: Plan, store: Store, key: str, claim: str | None, fates: Fates, author: int = 0,
    pause: Callable[[], None] = lambda: None, wrong: list[str] | None = None,
) -> Iterator[dict[str, Any] | None]:  # fmt: skip
    """Run one trial as `bench.worker.trial.train` does; yields its reports, and None between two publications.

    The files and rows say who is their `author`; what is `wrong` with them is added there.
    """
    trial, sweep = plan.by_key[key], plan.spec.name
    publication = partial(Publication, store, claim, pause, [] if wrong is None else wrong)

    def bytes_of(name: str) -> object:
        return store.read_file(name) if store.has_file(name) else None

    def newest(table: Literal["trials", "measurements"], **wanted: object) -> object:
        rows = [row for row in store.rows(table).to_pylist() if all(row[name] == value for name, value in wanted.items())]
        return (rows[0]["seconds"], rows[0]["steps" if table == "trials" else "step"]) if rows else None

    def end(status: str, step: int) -> Iterator[None]:
        row = outcome_row(trial, status, "machine", steps=step)
        publication(lambda: newest("trials", key=key)).by(lambda held: store.append("trials", sweep, [row], held))
        yield None

    def file(name: str, data: bytes) -> Iterator[None]:
        publication(lambda: bytes_of(name)).by(lambda held: store.write_file(name, data, held))
        yield None

    def values(steps: Sequence[int]) -> Iterator[None]:
        seen = partial(newest, "measurements", trial=key, step=steps[-1], view=trial.evaluation.view)
        publication(seen).by(lambda held: measure(store, sweep, trial, steps, fates, author, held))
        yield None

    def save(step: int) -> Iterator[None]:
        yield from file(checkpoint_path(key, step), f"{trial.evaluation.view} {author}".encode())
        for older in checkpoint_paths(store, key):
            if older < checkpoint_path(key, step):
                store.delete_file(older)
        yield None

    def report(status: str, step: int, view: str = trial.evaluation.view) -> dict[str, Any]:
        shared = {"status": status, "steps": step, "view": view, "environment": "machine"}
        return {**shared, "error": "nan"} if status == "diverged" else {**shared, "fid": fates.value(key, step)}

    last = max((int(Path(name).stem) for name in checkpoint_paths(store, key)), default=0)
    if last:
        status = "done" if last == trial.training.steps else "running"
        if status == "done":
            yield from end(status, last)
        yield report(status, last, store.read_file(checkpoint_path(key, last)).decode().partition(" ")[0])
        if status == "done":
            return
    for step in (rung for rung in trial.rungs if rung > last):
        yield None
        if fates.diverges(key, step):
            yield from end("diverged", step)
            yield report("diverged", step)
            return
        steps = [0, step] if step == trial.rungs[0] else [step]
        for at in steps:
            yield from file(generator_path(key, at), str(author).encode())
        yield from values(steps)
        yield from save(step)
        status = "done" if step == trial.training.steps else "running"
        if status == "done":
            yield from end(status, step)
        yield report(status, step)


class Machine:
    """A driver and the trials that run on its slots."""

    def __init__(self, plan: Plan, store: Store, fates: Fates, clock: Any, slots: int, number: int) -> None:
        self.plan, self._store, self._fates, self._clock, self.slots = plan, store, fates, clock, slots
        self._number = number
        self.suspended = False
        self.suspend: Callable[[], None] | None = None  # at the next look at a claim
        self.wrong: list[str] = []
        self.measure_anew()
        self.driver = self._opened()
        self.workers: dict[str, Iterator[dict[str, Any] | None]] = {}
        self.frozen, self.shares = False, ExitStack()
        self.beaten = clock()

    @property
    def claims(self) -> claims.Claims:
        assert self.driver._sharing is not None
        return self.driver._sharing._claims

    def _opened(self) -> Driver:
        def behind() -> list[str]:
            return [each.trial.key for each in self.lacking()]

        return Driver(Ledger.open(self.plan, self._store), self._store, back_off=0.0, clock=self._clock, lacking=behind)

    def lacking(self) -> list[Work]:
        """Return what this evaluation has not measured of the trials that have stored generators."""
        return [each for each in lacking(self.plan, self._store, ["fid"]) if each.steps]

    def measure_anew(self) -> bool:
        """Measure what is lacking, and return whether anything was."""
        work = self.lacking()
        for each in work:
            measure(self._store, self.plan.spec.name, each.trial, each.steps, self._fates)
        return bool(work)

    def join(self) -> None:
        """Begin to share the store; the ledger may be older."""
        self.driver.settle()
        self.shares.enter_context(self.driver.sharing())

    def leave(self) -> bool:
        """Leave the store at the end of the driver; return False if another one has to go on, which joins it then."""
        self.shares.close()
        behind = self.driver.behind
        if not self.measure_anew() and not behind:
            return True
        self.driver = self._opened()
        self.join()
        return False

    def turn(self, dice: random.Random) -> None:
        """Take a trial, or move one that runs."""
        if len(self.workers) < self.slots and (not self.workers or dice.random() < 0.3):
            key = self.driver.take()
            if key is not None:
                self.driver.start(key)
                of_machine = self._number, self._pause, self.wrong
                self.workers[key] = work(self.plan, self._store, key, self.driver.claim(key), self._fates, *of_machine)
            return
        key = dice.choice(sorted(self.workers))
        try:
            report = next(self.workers[key])
        except LostClaimError as error:
            del self.workers[key]
            self.driver.fail(key, str(error))
            return
        if report is not None and self.driver.rung(key, report) != "running":
            del self.workers[key]

    def _pause(self) -> None:
        """Suspend this machine between a look at a claim and the publication, if it is time."""
        if self.suspend is not None:
            suspend, self.suspend = self.suspend, None
            self.frozen = self.suspended = True
            suspend()
            self.frozen = self.suspended = False

    def crash(self, dice: random.Random) -> None:
        """Lose a worker, if one runs."""
        if self.workers:
            key = dice.choice(sorted(self.workers))
            del self.workers[key]
            self.driver.fail(key, "boom")


def run(folder: Path, seed: int, plans: tuple[Plan, ...], troubles: tuple[str, ...] = TROUBLES) -> tuple[Outcomes, list[str]]:
    """Run a driver of each plan at once; return the outcomes in the store, and what is wrong in them or in the ledgers.

    The first driver is neither killed nor leaves before its end.
    """
    dice, now = random.Random(seed), [1000.0]
    store = open_store(str(folder), create=True)
    for plan in plans:
        store.write_sweep(plan.spec.name, record(plan))

    def clock() -> float:
        return now[0]

    def beat() -> None:
        for machine in machines:
            if not machine.frozen and machine in joined and machine not in gone and now[0] - machine.beaten >= claims.BEAT:
                machine.claims._beat()
                machine.beaten = now[0]

    def suspended() -> None:
        for _ in range(dice.randint(70, 150)):
            tick()

    def tick() -> None:
        """Let a second pass, in which one driver has its turn."""
        nonlocal turn
        turn += 1
        now[0] += 1.0
        for machine, at in zip(machines, late, strict=True):
            if at == turn:
                machine.join()
                joined.append(machine)
        beat()
        if turn in thaws:
            thaws.pop(turn).frozen = False
        at_work = [machine for machine in joined if machine not in gone and not machine.suspended]
        if not at_work:
            return
        trouble, victim = moments.get(turn), dice.choice(at_work)
        if trouble == "freeze":
            victim.frozen, thaws[turn + dice.randint(70, 150)] = True, victim
        elif trouble == "suspend":
            victim.suspend = suspended
        elif trouble == "kill" and victim is not machines[0]:
            killed.append(victim)
            gone.append(victim)
        elif trouble == "quit" and victim is not machines[0]:
            gone.append(victim)
            victim.shares.close()
        elif trouble == "claims":
            for name in store.list_files("claims"):
                store.delete_file(name)
        elif trouble == "heartbeat":
            for name in store.list_files("drivers"):
                store.delete_file(name)
        elif trouble == "crash":
            victim.crash(dice)
        for machine in at_work:
            over = machine not in gone and not machine.frozen and not machine.workers and machine.driver.over
            if over and machine.leave():
                gone.append(machine)
        at_work = [machine for machine in joined if machine not in gone and not machine.frozen]
        if at_work:
            dice.choice(at_work).turn(dice)

    with patch.object(time, "monotonic", clock):
        machines = [Machine(plan, store, Fates(seed), clock, dice.randint(1, 3), i) for i, plan in enumerate(plans, 1)]
        moments = {dice.randint(1, 120): trouble for trouble in troubles}
        late = [0, *(dice.choice([0, dice.randint(0, 60)]) for _ in machines[1:])]
        gone: list[Machine] = []
        killed: list[Machine] = []
        joined: list[Machine] = []
        thaws: dict[int, Machine] = {}
        turn = -1
        while len(gone) < len(machines):
            if turn > TURNS:
                return outcomes(store), [f"endless: {dict(Counter(machines[0].driver.ledger.status.values()))}"]
            tick()
    if troubles:  # the same command finishes what a killed driver, or one that left, has not begun
        left = [machine for machine in machines if machine.driver.ledger.is_open() or machine.lacking()]
        for plan in {machine.plan.spec.name: machine.plan for machine in left}.values():
            if plan is not plans[0]:
                run(folder, seed, (plan,), ())
    wrong = [str(fault) for fault in check(store) if fault.kind == "outcome"]
    wrong += [line for machine in machines for line in machine.wrong]
    living = [machine.claims._driver for machine in machines if machine not in killed]
    wrong += [f"a claim remains: {name}" for name in store.list_files("claims") if name.partition(".")[2] in living]
    return outcomes(store), wrong


def outcomes(store: Store) -> Outcomes:
    """Return what a store has recorded of its trials."""
    values: dict[str, dict[tuple[str, int], float]] = {}
    for row in store.read("measurements").to_dict("records"):
        values.setdefault(row["trial"], {})[row["view"], row["step"]] = row["value"]
    return {
        row["key"]: (row["status"], row["steps"], tuple(sorted(values.get(row["key"], {}).items())))
        for row in store.read("trials").to_dict("records")
    }


def compare(folder: Path, seed: int, plans: tuple[Plan, ...]) -> list[str]:
    """Return what differs between drivers that share a store and the same sweeps undisturbed, one after the other."""
    # Not those of another seed: the heartbeats of drivers that were killed there may still be written.
    alone, together = folder / f"alone-{seed}", folder / f"together-{seed}"
    for plan in {plan.spec.name: plan for plan in plans}.values():
        expected, _ = run(alone, seed, (plan,), ())
    try:
        actual, wrong = run(together, seed, plans)
    except Exception as error:  # a crash is what is counted
        actual, wrong = expected, [f"crash: {type(error).__name__}: {error}"]
    shutil.rmtree(together)
    shutil.rmtree(alone)
    return wrong + [
        f"outcome: {key} is {actual.get(key)}, not {expected.get(key)}"
        for key in sorted(expected.keys() | actual.keys())
        if actual.get(key) != expected.get(key)
    ]
