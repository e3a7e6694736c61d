"""Runs a sweep: what is left of its trials, or has been lost since, then what is missing of its distances.

Imports Ray only when there is something to run, so that a finished sweep answers at once.
"""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench.costs.budget import Budget
from bench.driver.ledger import Ledger
from bench.driver.recorder import Recorder
from bench.images.domains import make_ready, near_duplicates
from bench.run.progress import Progress
from bench.store import Store
from bench.sweeps.plan import Plan
from bench.upkeep.repair import reopen
from bench.worker import distances
from trainers.domains import get
from trainers.domains.mixtures import parts_of


def run_sweep(
    plan: Plan, ledger: Ledger, store: Store, console: Console, cpus: int | None = None, address: str = "local",
    budget: Budget | None = None,
) -> list[str]:  # fmt: skip
    """Run the ledger's open trials to their ends, and measure the distances that the store lacks.

    Ends early, with trials still open in the ledger, when it is interrupted (SIGINT) or the budget is spent.

    Args:
        plan: the sweep.
        ledger: what the store has of it; kept up to date.
        store: where results go.
        console: where progress goes.
        cpus: CPU cores to use in all; None for every core.
        address: of a Ray cluster that is up; "local" starts one on this machine.
        budget: what the trials may spend; None for no limit.

    Returns:
        which distances could not be measured, and why.

    Raises:
        UserError: one trial needs more CPUs or GPUs than there are, or there is no cluster.
        StoreUnwritableError: the store takes nothing more; the trials are as if interrupted.
    """
    for line in reopen(plan, ledger, store):
        console.print(line, highlight=False, markup=False)
    progress = Progress(ledger, console)
    recorder = Recorder(plan, ledger, store, progress.update)
    recorder.settle()
    if recorder.unwritable:
        raise recorder.unwritable
    if not (ledger.open_trials() or distances.unembedded(plan, store) or distances.missing(plan, ledger, store)):
        return []
    from bench.on_ray import cluster, tuner

    prepare_domains(plan, console)
    with cluster.cluster(plan.spec.resources, cpus, address):
        if ledger.open_trials():
            damaged = set(store.list_files("damaged"))
            with progress:
                tuner.run_trials(plan, ledger, store, recorder, budget=budget)
            for name in sorted(set(store.list_files("damaged")) - damaged):  # found by other processes, which nobody hears
                console.print(f"note: a damaged file was set aside: {name}", highlight=False, markup=False, soft_wrap=True)
        if recorder.unwritable:
            raise recorder.unwritable
        if ledger.open_trials():
            return []
        return _measure_distances(plan, ledger, store, console)


def run_distances(
    plan: Plan, ledger: Ledger, store: Store, console: Console, cpus: int | None = None, address: str = "local"
) -> list[str]:
    """Measure what the store lacks of the distances between a plan's domains, and nothing else; see `run_sweep`."""
    if not (distances.unembedded(plan, store) or distances.missing(plan, ledger, store)):
        return []
    from bench.on_ray import cluster

    with cluster.cluster(plan.spec.resources.model_copy(update={"gpus": 0.0}), cpus, address):  # they take none
        return _measure_distances(plan, ledger, store, console)


def prepare_domains(plan: Plan, console: Console) -> None:
    """Decode and resize the images of all domains of a plan, once, before many processes ask for them."""
    resolution = plan.spec.gan.resolution
    for name in dict.fromkeys(trial.domain.name for trial in plan.trials):
        domain = get(name)
        make_ready(domain, resolution, console)
        for part in parts_of(domain):
            if note := near_duplicates(part, resolution):
                console.print(f"note: {part.name}: {note}", highlight=False, markup=False, soft_wrap=True)


def _measure_distances(plan: Plan, ledger: Ledger, store: Store, console: Console) -> list[str]:
    """Measure what the store lacks of the distances between a plan's domains; Ray must be up.

    Returns:
        which could not be measured, and why.
    """
    from bench.on_ray.tasks import map_tasks

    spec, failures = plan.spec, []
    common = (store.address, spec.name, spec.evaluation.embedding, spec.gan.resolution)

    def run(function: Callable[..., None], arguments: list[tuple[Any, ...]], names: list[str]) -> None:
        for ended, (i, error) in enumerate(map_tasks(function, arguments, spec.resources), 1):
            if error:
                failures.append(f"{names[i]} failed: {error}")
            console.print(f"[{ended}/{len(arguments)}] {names[i]}", highlight=False, markup=False)

    domains = distances.unembedded(plan, store)
    run(distances.embed, [(*common, name) for name in domains], [f"embedding of {name}" for name in domains])
    tasks = distances.missing(plan, ledger, store)
    names = [f"distances from {source} ({'real' if key is None else 'generated'} images)" for source, key, _ in tasks]
    run(distances.measure, [(*common, spec.evaluation.samples, *task) for task in tasks], names)
    return failures
