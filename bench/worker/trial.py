"""Trains one trial and stores its results; connects `trainers.trial`, which knows no store, to the store.

At every rung the measurements are published first, then samples and generator, then the checkpoint, then the outcome if the
trial has ended, and only then is the report yielded. A trial that is killed at any moment resumes from its last checkpoint: it
reports its last rung again, and what it measures again reads as the same rows. Checkpoints between rungs are written while
training goes on, the one at which the trial leaves before it does. A damaged checkpoint is set aside: the trial resumes from
the one before it, or starts again. Where drivers share a store, the claim on the trial is looked up before each publication;
without it nothing more is published.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.driver.claims import ensure_held
from bench.store import Store, open_store
from bench.store.environments import record_environment
from bench.store.references import StoredReferences
from bench.store.trial_files import (
    checkpoint_path,
    checkpoint_paths,
    generator_path,
    last_checkpoint,
    real_samples_path,
    samples_path,
)
from bench.sweeps.plan import Plan
from bench.sweeps.rows import measurement_rows, outcome_row
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.trial.checkpoints import Checkpoint
    from trainers.trial.run import Interim
    from trainers.trial.rung import Rung


def task(plan: Plan, store: Store, key: str, claim: str | None = None) -> dict[str, Any]:
    """Return the argument of `train` for a trial of a plan: plain data that another process can read.

    `claim` is the path in the store of the claim under which its results are published (see `Driver.claim`).
    """
    return {
        "key": key,
        "trial": plan.by_key[key].canonical_json(),
        "store": store.address,
        "claim": claim,
        "sweep": plan.spec.name,
        "resources": plan.spec.resources.model_dump(),
    }


def train(
    config: Mapping[str, Any], run: "Callable[..., Iterator[Rung | Interim]] | None" = None,
    leave: Callable[[], bool] = lambda: False,
) -> Generator[dict[str, Any], None, None]:  # fmt: skip
    """Run one trial in this process and store its results.

    Args:
        config: what `task` returns: "key" and "trial" (canonical JSON), "sweep" and "store" (URI) as strings, "resources" and
            "claim".
        run: trains the trial in place of `trainers.trial.run.run`.
        leave: whether to end early at a checkpoint, see `trainers.trial.run.run`.

    Yields:
        at each rung and at the trial's end a report: "status" ("running", "done" or "diverged"), "error", "environment", and
        `Rung.report`. The first report of a resumed trial is that of its checkpoint.

    Raises:
        UserError: the domain, the embedding or the source differs from what the trial was planned with.
        StoreUnwritableError: the store accepts no more writes.
        LostClaimError: the claim is gone, so that another driver may run the trial.
        Left: `leave` has become true; the last checkpoint is in the store.
    """
    import torch

    from trainers.evaluation.evaluator import real_grid
    from trainers.trial import run as real

    resources = config["resources"]
    torch.set_num_threads(resources["cpus"])
    if 0 < resources["gpus"] < 1:
        # Ray does not enforce a fraction of a GPU: with this, a trial that exceeds its share fails alone, not its neighbours.
        torch.cuda.set_per_process_memory_fraction(resources["gpus"])
    store = open_store(config["store"])
    trial = TrialConfig.model_validate_json(config["trial"])
    if trial.key != config["key"]:
        raise UserError(
            f"embedding {trial.evaluation.embedding!r} is a different file on this machine than on the one that planned the "
            "sweep; copy that file here"
        )
    sweep, claim = config["sweep"], config.get("claim")
    environment = _environment(store.address, sweep, gpu=bool(resources["gpus"]))
    last = _last_checkpoint(store, trial.key)
    samples = samples_path(trial.key, 0 if last is None else int(last.report["steps"]))
    if not store.has_file(real_samples_path(trial)):
        store.write_file(real_samples_path(trial), real_grid(trial.domain.name, trial.gan.resolution))

    def end(status: str, step: int, report: Mapping[str, Any], error: str | None = None) -> None:
        checkpoint = checkpoint_path(trial.key, step)
        row = outcome_row(
            trial,
            status,
            environment,
            report,
            checkpoint=checkpoint if store.has_file(checkpoint) else None,
            samples=samples if store.has_file(samples) else None,
            real_samples=real_samples_path(trial),
            error=error,
        )
        ensure_held(store, claim)
        store.append("trials", sweep, [row])

    if last is not None and last.step:
        # The driver may not have received this rung's report; at every rung the trial may have to wait or end.
        measured, budget = last.report["steps"], trial.training.steps
        status = "running" if last.resumable and (last.step < budget or measured < budget == last.step) else "done"
        if status == "done" and not _recorded(store, trial.key):
            end(status, last.step, last.report)
        if last.report["steps"]:
            yield {"status": status, "error": None, "environment": environment, **last.report}
        if status == "done":
            return

    parent = _last_checkpoint(store, trial.parent) if last is None and trial.parent is not None else None
    device = "cuda" if resources["gpus"] else "cpu"

    def save(step: int, checkpoint: bytes) -> None:
        name = checkpoint_path(trial.key, step)
        ensure_held(store, claim)
        store.write_file(name, checkpoint)
        for older in checkpoint_paths(store, trial.key):
            if older < name:
                store.delete_file(older)

    events = (run or real.run)(
        trial, parent=parent, resume=last, device=device, graphs=resources["graphs"], references=StoredReferences(store),
        checkpoint_seconds=60 * resources["checkpoint_minutes"], leave=leave,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        saving: Future[None] | None = None
        for event in events:
            if isinstance(event, real.Interim):
                if leave():
                    _raise(saving)
                    save(event.step, event.checkpoint)
                # A store that takes longer than that to write one is given the next one instead.
                elif saving is None or saving.done():
                    _raise(saving)
                    saving = pool.submit(save, event.step, event.checkpoint)
                continue
            rung = event
            _raise(saving)
            ensure_held(store, claim)
            if rung.measurements:
                store.append("measurements", sweep, measurement_rows(trial, rung))
            if rung.samples is not None:
                samples = samples_path(trial.key, rung.step)
                store.write_file(samples, rung.samples)
            if rung.generator is not None:
                store.write_file(generator_path(trial.key, rung.step), rung.generator)
            if rung.checkpoint is not None:
                save(rung.step, rung.checkpoint)
            status = "diverged" if rung.diverged else "done" if rung.finished else "running"
            if status != "running":
                end(status, rung.step, rung.report, rung.diverged)
            if rung.step or rung.diverged:
                yield {"status": status, "error": rung.diverged, "environment": environment, **rung.report}


def _raise(saving: "Future[None] | None") -> None:
    """Wait until a checkpoint is written, and raise what its writing raised."""
    if saving is not None:
        saving.result()


@cache
def _environment(store: str, sweep: str, *, gpu: bool) -> str:
    """Record this machine once per process, which may run many short trials."""
    return record_environment(open_store(store), sweep, gpu=gpu)


def _last_checkpoint(store: Store, key: str) -> "Checkpoint | None":
    from trainers.trial import checkpoints

    named = last_checkpoint(store, key)
    return None if named is None else checkpoints.load(named[1], named[0])


def _recorded(store: Store, key: str) -> bool:
    trials = store.read("trials")
    return bool(((trials["key"] == key) & (trials["status"] == "done")).any())
