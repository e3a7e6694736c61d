"""The trials of `tests.benchmarks.held_out`: small real targets, their sources, and the features of each trained generator.

Every file is kept in a folder, so a run that was interrupted goes on where it ended. Networks and training are those of the
quickstart at half its width and batch.
"""

import gzip
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.strategies import get_strategy
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Gan
from trainers.core.sampling import sample
from trainers.domains import get
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.evaluator import EVALUATION_SEED
from trainers.trial import checkpoints
from trainers.trial.run import start

RESOLUTION = 16
GAN = GanConfig(resolution=RESOLUTION, width=8)
TRAINING = TrainingConfig(steps=150, batch=16, critic_steps=2, generator_lr=5e-4, critic_lr=5e-4)
PRETRAINING = TRAINING.model_copy(update={"steps": 300})

#: Generated images of each trial.
SAMPLES = 1000

#: Training images of the trials.
SIZE = 160

SEEDS = (0, 1, 2)

STRATEGIES = ("scratch", "finetune", "finetune-g")

#: Domains by name: an archive and, where it has classes, those that are used. Sources and targets share no image.
SOURCES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "digits": ("mnist.zip", ()),
    "clothes": ("fashion_mnist.zip", ("0", "1", "2", "3", "4", "6")),
    "faces": ("celeba5k.zip", ()),
}
TARGETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "shoes": ("fashion_mnist.zip", ("5", "7", "8", "9")),
    "letters": ("notmnist-images-idx3-ubyte.gz", ()),
    "scripts": ("omniglot_small1.zip", ()),
    "emoji": ("emoji72.zip", ()),
    "flowers": ("flowers5.zip", ("daisy", "sunflower")),
    "amphibians": ("tiny_imagenet20.zip", ("n01629819", "n01641577", "n01644900")),
}


@dataclass(frozen=True)
class Job:
    """One trial: its target, training images, strategy, source (None for scratch) and seed."""

    target: str
    size: int
    strategy: str
    source: str | None
    seed: int

    @property
    def name(self) -> str:
        """The name of its file of features."""
        return f"{self.target}-{self.size}-{self.strategy}-{self.source or 'none'}-{self.seed}.npy"


def jobs(seeds: Sequence[int] = SEEDS) -> Iterator[Job]:
    """Yield every trial, all of one seed before the next."""
    for seed in seeds:
        for target in TARGETS:
            for strategy in STRATEGIES:
                for source in SOURCES if get_strategy(strategy).needs_source else (None,):
                    yield Job(target, SIZE, strategy, source, seed)


def images(data: Path, name: str) -> np.ndarray:
    """Return all images of a source or target in a fixed random order, uint8 (N, 16, 16, 3).

    Raises:
        UserError: the file is missing.
    """
    file, classes = {**SOURCES, **TARGETS}[name]
    path = data / file
    if not path.is_file():
        raise UserError(f"--data: there is no {file} in {str(data)!r}, which {name!r} needs; name the folder that contains it")
    if path.suffix == ".gz":
        array = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
        small = [np.asarray(Image.fromarray(image).resize((RESOLUTION, RESOLUTION), Image.Resampling.BOX)) for image in array]
        chosen = np.repeat(np.stack(small)[..., None], 3, axis=3)
    else:
        domain = get(f"zip:{path.absolute()}")
        parts = [domain.load(split, RESOLUTION) for split in ("train", "reference")]
        chosen = np.concatenate([part.images for part in parts])
        if classes:
            labels = np.concatenate([part.labels for part in parts if part.labels is not None])
            chosen = chosen[np.isin(labels, [domain.classes.index(label) for label in classes])]
    return chosen[np.random.default_rng(derive_seed("held out", name)).permutation(len(chosen))]


def prepare(data: Path, out: Path) -> None:
    """Write the images of every domain and their features: `NAME.images.npy` and `NAME.features.npy`.

    Raises:
        UserError: a file is missing.
    """
    embed = load_embedding("builtin")
    for name in (*SOURCES, *TARGETS):
        if not (out / f"{name}.features.npy").exists():
            _save(out / f"{name}.images.npy", found := images(data, name))
            _save(out / f"{name}.features.npy", embed(found))


def pretrain(out: Path, name: str) -> str:
    """Write the checkpoint of a source, `NAME.safetensors`, and return the source's name."""
    if not (path := out / f"{name}.safetensors").exists():
        data = np.load(out / f"{name}.images.npy")
        gan = Gan(GAN, PRETRAINING, classes=0, seed=derive_seed("pretrain", name, 0))
        gan.train(data, None, PRETRAINING.steps)
        trial = TrialConfig(
            kind="pretrain", domain=DomainRef(name=name, fingerprint=f"held out/{name}"), size=len(data), gan=GAN,
            training=PRETRAINING, evaluation=EvaluationConfig(),
        )  # fmt: skip
        temporary = path.with_suffix(".part")
        temporary.write_bytes(checkpoints.save(gan, trial, {}, {}, resumable=False))
        temporary.rename(path)
    return name


def train(out: Path, job: Job) -> str:
    """Train a trial on the first `job.size` images of its target and write its features; return the file's name."""
    data = np.load(out / f"{job.target}.images.npy", mmap_mode="r")[: job.size].copy()
    parent = None
    if job.source is not None:
        file = out / f"{job.source}.safetensors"
        parent = checkpoints.load(file.read_bytes(), file.name)
    gan = Gan(GAN, TRAINING, classes=0, seed=derive_seed("adapt", job.target, job.seed))
    start(gan, get_strategy(job.strategy), parent, ())
    gan.train(data, None, TRAINING.steps)
    _save(out / job.name, load_embedding("builtin")(sample(gan.evaluated, gan.latent, SAMPLES, EVALUATION_SEED)))
    return job.name


def train_all(data: Path, out: Path, planned: Sequence[Job], processes: int = 2) -> Iterator[str]:
    """Make everything that is missing, in processes of one thread; yield a line per finished file.

    Raises:
        UserError: a file is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    prepare(data, out)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _be_single) as pool:
        for name in pool.map(pretrain, [out] * len(SOURCES), SOURCES):
            yield f"source {name}"
        missing = [job for job in planned if not (out / job.name).exists()]
        for number, done in enumerate(as_completed([pool.submit(train, out, job) for job in missing]), 1):
            yield f"{number} of {len(missing)}: {done.result()}"


def _be_single() -> None:
    torch.set_num_threads(1)


def _save(path: Path, array: np.ndarray) -> None:
    """Write an array whole or not at all."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, array)
    temporary.rename(path)
