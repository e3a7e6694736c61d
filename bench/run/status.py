"""The state of each sweep in the store: its trials by status, cell by cell, and those that run now."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from rich.table import Table

from bench.driver.ledger import ENDED, Ledger
from bench.run.progress import COUNTED, CellProgress, cell_table, cells_of, describe
from bench.store import Store
from bench.sweeps.rows import recorded
from bench.upkeep.activity import Claimed, Sign, claimed, signs
from trainers.common.counts import counted
from trainers.common.errors import unknown_name


@dataclass(frozen=True)
class Progressing:
    """One sweep in the store, by its newest plan.

    Attributes:
        name: its name.
        ledger: its trials; those that a live driver has claimed have the status that the driver says. None if another version
            of transfergan has planned it.
        claims: the trials that drivers have claimed, also the dead ones.
        runs: the live drivers that run this sweep.
        continues: the key of the trial that it takes further (see `bench.run.continuation`); None for any other sweep.
        of_sweep: the sweep whose trial that is, as far as it is known.
    """

    name: str
    ledger: Ledger | None
    claims: list[Claimed]
    runs: list[Sign]
    continues: str | None = None
    of_sweep: str | None = None


def progressing(store: Store, sweep: str | None = None) -> Iterator[Progressing]:
    """Yield each sweep in the store, or only `sweep`; last those that take one trial further.

    Needs neither Ray nor the domains nor weights.

    Raises:
        UserError: the store has no sweep of that name.
    """
    sweeps = store.read_sweeps()
    if sweep is not None and sweep not in sweeps:
        raise unknown_name("sweep", sweep, sweeps)
    drivers = signs(store)
    claims = claimed(store, drivers)
    for name, planned in sorted(sweeps.items(), key=lambda item: bool(item[1].get("continues"))):
        if sweep not in (None, name):
            continue
        continues = planned.get("continues")
        runs = [sign for sign in drivers.values() if sign.alive and sign.sweep == name]
        try:
            ledger = Ledger.open(recorded(planned), store)
        except ValidationError:
            yield Progressing(name, None, [], runs, continues)
            continue
        ledger.settle()
        own = [claim for claim in claims if ledger.status.get(claim.trial, "done") not in ENDED]
        _take_in(ledger, own)
        of_sweep = None if continues is None else _having(continues, sweeps)
        yield Progressing(name, ledger, own, runs, continues, of_sweep)


def _having(key: str, sweeps: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the sweep that has planned a trial, and does not only take it further."""
    others = ((name, planned) for name, planned in sweeps.items() if not planned.get("continues"))
    return next((name for name, planned in others if any(row["key"] == key for row in planned["trials"])), None)


def _take_in(ledger: Ledger, claims: Iterable[Claimed]) -> None:
    """Give the claimed trials of a ledger the status that their drivers say."""
    for claim in claims:
        if claim.status == "running":
            ledger.start(claim.trial)
        elif claim.status == "measuring":
            ledger.measure(claim.trial)
        elif claim.status == "paused":
            ledger.pause(claim.trial)
        elif claim.status != "stale":
            ledger.queue(claim.trial)


def tables(of: Progressing) -> Iterator[Table]:
    """Yield the table of a sweep's cells, and where trials are claimed, that of these trials."""
    if of.ledger is None:
        yield Table(f"{of.name}: planned by another version of transfergan", box=None, pad_edge=False)
        return
    table = cell_table(of.ledger)
    table.title = f"{of.name}: {of.ledger.ended} of {counted(len(of.ledger.status), 'trial')} ended"
    table.title_justify = "left"
    yield table
    if of.claims:
        yield _claims(of.claims, of.ledger)


def lines(of: Progressing) -> Iterator[str]:
    """Yield a line on the trial that a sweep takes further, one for each live driver, and one on stale claims."""
    further = None if of.ledger is None else of.ledger.plan.by_key.get(of.continues or "")
    if of.ledger is not None and further is not None:
        what, steps = describe(further, of.ledger.plan.spec.labels), further.training.steps
        yield f"{of.name} takes one trial of {of.of_sweep or 'a sweep'} further, to step {steps:,}: {what}"
    for sign in of.runs:
        process = "" if sign.process is None else f", process {sign.process}"
        yield f"{of.name} is run on {sign.host}{process}"
    if any(claim.status == "stale" for claim in of.claims):
        yield (
            f"stale: the run that has claimed these trials of {of.name} was killed, or gives no sign of life since then; "
            "`transfergan run` takes them over, at once on its machine, elsewhere after a minute"
        )


def as_data(of: Progressing) -> dict[str, Any]:
    """Return a sweep's state as plain data; of a plan of another version only its name and the runs are known."""
    ledger = of.ledger
    known: dict[str, Any] = {"trials": None, "ended": None, "metric": None, "statuses": {}, "cells": []}
    if ledger is not None:
        known |= {"trials": len(ledger.status), "ended": ledger.ended, "metric": ledger.plan.spec.stopping.metric}
        known |= {"statuses": {name: ledger.count(name) for name in COUNTED if ledger.count(name)}}
        known |= {"cells": [_cell(each) for each in cells_of(ledger)]}
    now = [
        {"trial": claim.trial, "status": claim.status, "host": claim.host, "since": claim.since.isoformat(timespec="seconds")}
        for claim in of.claims
    ]
    runs = [{"host": sign.host, "process": sign.process, "seen": sign.seen.isoformat(timespec="seconds")} for sign in of.runs]
    return {"sweep": of.name, **known, "now": now, "runs": runs, "continues": of.continues}


def _cell(of: CellProgress) -> dict[str, Any]:
    best = None if of.best is None else dict(zip(("value", "step", "trial"), of.best, strict=True))
    return {"cell": of.cell or None, "label": of.label, "statuses": dict(of.counts), "best": best}


def _claims(claims: Iterable[Claimed], ledger: Ledger) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("now", "since", "on", "trial", ""):
        table.add_column(column)
    now = datetime.now(UTC)
    for claim in claims:
        trial = ledger.plan.by_key[claim.trial]
        what = describe(trial, ledger.plan.spec.labels)
        table.add_row(claim.status, _since(claim.since, now), claim.host or "?", claim.trial, what)
    return table


def _since(time: datetime, now: datetime) -> str:
    """Return a time of this machine's time zone, with what has passed since.

    >>> _since(datetime(2026, 1, 2, 9, 30, tzinfo=UTC), datetime(2026, 1, 2, 11, 0, tzinfo=UTC))[-12:]
    '(1 h 30 min)'
    """
    passed = max(timedelta(), now - time)
    hours, minutes = divmod(int(passed.total_seconds()) // 60, 60)
    local = time.astimezone()
    clock = local.strftime("%H:%M:%S" if local.date() == now.astimezone().date() else "%Y-%m-%d %H:%M")
    return f"{clock} ({f'{hours} h ' if hours else ''}{minutes} min)"
