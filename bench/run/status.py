"""Tables of each sweep in the store: its trials by status, cell by cell."""

from collections.abc import Iterator

from pydantic import ValidationError
from rich.table import Table

from bench.driver.ledger import Ledger
from bench.run.progress import cell_table
from bench.store import Store
from bench.sweeps.rows import recorded
from trainers.common.errors import unknown_name


def status_tables(store: Store, sweep: str | None = None) -> Iterator[Table]:
    """Yield a table per sweep in the store, or only that of `sweep`. Needs neither Ray nor the domains nor weights.

    Raises:
        UserError: the store has no sweep of that name.
    """
    sweeps = store.read_sweeps()
    if sweep is not None and sweep not in sweeps:
        raise unknown_name("sweep", sweep, sweeps)
    for name, planned in sweeps.items():
        if sweep not in (None, name):
            continue
        try:
            ledger = Ledger.open(recorded(planned), store)
        except ValidationError:
            yield Table(f"{name}: planned by another version of transfergan", box=None, pad_edge=False)
            continue
        ledger.settle()
        table = cell_table(ledger)
        table.title = f"{name}: {ledger.ended} of {len(ledger.status)} trials ended"
        table.title_justify = "left"
        yield table
