"""`transfergan run`, `tune`, `confirm` and `continue`: everything that trains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import progress_console
from bench.cli.options import (
    FROM_OUTSIDE,
    RUN,
    AddressOption,
    CpusOption,
    LogOption,
    MaxCostOption,
    MaxHoursOption,
    PriceOption,
    Retry,
    RetryOption,
    SetOption,
    SpecArgument,
    StoreOption,
    TrialOption,
    hours_limit,
    open_at,
    run_there,
    write_report,
)
from bench.logs.kinds import Log, check_log
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.run.launch import Outcome
    from bench.store import Store

app = typer.Typer()


@app.command(rich_help_panel=RUN, epilog="Example: transfergan run quickstart --store store")
def run(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    log: LogOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Run the trials that the store lacks, then write the report. Safe to interrupt and to repeat.

    If the sweep file has `tuning`, the search runs first (see `transfergan tune --help`); if it has `confirm`, the confirmation
    runs afterwards (see `transfergan confirm --help`).

    For debugging, --address here runs everything in this process, one trial at a time and without Ray. An exception in a trial
    then ends the run with its stack trace and exit status 1. It is neither retried nor recorded: the same command resumes that
    trial. Nothing ends a trial that hangs, so breakpoints work.

    (*) The limit counts the hours of the trials times their share of a GPU (resources.gpus); without GPUs, the hours of the
    trials. Failed attempts count; distances and the report do not. At the limit no trial is started, running trials end at
    their next rung, no result is lost, and the exit status is 3.
    """
    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        status = run_there("run", spec, overrides, store, address, _options(cpus, retry, limit, log))
        if "://" in store and status != 2:  # the cluster wrote the report to its own folder
            write_report(open_at(store))
        raise typer.Exit(status)
    check_log(log)
    from bench.costs.timings import timings_for
    from bench.run.launch import Launcher
    from bench.run.planning import plan_of, search_of

    console, timings = progress_console(), timings_for(spec)
    plan = plan_of(spec, overrides, store, console)
    search = search_of(plan, store)
    opened = open_at(store, create=True)
    _end(opened, Launcher(opened, console, cpus, address, retry is not None, limit, log, timings).run(plan, search))


