"""What the store says of each sweep: planned against recorded, cell by cell."""

from collections.abc import Iterator

from rich.table import Table

from bench.ledger import Ledger
from bench.plan import Plan
from bench.progress import cell_table
from bench.spec import SweepSpec
from bench.store import Store
from trainers.config import TrialConfig
from trainers.errors import unknown_name


def status_tables(store: Store, sweep: str | None = None) -> Iterator[Table]:
    """Yield a table per sweep in the store, or of the one that is named. Needs neither Ray nor the domains.

    Raises:
        UserError: the store has no sweep of that name.
    """
    sweeps = store.read_sweeps()
    if sweep is not None and sweep not in sweeps:
        raise unknown_name("sweep", sweep, sweeps)
    for name, planned in sweeps.items():
        if sweep not in (None, name):
            continue
        trials = tuple(TrialConfig.model_validate_json(row["config"]) for row in planned["trials"])
        ledger = Ledger.open(Plan(SweepSpec.model_validate(planned["spec"]), trials, (), ()), store)
        ledger.settle()
        table = cell_table(ledger)
        table.title = f"{name}: {ledger.ended} of {len(trials)} trials ended"
        table.title_justify = "left"
        yield table
