"""Images generated from stored checkpoints."""

from pathlib import Path

from bench.store import Store
from bench.store.trial_files import last_checkpoint
from trainers.common.errors import UserError, first_line


def write_images(store: Store, trial: str, n: int, seed: int, out: Path) -> str:
    """Write n generated images (00000.png, ...) and a contact sheet (grid.png) into a directory; return the trial's full key.

    `trial` is a trial's key or an unambiguous prefix of it, `seed` that of the latents; a missing directory is created.

    Raises:
        UserError: `trial` matches no trial or several, the trial has no checkpoint, or `out` cannot be written.
    """
    key = _matching_key(store, trial)
    checkpoint = last_checkpoint(store, key)
    if checkpoint is None:
        raise UserError(f"trial {key} has no checkpoint; `transfergan status` shows its state")

    from PIL import Image

    from trainers.common.contact_sheet import png_grid
    from trainers.core.sampling import sample
    from trainers.trial import checkpoints

    loaded = checkpoints.load(checkpoint[1], checkpoint[0])
    try:
        generator, latent = checkpoints.generator(loaded)
    except RuntimeError as error:  # torch's, for tensors that are missing or have other shapes
        raise UserError(f"checkpoint {checkpoint[0]} does not have the networks of its trial: {first_line(error)}") from error
    images = sample(generator, latent, n, seed, loaded.requested(n))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(out / f"{i:05d}.png")
        (out / "grid.png").write_bytes(png_grid(images[:64]))
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror}; name another with --out") from error
    return key


def _matching_key(store: Store, trial: str) -> str:
    """Return the key of the one trial, recorded or planned, whose key is `trial` or starts with it."""
    planned = {row["key"] for sweep in store.read_sweeps().values() for row in sweep["trials"]}
    keys: list[str] = sorted({*store.read("trials")["key"], *planned})
    if trial in keys:
        return trial
    matches = [key for key in keys if key.startswith(trial)]
    if len(matches) != 1 or not trial:
        problem = f"{len(matches)} keys match, e.g. {' and '.join(matches[:2])}" if matches else "no key matches"
        raise UserError(f"--trial {trial!r}: {problem} in store {store.uri!r}; `transfergan report` lists the keys")
    return matches[0]