@app.command(rich_help_panel=RUN, epilog="Example: transfergan tune sweep.yaml --store store")
def tune(
    spec: SpecArgument,
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    log: LogOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Search for the learning rates, budget and options of each strategy on a held-out target: `tuning` in the sweep file.

    Ray Tune proposes the settings, the stopping rule ends poor ones early, and the trials of the sweep use the best.
    `transfergan run` does this search itself. Safe to interrupt and to repeat.

    (*) See `transfergan run --help`.
    """
    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        raise typer.Exit(run_there("tune", spec, overrides, store, address, _options(cpus, retry, limit, log)))
    check_log(log)
    from bench.run.launch import Launcher, Outcome
    from bench.run.planning import plan_of, search_of
    from bench.run.tuning import lines

    console = progress_console()
    search = search_of(plan_of(spec, overrides, store, console), store)
    if search is None:
        raise UserError(
            f"{spec}: there is nothing to tune; add `tuning: {{target: NAME, size: 100, learning_rate: [1.0e-5, 1.0e-3]}}`"
        )
    opened = open_at(store, create=True)
    result = Launcher(opened, console, cpus, address, retry is not None, limit, log).tune(search)
    if isinstance(result, Outcome):
        _end(opened, [result])
    else:
        typer.echo("\n".join(lines(result)))


#: Fresh seeds of a confirmation, where neither the sweep file nor the command line says how many.
SEEDS = 5


@app.command(rich_help_panel=RUN, epilog="Example: transfergan confirm sweep.yaml --seeds 5 --store store")
def confirm(
    spec: SpecArgument,
    seeds: Annotated[
        int | None, typer.Option(min=2, help=f"Fresh seeds of each method; by default as in the sweep file, or {SEEDS}.")
    ] = None,
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    log: LogOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Run the best two transfers of each cell, and scratch, on fresh seeds, once the trials of the sweep have ended.

    The best of many methods is partly the luckiest one: only seeds that neither the choice nor the stopping rule has seen show
    what it gains. The best have the lowest mean log FID at the budget; methods with a diverged or failed seed come last. The
    seeds are the smallest that no trial of the cell has, and no trial stops early. The trials form the sweep NAME-confirm. With
    `confirm: {seeds: 5}` in the sweep file, `transfergan run` does this itself. Safe to interrupt and to repeat; with a larger
    --seeds, seeds are added.

    (*) See `transfergan run --help`.
    """
    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        options = [*_options(cpus, retry, limit, log), *(["--seeds", str(seeds)] if seeds else [])]
        raise typer.Exit(run_there("confirm", spec, overrides, store, address, options))
    check_log(log)
    from bench.run.launch import Launcher
    from bench.run.planning import plan_of, search_of

    console = progress_console()
    plan = plan_of(spec, overrides, store, console)
    number = seeds or (plan.spec.confirm.seeds if plan.spec.confirm else SEEDS)
    opened = open_at(store)
    launcher = Launcher(opened, console, cpus, address, retry is not None, limit, log)
    _end(opened, [launcher.confirm(plan, search_of(plan, store), number)])


@app.command("continue", rich_help_panel=RUN, epilog="Example: transfergan continue --trial 1f3a9c --steps 2000")
def continue_(
    trial: TrialOption,
    steps: Annotated[int, typer.Option(min=1, help="Generator steps to reach.")],
    store: StoreOption = "store",
    cpus: CpusOption = None,
    address: AddressOption = "local",
    retry: RetryOption = None,
    log: LogOption = None,
    max_hours: MaxHoursOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
) -> None:
    """Train one trial further, e.g. the winner as a final model. It goes on from the last step that it reached.

    It is evaluated at the rungs of its sweep and at `--steps`. The results of the sweep stay as they are. Safe to interrupt and
    to repeat. `transfergan generate --trial KEY` then draws images from it.

    (*) See `transfergan run --help`.
    """
    limit = hours_limit(max_hours, max_cost, price)
    if address.startswith(FROM_OUTSIDE):
        raise UserError("--address ray://...: continue runs on a machine of the cluster; log in to its head, and use auto")
    check_log(log)
    from bench.images.generate import matching_key
    from bench.run.continuation import continuation
    from bench.run.launch import Launcher

    opened = open_at(store)
    plan = continuation(opened, matching_key(opened, trial), steps)
    launcher = Launcher(opened, progress_console(), cpus, address, retry is not None, limit, log)
    _end(opened, [launcher.train_on(plan)])


def _options(cpus: int | None, retry: Retry | None, limit: float, log: Log | None) -> list[str]:
    from bench.on_ray.jobs import run_options

    others = [*(["--cpus", str(cpus)] if cpus else []), *(["--log", log] if log else [])]
    return [*run_options(retry_failed=retry is not None, max_hours=limit), *others]


def _end(store: "Store", outcomes: "Sequence[Outcome]") -> None:
    """Write the report, print each plan's cells, and exit with status 3, 1 or 128 + a signal unless all is complete."""
    from bench.run.progress import cell_table
    from bench.store.plans import reported_as

    report = write_report(store, sweep=reported_as(store, outcomes[0].ledger.plan.spec.name))
    for outcome in outcomes:
        table = cell_table(outcome.ledger)
        table.title, table.title_justify = outcome.ledger.plan.spec.name if len(outcomes) > 1 else None, "left"
        progress_console().print(table)
    typer.echo(f"report: {report}")
    for outcome in outcomes:
        if outcome.over_limit is not None:
            typer.echo(outcome.over_limit, err=True)
            raise typer.Exit(3)
    for outcome in outcomes:
        if outcome.interrupted:
            typer.echo("interrupted: the same command goes on from here", err=True)
            raise typer.Exit(128 + outcome.by)
    failed, blocked = (sum(outcome.ledger.count(status) for outcome in outcomes) for status in ("failed", "blocked"))
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    if failed or blocked:
        hint = "--retry failed runs them again" if failed else "their sources diverged"
        failures = [*failures, f"trials: {failed} failed, {blocked} blocked; {hint}"]
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)
