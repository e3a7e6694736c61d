"""Trains one trial and stores its results; connects `trainers.trial`, which knows no store, to the store.

Every rung is published (see `bench.worker.publishing`) before the report of it is yielded. A trial that is killed at any moment
resumes from its last checkpoint: it reports its last rung again, and what it measures again reads as the same rows. Checkpoints
between rungs are written while training goes on, the one at which the trial leaves before it does. A damaged checkpoint is set
aside: the trial resumes from the one before it, or starts again.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.store import Store, open_store
from bench.store.environments import record_environment
from bench.store.references import StoredReferences
from bench.store.trial_files import real_samples_path
from bench.sweeps.plan import Plan
from bench.worker import longer_source
from bench.worker.publishing import Publisher, read_checkpoint

if TYPE_CHECKING:
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
        "where": plan.spec.evaluation.where,
    }


def train(
    config: Mapping[str, Any], run: "Callable[..., Iterator[Rung | Interim]] | None" = None,
    leave: Callable[[], bool] = lambda: False,
) -> Generator[dict[str, Any], None, None]:  # fmt: skip
    """Run one trial in this process and store its results.

    Args:
        config: what `task` returns: "key" and "trial" (canonical JSON), "sweep" and "store" (URI) as strings, "resources",
            "claim" and "where".
        run: trains the trial in place of `trainers.trial.run.run`.
        leave: whether to end early at a checkpoint, see `trainers.trial.run.run`.

    Yields:
        at each rung and at the trial's end a report: "status" ("running", "done" or "diverged"), "error", "environment", and
        `Rung.report`. The first report of a resumed trial is that of its checkpoint. At a rung that is measured elsewhere, also
        at step 0, the last report has only "steps", "environment" and the status "reached" (see `measure_reached`).

    Raises:
        UserError: the domain, the embedding or the source differs from what the trial was planned with.
        StoreUnwritableError: the store accepts no more writes.
        LostClaimError: the claim is gone, so that another driver may run the trial.
        Left: `leave` has become true; the last checkpoint is in the store.
    """
    from trainers.evaluation.evaluator import real_grid
    from trainers.trial import run as real

    resources = config["resources"]
    _use(resources["cpus"], resources["gpus"])
    store = open_store(config["store"], known=True)
    environment = _environment(store.address, config["sweep"], gpu=bool(resources["gpus"]))
    publisher = Publisher.of(config, store, environment)
    trial = publisher.trial
    if publisher.last is None and trial.kind == "pretrain" and not trial.imported:
        longer_source.begin(publisher)
    last = publisher.last
    if not store.has_file(real_samples_path(trial)):
        store.write_file(real_samples_path(trial), real_grid(trial.domain.name, trial.gan.resolution))
    report = publisher.report_again()
    if report is not None:
        yield report
        if report["status"] == "done":
            return

    parent = read_checkpoint(store, trial.parent) if last is None and trial.parent is not None else None
    events = (run or real.run)(
        trial, parent=parent, resume=last, device="cuda" if resources["gpus"] else "cpu", graphs=resources["graphs"],
        references=StoredReferences(store), checkpoint_seconds=60 * resources["checkpoint_minutes"], leave=leave,
        measure=config["where"] == "inline",
    )  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        saving: Future[None] | None = None
        for event in events:
            if not isinstance(event, real.Interim):
                _raise(saving)
                report = publisher.publish(event)
                if event.step or event.diverged:
                    yield report
            elif event.reached or leave():
                _raise(saving)
                publisher.save(event.step, event.checkpoint)
                if event.reached:
                    yield {"status": "reached", "error": None, "environment": environment, "steps": event.step}
            # A store that takes longer than that to write one is given the next one instead.
            elif saving is None or saving.done():
                _raise(saving)
                saving = pool.submit(publisher.save, event.step, event.checkpoint)


def measure_reached(config: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Measure the rung that a trial has reached, in this process and on its CPU cores, and publish it as `train` would.

    Args:
        config: as in `train`.
        environment: from the trial's report that it has reached the rung.

    Returns:
        the report that `train` would have yielded at this rung; that of step 0 too.

    Raises:
        UserError, StoreUnwritableError, LostClaimError: as `train`.
    """
    from trainers.trial.rung import measure_reached as measured

    _use(config["resources"]["cpus"], 0)
    publisher = Publisher.of(config, open_store(config["store"], known=True), environment)
    assert publisher.last is not None, "its checkpoint is damaged"
    if publisher.last.report["steps"] == publisher.last.step:  # published, but its report has not reached the driver
        report = publisher.report_again()
        if report is not None:
            return report
    return publisher.publish(measured(publisher.trial, publisher.last, StoredReferences(publisher.store)))


def _use(cpus: int, gpus: float) -> None:
    """Use these CPU cores, and no more than this share of the GPU."""
    import torch

    torch.set_num_threads(cpus)
    if 0 < gpus < 1:
        # Ray does not enforce a fraction of a GPU: with this, a trial that exceeds its share fails alone, not its neighbours.
        torch.cuda.set_per_process_memory_fraction(gpus)


def _raise(saving: "Future[None] | None") -> None:
    """Wait until a checkpoint is written, and raise what its writing raised."""
    if saving is not None:
        saving.result()


@cache
def _environment(store: str, sweep: str, *, gpu: bool) -> str:
    """Record this machine once per process, which may run many short trials."""
    return record_environment(open_store(store, known=True), sweep, gpu=gpu)
