"""The programs that a log can be written for, and what each needs."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.common.errors import UserError

if TYPE_CHECKING:
    from bench.store import Store


class Log(StrEnum):
    """The program that a log is for."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"


#: By log, the package that it needs, and the module and class that write it.
WRITERS = {
    Log.tensorboard: ("tensorboardX", "event_files", "EventFiles"),
    Log.wandb: ("wandb", "wandb_runs", "WandbRuns"),
    Log.mlflow: ("mlflow", "mlflow_runs", "MlflowRuns"),
}


def check_log(log: Log | None) -> None:
    """Raise UserError if the package that a log needs is not installed."""
    if log is not None and find_spec(package := WRITERS[log][0]) is None:
        raise UserError(f"--log {log} needs {package}: pip install {package}")


def folder_of(log: Log, store: "Store") -> Path:
    """Return where a log goes: into the store, or into the working directory if the store is remote."""
    return (Path() if "://" in store.uri else Path(store.root)) / "logs" / log
