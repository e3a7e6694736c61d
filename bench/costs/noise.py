"""The spread between seeds of one method at the budget: the standard deviation of log2 FID, of transfers and of scratch.

It is pooled over the methods of a store that have two seeds or more in a cell. While a store has none, figures measured on the
quickstart take their place.
"""

from dataclasses import dataclass

import numpy as np

from bench.store import Store
from trainers.config.strategies.copying import Scratch


@dataclass(frozen=True)
class Spread:
    """A standard deviation of log2 FID between seeds.

    Attributes:
        value: the standard deviation.
        freedom: its degrees of freedom: seeds, or trainings of the source, beyond the first of each method, over all methods.
        measured: whether it was measured in the store; else it is the shipped figure.
    """

    value: float
    freedom: int
    measured: bool

    def __str__(self) -> str:
        where = f"the store, {self.freedom} degrees of freedom" if self.measured else "the quickstart's, as the store has none"
        return f"{self.value:.3g} ({where})"


@dataclass(frozen=True)
class Noise:
    """The spreads of transfers and of scratch."""

    transfer: Spread
    scratch: Spread


#: As `pooled` returns them for the store of this sweep: five seeds, of three methods in each of two cells.
#: transfergan run quickstart --set 'sources=[numerals]' --set 'strategies=[scratch,finetune,finetune-g]'
#: --set 'seeds=[0,1,2,3,4]' --set stopping.rule=none
SHIPPED = Noise(Spread(0.125, 16, measured=False), Spread(0.142, 8, measured=False))


def noise(store: Store | None) -> Noise:
    """Return the spreads in a store, each replaced by the shipped one where the store has no method with two seeds."""
    return SHIPPED if store is None else Noise(pooled(store, scratch=False), pooled(store, scratch=True))


def pooled(store: Store, *, scratch: bool) -> Spread:
    """Return the spread of scratch or of the transfers, pooled over the methods that have two seeds or more at the budget."""
    trials = store.read("trials")
    trials = trials[
        (trials["kind"] == "adapt") & (trials["status"] == "done") & ((trials["strategy"] == Scratch.key) == scratch)
    ]
    measured = store.read("measurements")
    measured = measured[(measured["metric"] == "fid") & (measured["value"] > 0) & np.isfinite(measured["value"])]
    ends = trials.drop(columns="view").merge(measured, left_on=["key", "steps"], right_on=["trial", "step"])
    method = ["cell", "strategy", "source", "view", "steps"]
    several = ends.groupby(method, dropna=False)["parent"].transform("nunique") > 1
    # Where a method starts from several trainings of its source, these are what varies independently.
    ends = ends.assign(log=np.log2(ends["value"]), unit=ends["parent"].where(several, ends["key"]))
    methods = ends.groupby([*method, "unit"], dropna=False)["log"].mean().groupby(level=method, dropna=False)
    squares, freedom = float((methods.var() * (methods.size() - 1)).sum()), int((methods.size() - 1).sum())
    if freedom == 0:
        return SHIPPED.scratch if scratch else SHIPPED.transfer
    return Spread(float(np.sqrt(squares / freedom)), freedom, measured=True)
