"""`transfergan show`, `init` and `plan`: sweep files to start from, and what a sweep would run."""

import json
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.console import printable, progress_console, say
from bench.cli.options import (
    RUN,
    PriceOption,
    SetOption,
    SpecArgument,
    StoreOption,
    TimingsOption,
    roughly,
)
from bench.sweeps.presets import preset_names, preset_text
from trainers.common.counts import are, counted
from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.costs.bill import Bill
    from bench.run.preview import Preview
    from bench.sweeps.plan import Plan
    from trainers.config.trial import TrialConfig

app = typer.Typer()

#: The most seeds that `plan --detect` plans a sweep with.
MOST_SEEDS = 1000

#: The largest ratio that is worth printing as one that some seeds tell.
LARGEST = 100.0


@app.command("show", rich_help_panel=RUN, epilog="Example: transfergan show quickstart > sweep.yaml")
def show_preset(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help=f"One of: {', '.join(preset_names())}.")],
) -> None:
    """Print the sweep file of a preset, with its comments: redirect it into a file, and change that."""
    typer.echo(preset_text(preset), nl=False)


@app.command(rich_help_panel=RUN, epilog="Example: transfergan init --target photos/flowers --minutes 30")
def init(
    target: Annotated[str, typer.Option(help="Your images: a folder, an archive, or the name of a domain.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="What a GAN may be pre-trained on, likewise. Repeatable; by default the built-in domains."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="How long the run may take; 30 by default.")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="The same in hours.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs of this machine to use; all by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the file goes; by default NAME.yaml, after the target.")] = None,
) -> None:
    """Write a sweep file for your images that fits a time on this machine, and say what was decided and why.

    It looks at the images, times networks of rising size for some seconds each, and measures the distances of the sources, of
    which the nearest are taken. All times are those of this machine at its present load. Nothing is trained.
    """
    from bench.costs.timings import beside, write_timings
    from bench.design.from_images import check_sources, check_time, designed, this_machine
    from bench.design.reasons import decisions, duration, header
    from bench.design.survey import domain_text, survey
    from bench.design.sweep_file import new_file, question, slug, sweep_file
    from trainers.domains import get

    if minutes is not None and hours is not None:
        raise UserError("--minutes and --hours are both the time of the run; give one of them")
    if hours == math.inf or minutes == math.inf:
        option = "--hours" if hours else "--minutes"
        raise UserError(f"{option} inf is no time; give a number, such as {option} {8 if hours else 30}")
    time = 3600 * hours if hours is not None else 60 * (30 if minutes is None else minutes)
    check_time(time)
    for text in dict.fromkeys((target, *(source or ()))):
        if domain_text(text) == text and Path(text).is_dir():
            say(f"{text} is the domain of this name; the folder {text} here is folder:{text}")
    asked = question(domain_text(target), [domain_text(name) for name in source or ()])
    path = new_file(out or Path(f"{asked.name}.yaml"))
    domain = get(asked.domain(asked.target))
    console, machine = progress_console(), this_machine(gpus)
    check_sources(domain, [asked.domain(name) for name in asked.sources], console)
    seen = survey(domain, console)
    for line in seen.lines():
        say(f"{asked.target}: {line}")
    asked = replace(asked, name=slug(path.stem), size=seen.train, gpu=machine.gpu)
    design = designed(asked, seen, machine, time, console)
    reasons = decisions(design, seen)
    for decision in reasons:
        say(str(decision))
    options = {"--target": [target], "--source": source or [], "--minutes": [f"{time / 60:g}"]}
    words = [word for option, values in options.items() for value in values for word in (option, value)]
    top = header(design, seen, shlex.join(["transfergan", "init", *words]), time)
    text = printable(sweep_file(design.settings, reasons, top))
    path.write_bytes(text.encode(errors="backslashreplace"))  # paths and names of files may be no Unicode
    write_timings(beside(path), design.timings)
    say(f"{beside(path)}: the times that were measured here; plan, simulate and run use them with {path}")
    say(
        f"{path}: an estimated {duration(design.seconds)} at most of {duration(time)}; transfergan run {shlex.quote(str(path))}"
    )


@app.command(rich_help_panel=RUN, epilog="Example: transfergan plan sweep.yaml --set 'sizes=[50, 500]' --json")
def plan(
    spec: SpecArgument = "quickstart",
    store: StoreOption = "store",
    overrides: SetOption = None,
    price: PriceOption = None,
    detect: Annotated[
        float | None, typer.Option(metavar="RATIO", help="How many seeds tell a ratio of FIDs such as 1.2, and their cost.")
    ] = None,
    timings: TimingsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print counts, hours and costs as JSON.")] = False,
) -> None:
    """List the trials of a sweep, how many the store has already, and the hours that the rest will take. Starts nothing.

    The hours are those of the trials times their share of a GPU (resources.gpus); without GPUs, those of the trials. They are
    estimated from the store's timings on each device, with 95 % intervals: "at most" if every trial uses its budget, and
    "expected" if the stopping rule acts on rankings that are drawn at random. Needs neither the data sets nor the weights of
    the embedding; without them the keys, and the trials that are done, are unknown.

    --detect 1.2 says how many seeds tell a transfer whose FID is 1.2 times lower than that of scratch, or higher, with a power
    of 80 %: by a two-sided Welch t-test on log FID, at the 5 % level corrected for the number of comparisons (Bonferroni). The
    spread between seeds is that of the store, else that of the quickstart. The hours are those of the sweep with that number of
    seeds. They count at the budget: a method that stops early is not compared there, and one that is only protected has two.
    """
    from bench.costs.timings import timings_for
    from bench.run.preview import Preview, planned, preview

    further_times = timings_for(spec, timings)

    def made(*further: str) -> Preview:
        return preview(planned(spec, [*(overrides or ()), *further], store, progress_console()), further_times)

    if detect is not None and not (math.isfinite(detect) and detect > 0 and detect != 1):
        raise UserError(f"--detect {detect:g}: give a ratio of FIDs above 0 that is not 1, e.g. --detect 1.2")
    result = made()
    detection = None if detect is None else _detection(detect, result, lambda seeds: made(f"seeds={list(seeds)}"))
    if as_json:
        detected = {} if detection is None else {"detect": {**detection[0], **_costs(detection[1], price)}}
        typer.echo(json.dumps({**result.as_data(price), **detected}))
        return
    _print_totals(result)
    _print_bills(result, price)
    if detection is not None:
        _print_detection(*detection, price)
    _print_trials(result)


def _detection(
    ratio: float, result: "Preview", again: "Callable[[Sequence[int]], Preview]"
) -> "tuple[dict[str, Any], Preview | None]":
    """Return which seeds tell a ratio, as plain data, and the sweep with that number; None if they are too many to plan."""
    from analysis.claims import LEVEL
    from analysis.comparison.power import power, seeds_needed, smallest_effect
    from bench.costs.noise import noise
    from bench.driver.choice import transfers_and_scratch

    plan = result.plan
    compared = [transfers_and_scratch(plan, cell) for cell in plan.cells]
    comparisons = sum(len(transfers) for transfers, scratch in compared if scratch)
    if not comparisons:
        raise UserError("--detect compares transfers with scratch, and no cell of the sweep has both; add them to strategies")
    sharing = _sharing_a_variance([transfers for transfers, scratch in compared if scratch], plan)
    spread = noise(result.store)
    deviations = spread.transfer.value, spread.scratch.value
    needed, now = seeds_needed(ratio, *deviations, comparisons, sharing), len(plan.spec.seeds)
    data = {
        "ratio": ratio,
        "seeds": needed,
        "power": power(ratio, *deviations, needed, comparisons, sharing),
        "comparisons": comparisons,
        "level": LEVEL,
        "sd_transfer": asdict(spread.transfer),
        "sd_scratch": asdict(spread.scratch),
        "present_seeds": now,
        "smallest_ratio": smallest
        if math.isfinite(smallest := smallest_effect(*deviations, now, comparisons, sharing))
        else None,
    }
    if needed > MOST_SEEDS:
        return data, None
    further = (seed for seed in count() if seed not in plan.spec.seeds)
    return data, again([*plan.spec.seeds, *islice(further, max(0, needed - now))][:needed])


def _sharing_a_variance(transfers: "Sequence[Sequence[TrialConfig]]", plan: "Plan") -> int:
    """Return how many transfers of each cell reach the budget for sure, of which the variance is estimated together."""
    stopping = plan.spec.stopping
    if stopping.rule == "none":
        return min(len(of_cell) for of_cell in transfers)
    return min(len({trial.strategy for trial in of_cell}) for of_cell in transfers) if stopping.protect_strategies else 1


def _costs(result: "Preview | None", price: float | None) -> dict[str, Any]:
    """Return the hours and the costs of a sweep as plain data."""
    if result is None:
        return {"estimates": [], "unknown": f"more than {MOST_SEEDS:,} seeds are not planned"}
    return {name: value for name, value in result.as_data(price).items() if name in ("trials", "unit", "estimates", "unknown")}


def _print_detection(data: "dict[str, Any]", result: "Preview | None", price: float | None) -> None:
    from bench.costs.noise import Spread

    transfer, scratch = Spread(**data["sd_transfer"]), Spread(**data["sd_scratch"])
    tested = (
        f"two-sided Welch t-test, level {data['level']:g} divided by {counted(data['comparisons'], 'comparison')} with scratch"
    )
    typer.echo(
        f"{counted(data['seeds'], 'seed')} tell a ratio of FIDs of {data['ratio']:g} with {100 * data['power']:.0f} % "
        f"power ({tested})"
    )
    typer.echo(f"  by the standard deviation of log2 FID between seeds: transfers {transfer}, scratch {scratch}")
    smallest, seeds = data["smallest_ratio"], data["present_seeds"]
    least = (
        f"they tell a ratio of {smallest:.3g}"
        if smallest is not None and smallest <= LARGEST
        else f"they tell none below {LARGEST:g}"
    )
    typer.echo(f"  the sweep has {seeds}; {'one seed tells none' if seeds == 1 else least} with 80 % power")
    if result is None:
        typer.echo(f"  hours unknown: {_costs(None, price)['unknown']}")
        return
    typer.echo(f"with {counted(data['seeds'], 'seed')}, {counted(len(result.plan.trials), 'trial')}:")
    _print_bills(result, price)


def _print_bills(result: "Preview", price: float | None) -> None:
    for bill in result.bills:
        _print_bill(bill, result.unit, price)
    if result.unknown:
        typer.echo(result.unknown)


def _print_trials(preview: "Preview") -> None:
    from bench.run.progress import describe

    lines = []
    for trial in preview.plan.trials:
        unknown = preview.absent or (preview.searching and trial.kind == "adapt")
        key = "(yet unknown)   " if unknown else trial.key
        most = "" if trial.until is None else "at most "
        mark = "* " if key in preview.done else "  "
        steps = counted(trial.training.steps, "step")
        lines.append(f"{key}{mark}{describe(trial, preview.plan.spec.labels)}, {most}{steps}")
    typer.echo("\n".join(lines))


def _print_totals(preview: "Preview") -> None:
    from bench.run.measuring import extent, lost_line

    for note in preview.notes:
        typer.echo(f"note: {note}")
    counts, tune = preview.counts(), ""
    if preview.searching and preview.search:
        target = preview.search.held_out.spec.targets[0]
        typer.echo(f"tuning has still to run, on {target}; the adaptations use the settings that it finds")
        tune = f" {counts['tune']:,} to tune,"
    adapt = counted(counts["adapt"], "adaptation")
    typer.echo(
        f"{counted(counts['trials'], 'trial')}: {counts['pretrain']:,} to pre-train,{tune} {adapt} in "
        f"{counted(preview.cells, 'cell')} ({counted(counts['collapsed'], 'duplicate')} collapsed); "
        f"{counts['done']:,} in the store already (*)"
        + (f"; {are(counts['train'])} trained and {preview.only_measured:,} only measured" if preview.only_measured else "")
    )
    if any(work.steps for work in preview.work):
        typer.echo(f"measured anew, without training: {extent(preview.plan, preview.work)}; the hours do not include it")
    if line := lost_line(preview.plan, preview.work):
        typer.echo(line)
    if "confirm" in counts:
        typer.echo(
            f"then {counted(counts['confirm'], 'trial')} confirm the best of each cell on fresh seeds; the hours include them"
        )


def _print_bill(bill: "Bill", unit: str, price: float | None) -> None:
    typer.echo(f"on {bill.device or 'an unknown device'}, by the {counted(bill.measured, 'trial')} measured there:")
    if bill.unlike:
        typer.echo(f"  {roughly(bill.unlike)}")
    typer.echo(f"  in all {bill.at_most} {unit} at most, {bill.expected} expected")
    typer.echo(f"  left   {bill.left_at_most} at most, {bill.left_expected} expected")
    if price is not None:
        at_most, expected = bill.left_at_most.times(price), bill.left_expected.times(price)
        typer.echo(f"  cost   {at_most} at most, {expected} expected, of what is left")
    if bill.evaluation is not None:
        typer.echo(f"  of the time of trials like these, evaluation took {bill.evaluation:.0%}")
