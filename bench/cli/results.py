"""`transfergan report`, `measure`, `replay`, `recommend` and `compare`: the results in a store."""

import json
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from bench.cli.console import print_table, progress_console, say
from bench.cli.options import (
    ALL,
    FROM_OUTSIDE,
    RESULTS,
    AddressOption,
    CpusOption,
    JsonOption,
    OneSweepOption,
    SetOption,
    StoreOption,
    default_report,
    open_at,
    write_report,
)
from trainers.common.counts import counted
from trainers.common.errors import Problems, UserError, unknown_name

app = typer.Typer()


class Format(StrEnum):
    """Formats of a report, by the suffix of the file."""

    html = "html"
    pdf = "pdf"
    md = "md"


@app.command(rich_help_panel=RESULTS, epilog="Example: transfergan report --store store --format pdf")
def report(
    store: StoreOption = "store",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default report.html in the store.")] = None,
    kind: Annotated[Format | None, typer.Option("--format", help="By default the suffix of --out, or html.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="NAME", help="By default the sweep that was run last; all: every sweep in one report."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the page on this machine, and renew it while a sweep runs, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --watch; 0: any free one.")] = 8123,
) -> None:
    """Write the report of the results so far: a self-contained HTML page, a PDF or Markdown."""
    from bench.store.plans import last_run

    formats = [kind] if kind else list(Format)
    if out is not None and out.suffix[1:].lower() not in formats:
        suffixes = " or ".join(f".{each}" for each in formats)
        raise UserError(f"--out {str(out)!r} must end in {suffixes}" + (", as --format says" if kind else ""))
    if watch and (kind or (out.suffix[1:].lower() if out else Format.html)) != Format.html:
        raise UserError("--watch serves the HTML page; leave out --format and name a file that ends in .html")
    opened = open_at(store)
    written = write_report(opened, out or default_report(opened, kind or Format.html), sweep)
    last, others = last_run(opened)
    if sweep is None and others:
        names = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        say(f"note: of sweep {last}, which was run last; --sweep NAME for {names}, or --sweep {ALL}", err=True)
    say(f"report: {written}")
    if watch:
        from analysis.report.served import serve

        def write() -> bytes:
            return write_report(opened, written, sweep).read_bytes()

        def results() -> list[str]:
            return [*opened.list_parts("trials"), *opened.list_parts("measurements")]

        with suppress(KeyboardInterrupt):
            serve(write, results, port, lambda address: say(f"open {address}; Ctrl-C ends"), Event())


@app.command(
    rich_help_panel=RESULTS, epilog="Example: transfergan measure --sweep quickstart --embedding inception --samples 5000"
)
def measure(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="A sweep file or preset, of which `evaluation` is used.")
    ] = None,
    sweep: Annotated[str | None, typer.Option("--sweep", metavar="NAME", help="A sweep of the store, instead of SPEC.")] = None,
    embedding: Annotated[str | None, typer.Option(metavar="NAME", help="As `evaluation.embedding` in a sweep file.")] = None,
    samples: Annotated[int | None, typer.Option(min=64, help="Generated images; as `evaluation.samples`.")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metrics", metavar="NAME", help="Only this metric, e.g. fid. Repeatable.")
    ] = None,
    store: StoreOption = "store",
    overrides: SetOption = None,
    cpus: CpusOption = None,
    address: AddressOption = "local",
) -> None:
    """Measure the trained trials of a sweep in another way, and write the report. Trains nothing.

    Every trial is measured at the rungs that it has reached, from the generators that the store keeps; then the distances are
    measured in the new embedding. The values are those that a run with this `evaluation` would have had. The report shows the
    embeddings side by side. Safe to interrupt and to repeat.

    `transfergan run` with another `evaluation` measures by itself, and then trains what is left.
    """
    from bench.driver.ledger import Ledger
    from bench.run.measuring import evaluation_of, lacking
    from bench.run.sweep import measure_anew, run_distances
    from bench.store.plans import reported_as
    from bench.sweeps.loading import load_spec
    from bench.sweeps.rows import evaluated_by, recorded
    from trainers.config.metrics import metrics as known

    if address.startswith(FROM_OUTSIDE):
        raise UserError("--address ray://...: measure runs on a machine of the cluster; log in to its head, and use auto")
    if (spec is None) == (sweep is None):
        raise UserError("measure takes a sweep file or --sweep NAME, one of them")
    if overrides and spec is None:
        raise UserError("--set changes a sweep file; with --sweep use --embedding and --samples")
    for name in metrics or ():
        if name not in known():
            raise unknown_name("metric", name, known())
    loaded = None if spec is None else load_spec(spec, overrides or ())
    name = sweep or (loaded.name if loaded else "")
    opened = open_at(store)
    sweeps = opened.read_sweeps()
    if name not in sweeps:
        raise unknown_name("sweep", name, sweeps)
    plan = recorded(sweeps[name])
    evaluation = evaluation_of(loaded.evaluation if loaded else plan.spec.evaluation, embedding, samples)
    plan = evaluated_by(plan, evaluation)
    console = progress_console()
    work = lacking(plan, opened, metrics or ())
    failures = measure_anew(plan, work, opened, console, cpus, address, metrics or ())
    if not metrics:
        failures += run_distances(plan, Ledger.open(plan, opened), opened, console, cpus, address)
    typer.echo(f"measured in {evaluation.view}; report: {write_report(opened, sweep=reported_as(opened, name))}")
    if failures:
        typer.echo("\n".join(failures), err=True)
        raise typer.Exit(1)


