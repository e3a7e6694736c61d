"""Images from any stored checkpoint."""

from pathlib import Path

from bench.store import Store
from bench.store.trial_files import last_checkpoint
from trainers.common.errors import UserError


def write_images(store: Store, trial: str, n: int, seed: int, out: Path) -> str:
    """Write n generated images (00000.png, ...) and a contact sheet (grid.png) into a directory.

    Args:
        store: where the checkpoint is.
        trial: a trial's key, or an unambiguous start of it.
        n: how many images.
        seed: decides the latents.
        out: the directory, made when it is not there.

    Returns:
        The trial's full key.

    Raises:
        UserError: no trial or several have that key, it left no checkpoint, or `out` cannot be written.
    """
    key = _find(store, trial)
    found = last_checkpoint(store, key)
    if found is None:
        raise UserError(f"trial {key} has left no checkpoint; `transfergan status` tells what became of it")

    from PIL import Image

    from trainers.common.contact_sheet import png_grid
    from trainers.core.sampling import sample
    from trainers.trial import checkpoints

    generator, latent = checkpoints.generator(checkpoints.load(found[1], found[0]))
    images = sample(generator, latent, n, seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(out / f"{i:05d}.png")
        (out / "grid.png").write_bytes(png_grid(images[:64]))
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror}; name another with --out") from error
    return key


def _find(store: Store, trial: str) -> str:
    planned = {row["key"] for sweep in store.read_sweeps().values() for row in sweep["trials"]}
    known: list[str] = sorted({*store.read("trials")["key"], *planned})
    found = [key for key in known if key.startswith(trial)]
    if trial in known:
        return trial
    if len(found) != 1 or not trial:
        many = f"{len(found)} trials start so, e.g. {found[0]} and {found[1]}" if len(found) > 1 else "there is none"
        raise UserError(f"--trial {trial!r}: {many} in store {store.uri!r}; `transfergan report` lists the keys")
    return found[0]
