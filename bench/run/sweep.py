"""Runs a sweep: the trials that the store lacks or has lost, then the missing distances.

Ray is imported only if there is something to run, so that a finished sweep ends immediately.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console

from bench.costs.budget import Budget
from bench.driver.ledger import Ledger
from bench.driver.loop import Driver, Listener
from bench.images.domains import make_ready, near_duplicates
from bench.run import in_process, measuring
from bench.run.measuring import MapCalls, Work
from bench.run.progress import Progress
from bench.store import Store
from bench.sweeps.plan import Plan
from bench.sweeps.spec import ResourcesConfig
from bench.upkeep import small_parts
from bench.upkeep.repair import reopen
from bench.worker import distances, responses
from trainers.common.errors import UserError
from trainers.config.sources import renamed
from trainers.domains import get
from trainers.domains.mixtures import parts_of

#: The address by which everything runs in this process, without Ray.
HERE = "here"


def run_sweep(
    plan: Plan, ledger: Ledger, store: Store, console: Console, cpus: int | None = None, address: str = "local",
    budget: Budget | None = None, listener: Listener = lambda key, report: None,
    lacking: Callable[[], Collection[str]] = tuple,
) -> tuple[list[str], bool]:  # fmt: skip
    """Run the ledger's open trials to their ends, and measure the distances that the store lacks.

    Returns early, with trials still open in the ledger, if it is interrupted (SIGINT) or the budget is spent.

    Args:
        plan, ledger: the sweep, and the state of its trials in the store, which is kept up to date.
        store, console: where results and progress go.
        cpus: CPU cores to use in total; None for every core.
        address: of a running Ray cluster; "local" starts one on this machine; "here" runs everything in this process.
        budget: what the trials may spend; None for no limit.
        listener: is told of each rung and end of a trial.
        lacking: returns the trials that `measure_anew` can measure, besides those for which that was tried.

    Returns:
        which distances could not be measured, and why; and whether trials are still open because trials of other drivers are
        to be measured first (see `Driver.behind`).

    Raises:
        UserError: one trial needs more CPUs or GPUs than there are, or there is no cluster.
        StoreUnwritableError: the store accepts no more writes; the trials are as if interrupted.
        Exception: with "here", any exception of a trial.
    """
    for line in reopen(plan, ledger, store):
        console.print(line)
    progress = Progress(ledger, console, live=address != HERE)  # a live table would get in the way of a debugger

    def update(key: str, report: Mapping[str, Any] | None) -> None:
        progress.update(key, report)
        listener(key, report)

    driver = Driver(ledger, store, update, budget, notice=progress.note, lacking=lacking)
    driver.settle()
    if driver.unwritable:
        raise driver.unwritable
    if not (ledger.open_trials() or _unmeasured(plan, ledger, store)):
        return [], False
    prepare_domains(plan, console)
    runner = _runner(plan.spec.resources, cpus, address)
    with small_parts.merging(store, plan.spec.name), runner as (run_trials, map_calls):
        if ledger.open_trials():
            damaged = set(store.list_files("damaged"))
            with progress:
                run_trials(driver)
            for name in sorted(set(store.list_files("damaged")) - damaged):  # by other processes, whose logs are off
                console.print(f"note: a damaged file was set aside: {name}", soft_wrap=True)
        if driver.unwritable:
            raise driver.unwritable
        if ledger.open_trials():
            return [], driver.behind
        return _measure_distances(plan, ledger, store, console, map_calls), False


def run_distances(
    plan: Plan, ledger: Ledger, store: Store, console: Console, cpus: int | None = None, address: str = "local"
) -> list[str]:
    """Measure the distances between a plan's domains that the store lacks, and nothing else; see `run_sweep`."""
    if not _unmeasured(plan, ledger, store):
        return []
    with _runner(plan.spec.resources.model_copy(update={"gpus": 0.0}), cpus, address) as (_, map_calls):  # they take no GPU
        return _measure_distances(plan, ledger, store, console, map_calls)


