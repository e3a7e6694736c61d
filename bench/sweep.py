"""Runs a sweep: what is left of its trials, then what is missing of its distances.

Imports Ray only when there is something to run, so that a finished sweep answers at once.
"""

from rich.console import Console

from bench import distances
from bench.ledger import Ledger
from bench.outcomes import Recorder
from bench.plan import Plan
from bench.progress import Progress
from bench.store import Store


def run_sweep(plan: Plan, ledger: Ledger, store: Store, console: Console, cpus: int | None = None) -> None:
    """Run the ledger's open trials to their ends, and measure the distances that the store lacks.

    Ends early, with trials still open in the ledger, when it is interrupted (SIGINT).

    Args:
        plan: the sweep.
        ledger: what the store has of it; kept up to date.
        store: where results go.
        console: where progress goes.
        cpus: CPU cores to use in all; None for every core.

    Raises:
        UserError: one trial needs more CPUs or GPUs than there are.
    """
    progress = Progress(ledger, console)
    recorder = Recorder(plan, ledger, store, progress.update)
    recorder.settle()
    if not ledger.open_trials() and not distances.missing(plan, ledger, store):
        return
    from bench import on_ray

    with on_ray.cluster(plan.spec.resources, cpus):
        if ledger.open_trials():
            with progress:
                on_ray.run_trials(plan, ledger, store, recorder)
        if ledger.open_trials():
            return
        tasks = distances.missing(plan, ledger, store)
        spec = plan.spec
        common = (store.address, spec.name, spec.evaluation.embedding, spec.gan.resolution, spec.evaluation.samples)
        measured = on_ray.map_tasks(distances.measure, [(*common, *task) for task in tasks], spec.resources.cpus)
        for i, source in enumerate(measured, 1):
            console.print(f"distances {i}/{len(tasks)}: {source}", highlight=False, markup=False)
