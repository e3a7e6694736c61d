"""A store as it is at one moment, for verbs that only read it."""

from dataclasses import dataclass, field, fields

import pandas as pd

from bench.store.schema import Table
from bench.store.store import Store


@dataclass(frozen=True)
class Snapshot(Store):
    """A store whose tables are read once, when they are first needed; later changes are not seen."""

    _frames: dict[tuple[Table, bool], pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store) -> "Snapshot":
        """Return a snapshot of a store."""
        return cls(**{of_store.name: getattr(store, of_store.name) for of_store in fields(Store)})

    def read(self, table: Table, *, large: bool = False) -> pd.DataFrame:
        """Return the same as `Store.read`, from memory if it has been read before."""
        if (table, large) not in self._frames:
            self._frames[table, large] = super().read(table, large=large)
        return self._frames[table, large].copy(deep=False)