def measure_anew(
    plan: Plan, work: list[Work], store: Store, console: Console, cpus: int | None = None, address: str = "local",
    metrics: Collection[str] = (),
) -> list[str]:  # fmt: skip
    """Measure what the plan's evaluation lacks of trials that are already trained, as far as their generators are stored.

    Args:
        work: what is lacking, see `bench.run.measuring.lacking`.
        metrics: names of those to record; empty for all. The others are as in `run_sweep`.

    Returns:
        which trials could not be measured, and why.
    """
    if line := measuring.lost_line(plan, work):
        console.print(f"note: {line}", soft_wrap=True)
    if not any(each.steps for each in work):
        return []
    prepare_domains(plan, console)
    with _runner(plan.spec.resources, cpus, address, gpus=plan.spec.resources.gpus) as (_, map_calls):
        return measuring.measure(plan, store, console, work, map_calls, metrics)


def prepare_domains(plan: Plan, console: Console) -> None:
    """Decode and resize the images of all domains of a plan, once, before many processes need them."""
    resolution = plan.spec.gan.resolution
    names = list(dict.fromkeys(trial.domain.name for trial in plan.trials))
    for number, name in enumerate(names, 1):
        domain = get(name)
        make_ready(domain, resolution, console, label=renamed(name, plan.spec.labels), place=(number, len(names)))
        for part in parts_of(domain):
            if note := near_duplicates(part, resolution):
                console.print(f"note: {renamed(part.name, plan.spec.labels)}: {note}", soft_wrap=True)


#: Runs the open trials of a driver.
RunTrials = Callable[[Driver], None]


@contextmanager
def _runner(needed: ResourcesConfig, cpus: int | None, address: str, gpus: float = 0.0) -> Iterator[tuple[RunTrials, MapCalls]]:
    """Yield the function that runs trials and the one that runs other calls, in this process or on Ray for the block.

    `gpus` are those of each other call.
    """
    if address == HERE:
        if cpus is not None:
            raise UserError("--cpus limits trials that run at the same time; leave it out with --address here, which runs one")
        yield in_process.run_trials, partial(in_process.map_here, resources=needed)
        return
    from bench.on_ray import cluster, tasks, tuner

    with cluster.cluster(needed, cpus, address):
        yield tuner.run_trials, partial(tasks.map_tasks, resources=needed, gpus=gpus)


def _unmeasured(plan: Plan, ledger: Ledger, store: Store) -> bool:
    """Return whether the store lacks a distance, a figure of a domain or a predictor."""
    return bool(
        distances.unembedded(plan, store) or distances.missing(plan, ledger, store) or responses.missing(plan, ledger, store)
    )


def _measure_distances(plan: Plan, ledger: Ledger, store: Store, console: Console, map_calls: MapCalls) -> list[str]:
    """Measure the distances between a plan's domains that the store lacks; return which could not be measured, and why."""
    spec, labels, failures = plan.spec, plan.spec.labels, []
    common = (store.address, spec.name, spec.evaluation.embedding, spec.gan.resolution)

    def run(function: Callable[..., None], arguments: list[tuple[Any, ...]], names: list[str]) -> None:
        for ended, (i, error) in enumerate(map_calls(function, arguments), 1):
            if error:
                failures.append(f"{names[i]} failed: {error}")
            console.print(f"[{ended}/{len(arguments)}] {names[i]}")

    domains = distances.unembedded(plan, store)
    run(
        distances.embed,
        [(*common, *task) for task in domains],
        [f"embedding of {renamed(name, labels)}" for name, _ in domains],
    )
    tasks = distances.missing(plan, ledger, store)
    names = [
        f"distances from {renamed(source, labels)} ({'real' if key is None else 'generated'} images)"
        for source, key, _ in tasks
    ]
    run(distances.measure, [(*common, spec.evaluation.samples, *task) for task in tasks], names)
    measured = (*common, spec.evaluation.samples, spec.training.model_dump_json())
    predicted = responses.missing(plan, ledger, store)
    names = [f"predictors from {renamed(source, labels)}" for source, _, _ in predicted]
    run(responses.measure, [(*measured, *task) for task in predicted], names)
    return failures
