"""Runs of Weights & Biases, written by wandb: online with WANDB_API_KEY or WANDB_MODE=online, else into a folder.

Which steps have been written stands in a text file for each trial, because a folder of wandb does not tell.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.logs.writer import LoggedTrial
from bench.store.grids import open_grid

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before wandb is imported: it asks its server even when offline

import wandb


class WandbRuns:
    """Implements `Writer`: a run for each trial, in the group of its sweep; the project is WANDB_PROJECT or "transfergan"."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = folder / "steps"
        self._written.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        self._settings = wandb.Settings(mode=mode, silent=True, console="off", disable_git=True)
        self._open: dict[str, Any] = {}

    def steps(self, trial: LoggedTrial) -> Collection[int]:
        """Return the steps that have been written from this folder."""
        file = self._written / f"{trial.run}.txt"
        return {int(line) for line in file.read_text().split()} if file.exists() else set()

    def write(self, trial: LoggedTrial, step: int, values: Mapping[str, float], grid: bytes | None) -> None:
        """Log values and the grid at a step of the trial's run, which is started or resumed."""
        run = self._open.get(trial.run)
        if run is None:
            run = self._open[trial.run] = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "transfergan"), id=trial.run, name=trial.name, group=trial.sweep,
                config=dict(trial.config), dir=str(self._folder), resume="allow", reinit="create_new", settings=self._settings,
            )  # fmt: skip
        images = {} if grid is None else {"samples": wandb.Image(open_grid(grid))}
        run.log({**values, **images}, step=step, commit=True)
        with (self._written / f"{trial.run}.txt").open("a") as file:
            file.write(f"{step}\n")

    def end(self, trial: LoggedTrial, *, failed: bool) -> None:
        """Finish the trial's run."""
        if (run := self._open.pop(trial.run, None)) is not None:
            run.finish(exit_code=int(failed))

    def close(self) -> None:
        """Finish all runs."""
        for run in self._open.values():
            run.finish()
        self._open.clear()