@app.command(rich_help_panel=RESULTS, epilog="Example: transfergan recommend --target folder:photos/flowers --store store")
def recommend(
    target: Annotated[str, typer.Option(help="The domain of your images, e.g. folder:PATH.")],
    store: StoreOption = "store",
    size: Annotated[int | None, typer.Option(min=1, help="Number of images to train on; all by default.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of recommendations to print.")] = 5,
    by: Annotated[str, typer.Option(help="What a prediction is based on: fid, projection, critic or probe.")] = "fid",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; gains are log2.")] = False,
) -> None:
    """Rank sources and strategies for your images: by the store's results on them, else by the gain that it predicts.

    With results on fewer than three other targets the order is by distance alone. Trains nothing but the probes of --by probe.
    """
    from analysis.words import times
    from bench.cli.recommendations import recommendations

    result, sentence = recommendations(target, store, size, top, by)
    if as_json:
        typer.echo(json.dumps(result))
        return
    rows = result["recommendations"]
    known = rows[0]["basis"] != "distance alone"
    gain = "gain" if rows[0]["basis"] == "own results" else "predicted gain"
    table = []
    for row in rows:
        columns = {"strategy": row["strategy"], "source": row["source_label"]}
        if known:
            columns[gain] = "" if row["gain"] is None else times(row["gain"])
            columns["95 % interval"] = "" if row["low"] is None else f"{times(row['low'])} to {times(row['high'])}"
            columns["at step"] = f"{row['step']:,}"
        columns["distance" if by == "fid" else by] = "" if row["distance"] is None else f"{row['distance']:.4g}"
        table.append({**columns, "targets": str(row["targets"]), "trials": str(row["trials"])})
    print_table(table, left=("strategy", "source"))
    say("\n".join([sentence, *result["notes"], f"To do so: {rows[0]['command']}"]))


