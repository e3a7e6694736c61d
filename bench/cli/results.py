"""What a store can tell: the report, what stopping would have saved, a recommendation, and two stores side by side."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import StoreOption, default_report, open_at, write_report
from trainers.common.errors import UserError

app = typer.Typer()


class Format(StrEnum):
    """What a report is written as; its file's name ends so."""

    html = "html"
    pdf = "pdf"
    md = "md"


@app.command(epilog="Example: transfergan report --store store --format pdf")
def report(
    store: StoreOption = "store",
    out: Annotated[Path | None, typer.Option(help="The file to write; report.html in the store by default.")] = None,
    kind: Annotated[
        Format | None,
        typer.Option("--format", help="A page, a PDF of it, or Markdown; by default what --out ends in, or html."),
    ] = None,
    sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None,
) -> None:
    """Write the report from what the store has now: one self-contained HTML page, or a PDF or Markdown to pass on."""
    allowed = [kind] if kind else list(Format)
    if out is not None and out.suffix[1:].lower() not in allowed:
        ends = " or ".join(f".{each}" for each in allowed)
        raise UserError(f"--out {str(out)!r} must end in {ends}" + (", as --format says" if kind else ""))
    opened = open_at(store)
    typer.echo(f"report: {write_report(opened, out or default_report(opened, kind or Format.html), sweep)}")


@app.command(epilog="Example: transfergan replay --store store --keep 0.33 --json")
def replay(
    store: StoreOption = "store",
    sweep: Annotated[str | None, typer.Option(help="One sweep only.")] = None,
    keep: Annotated[float, typer.Option(help="Share of a cell's methods that goes on at each rung.")] = 0.5,
    protect: Annotated[bool, typer.Option(help="Whether a trial of every strategy always goes on.")] = True,
    metric: Annotated[str, typer.Option(help="The metric to stop by.")] = "fid",
    collapse: Annotated[
        float, typer.Option(help="Samples less diverse than this share of the real ones' stop; 0: never.")
    ] = 0.1,
    plateau: Annotated[int, typer.Option(help="Rungs without a better value before a trial stops; 0: never.")] = 0,
    audit: Annotated[float, typer.Option(help="Share of the cells in which nobody is stopped.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every cell.")] = False,
) -> None:
    """Say what early stopping would have saved on a sweep that ran without, and what it would have changed."""
    from pydantic import ValidationError
    from rich.console import Console
    from rich.table import Table

    from bench.driver.replay import replay as apply
    from bench.driver.replay import summary
    from bench.sweeps.spec import StoppingConfig
    from bench.sweeps.spec_errors import explain

    try:
        rule = StoppingConfig.model_validate(
            {
                "keep": keep, "protect_strategies": protect, "metric": metric, "collapse": collapse, "plateau": plateau,
                "audit": audit,
            }
        )  # fmt: skip
    except ValidationError as error:
        raise UserError(f"--{explain(error, StoppingConfig)}") from error
    replays, left_out = apply(open_at(store), sweep, rule)
    said = summary(replays, rule, left_out)
    if as_json:
        typer.echo(json.dumps(said))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("target", "images", "trials", "stopped", "steps saved", "winner", "same winner", "order of sources"):
        table.add_column(column, justify="left" if column in ("target", "winner", "same winner") else "right")
    for each in replays:
        order = "" if each.source_order is None else f"{each.source_order:+.2f}"
        target = f"{each.target}, conditional" if each.conditional else each.target
        counts = f"{each.size:,}", str(each.trials), str(each.stopped), f"{each.saved:.0%}"
        table.add_row(target, *counts, each.winner, "yes" if each.same_winner else "no", order)
    Console().print(table)
    words = (
        f"{said['steps_saved']:.0%} of the adapt steps saved; the same winner in {said['same_winner']} of {said['cells']} cells"
    )
    typer.echo(words + (f"; {left_out} cells left out: a trial was stopped or has not ended" if left_out else ""))


