"""Images drawn from stored generators."""

import json
import math
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.images.drawing import FRAME_RATE, Drawing
from bench.store import Store
from bench.store.columns import kept, where
from bench.store.plans import given_names, read_all
from bench.store.schema import by_step
from bench.store.trial_files import check_checkpoint, generators, generators_by_trial
from trainers.common.counts import counted
from trainers.common.errors import DamagedError, UserError, first_line
from trainers.config.metrics import SELECTION
from trainers.config.sources import renamed
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.networks import Generator
    from trainers.trial.checkpoints import Checkpoint

#: The trial with the lowest FID, as a name of a trial; keys are hexadecimal.
BEST = "best"

#: Statuses of trials that `best` chooses from: the weights of others are of no use, or not final.
ENDED_WELL = ("done", "stopped")


def write_images(
    store: Store, trial: str, drawing: Drawing, out: Path, step: str = "best", *, raw: bool = False, columns: int | None = None,
    nearest: bool = False, walk: int = 0, progress: bool = False,
) -> list[str]:  # fmt: skip
    """Write generated images (00000.png, ...) into a directory, and sheets beside it; return lines that say what is where.

    Sheets are beside the directory, OUT-sheet.png, because all images in a directory are measured by `evaluate`.

    Args:
        trial: as `matching_key` takes it.
        drawing: what is drawn.
        out: the directory; it is created if missing.
        step: a rung, "last", or "best" for the rung with the lowest FID.
        raw: whether to draw from the generator without its moving average.
        columns: images in a row of the sheet, which has all images then; None: the first 64, in rows of 8.
        nearest: whether to write OUT-nearest.png too: images beside their nearest training images, in the trial's embedding.
        walk: latents of a walk (see `Drawing.walk`), written as OUT-walk.gif and, by ffmpeg, OUT-walk.mp4; 0 for none.
        progress: whether to write OUT-progress.gif too: the sample grids of the trial's rungs.

    Raises:
        UserError: `trial` matches no trial or several, it has no generator at that step or no such class, or `out` has other
            files or cannot be written; with `nearest`, the training images or the embedding cannot be had, or there are too
            many training images. Nothing has been written then, unless `out` cannot be.
    """
    others = {file.name for file in out.iterdir()} - {f"{i:05d}.png" for i in range(drawing.n)} if out.is_dir() else set()
    if others:
        fault = f"has other files, such as {min(others)}, which would be measured with the images"
        raise UserError(f"--out {str(out)!r} {fault}; name a new folder")
    key = matching_key(store, trial)
    description, loaded, generator = read_generator(store, key, step, raw=raw)

    from PIL import Image

    from bench.images.animations import write_gif, write_mp4
    from bench.images.rung_grids import write_progress
    from trainers.common.contact_sheet import png_grid

    images = drawing.images(loaded, generator)
    sheets = {"sheet": png_grid(images[:64]) if columns is None else png_grid(images, columns)}
    if nearest:
        sheets["nearest"] = png_grid(_beside_training(images, loaded.trial))
    frames = drawing.walk(loaded, generator, walk) if walk else None
    lines = [f"{counted(drawing.n, 'image')} of trial {key}, {description}: {out}, on one sheet: {beside(out, 'sheet.png')}"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(out / f"{i:05d}.png")
        for name, sheet in sheets.items():
            beside(out, f"{name}.png").write_bytes(sheet)
        if frames is not None:
            gif, mp4 = beside(out, "walk.gif"), beside(out, "walk.mp4")
            write_gif(gif, map(Image.fromarray, frames), 1000 // FRAME_RATE)
            missing = write_mp4(mp4, frames, FRAME_RATE)
            files = f"{gif} and {mp4}" if missing is None else f"{gif}; no MP4: {missing}"
            lines.append(f"a walk through the latents of the first {counted(walk, 'image')}: {files}")
        if progress:
            lines.append(write_progress(store, key, beside(out, "progress.gif")))
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror}; name another with --out") from error
    return lines


def read_generator(store: Store, key: str, step: str, *, raw: bool = False) -> tuple[str, "Checkpoint", "Generator"]:
    """Return a description of a trial's step, its checkpoint and its generator there; `step` and `raw` as in `write_images`.

    The generator's memory layout is contiguous. Batch norm by a batch's statistics is rounded more coarsely in channels-last
    layout, which training uses: images differ by 2e-5 (8 pixels) to 6e-4 (64 pixels) from those in float64, here by 5e-6. Other
    programs, which exported generators are for, compute as exactly.
    """
    path, description = _generator_at(store, key, step)

    import torch

    from trainers.trial import checkpoints

    data = store.read_file(path)
    try:
        check_checkpoint(store, path, data)
    except DamagedError as error:
        raise UserError(f"{path} in store {store.uri!r} is not used: {error}; name another --step") from error
    loaded = checkpoints.load(data, path)
    try:
        generator, _ = checkpoints.generator(loaded, raw=raw)
    except RuntimeError as error:  # torch's, for tensors that are missing or have other shapes
        raise UserError(f"{path} does not have the networks of its trial: {first_line(error)}") from error
    if loaded.step == 0 and not loaded.trial.imported:
        description += ", an untrained network" if loaded.trial.source is None else ", its source without a step of its own"
    return description, loaded, generator.to(memory_format=torch.contiguous_format)


def beside(out: Path, name: str) -> Path:
    """Return the path of a file that belongs to the images in a directory, beside it.

    >>> beside(Path("drawn/images"), "sheet.png").as_posix()
    'drawn/images-sheet.png'
    """
    out = out if out.name else out.resolve()
    return out.with_name(f"{out.name}-{name}")


def _beside_training(images: "np.ndarray", trial: TrialConfig) -> "np.ndarray":
    """Return generated images, each followed by the nearest training image of the trial."""
    from trainers.config.metrics import metrics
    from trainers.evaluation.copies import side_by_side
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.trial.images import training_images

    if trial.size > (most := metrics()["memorisation"].training_images):
        raise UserError(f"--nearest: the trial has {trial.size:,} training images, and they are compared up to {most:,}")
    embedding = load_embedding(trial.evaluation.embedding)
    return side_by_side(images, training_images(trial).images, embedding)


def _generator_at(store: Store, key: str, step: str) -> tuple[str, str]:
    """Return the path of a trial's generator at a step, as `write_images` takes it, and a description of the step."""
    paths = generators(store, key)
    if not paths:
        raise UserError(f"trial {key} has no generator yet; `transfergan status` shows its state")
    if step == "best":
        if key in (best := best_rungs(store, {key: set(paths)})):
            at, fid, number = best[key]
            return paths[at], f"step {at}: FID {fid:.2f}, the best of {counted(number, 'step')}"
        step = "last"
    if step == "last":
        last = max(paths)
        return paths[last], f"step {last}"
    if not step.isdecimal() or int(step) not in paths:
        steps = ", ".join(map(str, paths))
        raise UserError(f"--step {step!r}: trial {key} has no generator there; it has them at {steps}, or best or last")
    return paths[int(step)], f"step {int(step)}"


def matching_key(store: Store, trial: str) -> str:
    """Return the key of the one trial, recorded or planned, whose key is `trial` or starts with it, or `best_trial`."""
    if trial == BEST:
        return best_trial(store)
    planned = {row["key"] for plan in read_all(store) for row in plan["trials"]}
    return one_key(store, trial, {*store.read("trials")["key"], *planned})


def one_key(store: Store, trial: str, keys: Collection[str]) -> str:
    """Return the one of the keys of trials that is `trial` or starts with it. Raises UserError unless there is one."""
    if trial in keys:
        return trial
    matches = sorted(key for key in keys if key.startswith(trial))
    if len(matches) != 1 or not trial:
        problem = f"{len(matches)} keys match, e.g. {' and '.join(matches[:2])}" if matches else "no key matches"
        raise UserError(f"--trial {trial!r}: {problem} in store {store.uri!r}; `transfergan report` lists the keys")
    return matches[0]


def best_trial(store: Store) -> str:
    """Return the key of the adaptation with the lowest FID at any of its rungs, in a store with a single cell.

    Raises:
        UserError: the store has several cells, whose FIDs are not comparable, or no such trial; the message names the best of
            the first cells.
    """
    trials = store.read("trials")
    trials = trials[(trials["kind"] == "adapt") & trials["status"].isin(ENDED_WELL)]
    rows: dict[str, dict[Hashable, Any]] = {row["key"]: row for row in trials.to_dict("records")}
    paths = generators_by_trial(store.files("generators", below=True))
    rungs = best_rungs(store, {key: steps.keys() for key, steps in paths.items() if key in rows})
    fids = {key: fid for key, (_, fid, _) in rungs.items() if math.isfinite(fid)}
    cells: dict[str, str] = {}
    for key in sorted(fids, key=lambda key: (fids[key], key)):
        cells.setdefault(rows[key]["cell"], key)
    if not cells:
        raise UserError(f"--trial best: store {store.uri!r} has no finished trial with a FID and a generator yet")
    if len(cells) > 1:
        given = given_names(store)
        lines = [f"{key} ({_cell(rows[key], given)}: FID {fids[key]:.2f})" for key in list(cells.values())[:4]]
        more = f", and {len(cells) - 4} more" if len(cells) > 4 else ""
        raise UserError(
            f"--trial best: FIDs of different cells are not comparable, and store {store.uri!r} has {len(cells)}; name the "
            f"best trial of one: {', '.join(lines)}{more}"
        )
    (key,) = cells.values()
    return key


def _cell(row: Mapping[Hashable, Any], given: Mapping[str, str]) -> str:
    """Return the parts of a trial's cell that a user knows it by; `given` are names to show for domains."""
    images = f"{renamed(row['target'], given)}, {counted(row['size'], 'image')}, {row['resolution']} pixels"
    augmentation = json.loads(row["config"]).get("augmentation", "none")
    more = (augmentation if augmentation != "none" else "", "conditional" if row["conditional"] else "")
    return ", ".join((images, *filter(None, more)))


def best_rungs(store: Store, generators: dict[str, Collection[int]]) -> dict[str, tuple[int, float, int]]:
    """Return the best of the steps of each trial's generators, its FID, and the number of steps that have a finite FID.

    Trials without a finite FID are left out. Of several evaluations that of the run which recorded the trial counts, or of an
    unfinished trial the first.
    """
    rows = store.rows("measurements")
    rows = kept(rows, where(rows["trial"], generators.__contains__))
    views: dict[str, str] = {}
    measured_in = list(zip(rows["trial"].to_pylist(), rows["view"].to_pylist(), strict=True))
    for trial, view in measured_in:
        views.setdefault(trial, view)
    views |= {row["key"]: row["view"] for row in store.rows("trials").select(["key", "view"]).to_pylist() if row["view"]}
    rows = kept(rows, np.array([views[trial] == view for trial, view in measured_in], bool))
    measured, chosen_by = (by_step(rows, metric, generators) for metric in ("fid", "fid" + SELECTION))
    best = {}
    for key, steps in generators.items():
        values = chosen_by[key] or measured[key]
        finite = {step: value for step, value in values.items() if step in steps and math.isfinite(value)}
        if finite:
            step = min(finite, key=lambda at: (finite[at], at))
            best[key] = step, measured[key].get(step, math.nan), len(finite)
    return best