@app.command(rich_help_panel=RESULTS, epilog="Example: transfergan replay --store store --keep 0.33 --json")
def replay(
    store: StoreOption = "store",
    sweep: OneSweepOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of section stopping, e.g. stopping.plateau=3. Repeatable."),
    ] = None,
    keep: Annotated[float | None, typer.Option(help="Same as --set stopping.keep=...")] = None,
    protect: Annotated[bool | None, typer.Option(help="Same as --set stopping.protect_strategies=...")] = None,
    metric: Annotated[str | None, typer.Option(help="Same as --set stopping.metric=...")] = None,
    collapse: Annotated[float | None, typer.Option(help="Same as --set stopping.collapse=...")] = None,
    plateau: Annotated[int | None, typer.Option(help="Same as --set stopping.plateau=...")] = None,
    audit: Annotated[float | None, typer.Option(help="Same as --set stopping.audit=...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every cell.")] = False,
) -> None:
    """Apply a stopping rule to a sweep that ran without one: the steps that it saves, and the winners that it changes.

    Keys that are not set have the defaults of a sweep file.
    """
    from pydantic import BaseModel, ValidationError

    from bench.costs.replay import replay as apply
    from bench.costs.replay import summary
    from bench.sweeps.loading import apply_override
    from bench.sweeps.spec import StoppingConfig
    from bench.sweeps.spec_errors import explain

    class Settings(BaseModel, extra="forbid"):
        stopping: StoppingConfig

    options = {
        "keep": keep, "protect_strategies": protect, "metric": metric, "collapse": collapse, "plateau": plateau, "audit": audit,
    }  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None}
    data: dict[str, Any] = {"stopping": dict(given)}
    for override in overrides or ():
        apply_override(data, override)
    try:
        rule = Settings.model_validate(data).stopping
    except ValidationError as error:
        problems = Problems()
        for message in explain(error.errors(), Settings):
            key = message.partition(":")[0].removeprefix("stopping.")
            problems.lines.append(f"--{message.removeprefix('stopping.')}" if key in given else f"--set: {message}")
        problems.check()
        raise
    replays, left_out = apply(open_at(store), sweep, rule)
    result = summary(replays, rule, left_out)
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = [
        {
            "target": f"{cell.target}, conditional" if cell.conditional else cell.target,
            "images": f"{cell.size:,}",
            "trials": str(cell.trials),
            "stopped": str(cell.stopped),
            "steps saved": f"{cell.saved:.0%}",
            "winner": cell.winner,
            "same winner": "yes" if cell.same_winner else "no",
            "order of sources": "" if cell.source_order is None else f"{cell.source_order:+.2f}",
        }
        for cell in replays
    ]
    print_table(table, left=("target", "winner", "same winner"))
    saved = f"{result['steps_saved']:.0%} of the adaptation steps saved"
    winners = f"the same winner in {result['same_winner']} of {counted(result['cells'], 'cell')}"
    omitted = f"; {counted(left_out, 'cell')} left out: a trial was stopped or has not ended" if left_out else ""
    say(f"{saved}; {winners}{omitted}")


@app.command(rich_help_panel=RESULTS, epilog="Example: transfergan compare store other-store --json")
def compare(
    store_a: Annotated[str, typer.Argument(metavar="STORE_A", help="A store: a directory, s3://... or gs://...")],
    store_b: Annotated[str, typer.Argument(metavar="STORE_B", help="Another store.")],
    as_json: JsonOption = False,
) -> None:
    """Compare the trials that two stores have in common: their values, their final statuses, and the winner of each cell."""
    from analysis.comparison.cells import cells
    from analysis.frames import load, records
    from analysis.transfer.transferability import best_per_cell, ranking
    from analysis.words import method
    from bench.upkeep.compare import compare_stores, differing_winners

    stores = open_at(store_a), open_at(store_b)
    result = compare_stores(*stores)
    winners: list[dict[tuple[str, str], str]] = []
    labels: dict[str, str] = {}
    for store in stores:
        best = records(best_per_cell(ranking(cells(load(store).curves))))
        winners.append({(row["cell"], row["embedding"]): method(row) for row in best})
        labels |= {row["cell"]: row["cell_label"] for row in best}
    result["winners"] = differing_winners(*winners)
    if as_json:
        typer.echo(json.dumps(result))
        return
    counts = result["trials"]
    say(
        f"{counted(counts['both'], 'trial')} in both, {counts['only_a']:,} only in the first, {counts['only_b']:,} in the "
        "second"
    )
    table = [
        {
            "metric": row["metric"],
            "view": row["view"],
            "values": f"{row['values']:,}",
            "equal": f"{row['equal']:,}",
            "largest difference": "" if row["relative"] is None else f"{row['relative']:.2%}",
            "in standard errors": "" if row["errors"] is None else f"{row['errors']:.2f}",
            "beyond 1.96": "" if row["errors"] is None else f"{row['beyond']:,}",
        }
        for row in result["metrics"]
    ]
    if table:
        print_table(table, left=("metric", "view"))
    for row in result["statuses"]:
        say(f"trial {row['trial']}: {row['a']} in the first, {row['b']} in the second")
    for row in result["winners"]["differ"]:
        say(f"{labels[row['cell']]}: {row['a']} won in the first, {row['b']} in the second")
    same = result["winners"]["cells"] - len(result["winners"]["differ"])
    say(f"the same winner in {same} of {counted(result['winners']['cells'], 'cell')}")