@app.command(epilog="Example: transfergan recommend --target folder:photos/flowers --store store")
def recommend(
    target: Annotated[str, typer.Option(help="A domain: your images, e.g. folder:PATH, or any other.")],
    store: StoreOption = "store",
    size: Annotated[int | None, typer.Option(min=1, help="How many of its images to train on; all by default.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many sources and strategies to name.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; gains are log2.")] = False,
) -> None:
    """Say which source and strategy to start from for your images, by what a store has measured on others. Trains nothing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.frames import load, records
    from analysis.prediction.evidence import at_size, doubts, evidence, in_words
    from analysis.prediction.recommender import observed, ranked
    from analysis.words import times
    from bench.images.domains import make_ready
    from bench.images.recommend import command, distances_to, embedding_name
    from trainers.domains import get

    opened, console = open_at(store), Console(stderr=True)
    domain = get(target)
    frames = load(opened)
    found = evidence(frames)
    make_ready(domain, found.resolution, console)
    size = size or domain.count("train")
    found = at_size(found, size)
    embedding = embedding_name(found.embedding, frames.sweeps)
    measured: dict[str, float] = {}
    if embedding is None:
        lacking = [f"The embedding {found.embedding} is not on this machine, so no distance can be measured."]
    else:
        with console.status("") as status:
            measured, lacking = distances_to(
                domain.name, found.sources, opened, embedding, found.resolution, lambda what: status.update(Text(what))
            )
    best = ranked(observed(found.gains, frames.trials), measured)
    notes = [*found.notes, *doubts(found, best, domain.name, lacking)]
    rows = records(best.head(top))
    for row in rows:
        own = found.gains[(found.gains["source"] == row["source"]) & (found.gains["strategy"] == row["strategy"])]
        spec = frames.sweeps.get(own["sweep"].iloc[0], {}).get("spec")
        row["command"] = command(
            spec, row["source"], row["strategy"], domain.name, size, found.resolution, found.conditional, store
        )
    if as_json:
        settings = {"embedding": found.embedding, "resolution": found.resolution, "conditional": found.conditional}
        typer.echo(json.dumps({"target": domain.name, "size": size, **settings, "notes": notes, "recommendations": rows}))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("strategy", "source", "predicted gain", "95 % interval", "distance", "targets", "trials"):
        table.add_column(column, justify="left" if column in ("strategy", "source") else "right")
    for row in rows:
        held = "" if row["low"] is None else f"{times(row['low'])} to {times(row['high'])}"
        distance = "" if row["distance"] is None else f"{row['distance']:.4g}"
        names = Text(row["strategy"]), Text(row["source_label"])
        table.add_row(*names, times(row["gain"]), held, distance, str(row["targets"]), str(row["trials"]))
    Console().print(table)
    typer.echo("\n".join([in_words(rows[0]), *notes, f"To do so: {rows[0]['command']}"]))


@app.command(epilog="Example: transfergan compare store other-store --json")
def compare(
    store_a: Annotated[str, typer.Argument(metavar="STORE_A", help="A store: a directory or s3://...")],
    store_b: Annotated[str, typer.Argument(metavar="STORE_B", help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which trials two stores both have, whether their values agree, and in which cells another method won."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from analysis.frames import load, records
    from analysis.transfer.transferability import best_per_cell, ranking
    from analysis.words import method
    from bench.upkeep.compare import compare_stores, differing_winners

    stores = open_at(store_a), open_at(store_b)
    found = compare_stores(*stores)
    winners: list[dict[tuple[str, str], str]] = []
    labels: dict[str, str] = {}
    for each in stores:
        best = records(best_per_cell(ranking(load(each).curves)))
        winners.append({(row["cell"], row["embedding"]): method(row) for row in best})
        labels |= {row["cell"]: row["cell_label"] for row in best}
    found["winners"] = differing_winners(*winners)
    if as_json:
        typer.echo(json.dumps(found))
        return
    counts = found["trials"]
    typer.echo(f"{counts['both']:,} trials in both, {counts['only_a']:,} only in the first, {counts['only_b']:,} in the second")
    table = Table(box=None, pad_edge=False)
    for column in ("metric", "embedding", "values", "equal", "largest difference", "in standard errors", "beyond 1.96"):
        table.add_column(column, justify="left" if column in ("metric", "embedding") else "right")
    for row in found["metrics"]:
        relative = "" if row["relative"] is None else f"{row['relative']:.2%}"
        errors = "" if row["errors"] is None else f"{row['errors']:.2f}"
        names = Text(row["metric"]), Text(row["embedding"])
        table.add_row(
            *names, f"{row['values']:,}", f"{row['equal']:,}", relative, errors, f"{row['beyond']:,}" if errors else ""
        )
    if found["metrics"]:
        Console().print(table)
    for row in found["statuses"]:
        typer.echo(f"trial {row['trial']}: {row['a']} in the first, {row['b']} in the second")
    for row in found["winners"]["differ"]:
        typer.echo(f"{labels[row['cell']]}: {row['a']} won in the first, {row['b']} in the second")
    same = found["winners"]["cells"] - len(found["winners"]["differ"])
    typer.echo(f"the same winner in {same} of {found['winners']['cells']} cells")
