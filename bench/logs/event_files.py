"""TensorBoard's event files, written by tensorboardX, on which Ray Tune depends.

Each step of a trial has a file of its own, which appears complete under the name of the step: the names tell which steps there
are, also after a kill, and TensorBoard reads the files of a folder in the order of their names.
"""

import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from bench.logs.writer import LoggedTrial
from bench.store.grids import open_grid
from trainers.common.files import replacing

_FILE = re.compile(r"events\.out\.tfevents\.(\d{10})")


class EventFiles:
    """Implements `Writer`: a folder for each trial."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def steps(self, trial: LoggedTrial) -> Collection[int]:
        """Return the steps that have a file."""
        of = self._of(trial)
        names = [path.name for path in of.iterdir()] if of.is_dir() else []
        return {int(match[1]) for match in map(_FILE.fullmatch, names) if match}

    def write(self, trial: LoggedTrial, step: int, values: Mapping[str, float], grid: bytes | None) -> None:
        """Write a file with scalars and the grid; the first one of a trial has its configuration too."""
        summaries = [summary.scalar(name, value) for name, value in values.items()]
        if grid is not None:
            summaries.append(_image("samples", grid))
        if not self.steps(trial):
            experiment, session, _ = summary.hparams(trial.settings(), dict(values))
            summaries = [experiment, session, *summaries]
        now = time.time()
        events = [Event(wall_time=now, file_version="brain.Event:2")]
        events += [Event(wall_time=now, step=step, summary=each) for each in summaries]
        with replacing(self._of(trial) / f"events.out.tfevents.{step:010d}") as file:
            writer = RecordWriter(file.name)
            for event in events:
                writer.write(event.SerializeToString())
            writer.close()

    def end(self, trial: LoggedTrial, *, failed: bool) -> None:
        """Do nothing: event files have no end."""

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _of(self, trial: LoggedTrial) -> Path:
        name = re.sub(r"[^\w.+]+", "-", trial.name).strip("-")
        return self._folder / f"{name[:100]}-{trial.run}"


def _image(tag: str, png: bytes) -> Summary:
    """Return a PNG as it is; tensorboardX would decode it and encode it again."""
    with open_grid(png) as image:
        content = Summary.Image(height=image.height, width=image.width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=content)])
