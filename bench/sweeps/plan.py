"""The plan of a sweep: its trials with their keys and parents. `bench.sweeps.expansion` makes it, which needs the domains."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.sweeps.spec import SweepSpec
from trainers.config.trial import TrialConfig


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep.

    Attributes:
        spec: the sweep; the domains that it names are in canonical form.
        trials: every trial once; pretrain trials first, then the adaptations cell by cell.
        grid: the trial's key for each grid point; several points may share a trial.
        notes: remarks for the user, one line each.
        absent: the domains, and the embedding's weights, that are not on this machine. The trials are then planned without
            them, but their keys are provisional.
    """

    spec: SweepSpec
    trials: tuple[TrialConfig, ...]
    grid: tuple[str, ...]
    notes: tuple[str, ...]
    absent: tuple[str, ...] = ()

    @property
    def collapsed(self) -> int:
        """Number of grid points that share another's trial: scratch has no source, and sizes are limited by the domain's."""
        return len(self.grid) - len(set(self.grid))

    @cached_property
    def by_key(self) -> Mapping[str, TrialConfig]:
        """The trials by key, in the order of `trials`."""
        return {trial.key: trial for trial in self.trials}

    @cached_property
    def cells(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of the trials in each cell."""
        cells: dict[str, list[str]] = {}
        for key, trial in self.by_key.items():
            if trial.cell is not None:
                cells.setdefault(trial.cell, []).append(key)
        return {cell: tuple(keys) for cell, keys in cells.items()}

    def of_kind(self, kind: str) -> tuple[TrialConfig, ...]:
        """Return the trials of a kind ("pretrain", "adapt" or "tune")."""
        return tuple(trial for trial in self.trials if trial.kind == kind)
