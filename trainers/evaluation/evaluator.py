"""Measures a trial: every metric of its generator against the whole reference split of its domain, or the whole train split.

A conditional generator is measured on the classes with training images, generated and real alike. The classes are requested
with the shares that they have in the reference, though they are trained with equal shares: so no metric measures the
difference between the two, and a domain's floor (`trainers.evaluation.floor`) applies to conditional trials too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trainers.common.contact_sheet import png_grid
from trainers.config.metrics import RAW, SELECTION, metrics
from trainers.config.settings import Until
from trainers.config.trial import TrialConfig
from trainers.core.sampling import proportional, sample
from trainers.domains import Images, Split, get
from trainers.evaluation.comparison import METRICS, Comparison
from trainers.evaluation.copies import nearest_features
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.evaluation.metrics.iw import iw_score
from trainers.evaluation.references import Reference, References
from trainers.networks import Generator

#: Seed of the latents: the same for every trial, so trials are compared on equal draws.
EVALUATION_SEED = 0

#: Images in a sample grid.
GRID = 32


@dataclass(frozen=True)
class Measurement:
    """The value of a metric, its standard error if it has one, and the number of generated images that it is computed from.

    `replicates` are its values on other draws of the reference images, float32 (B,), if it has them.
    """

    metric: str
    value: float
    standard_error: float | None
    samples: int
    replicates: np.ndarray | None = field(default=None, compare=False)

    @classmethod
    def of(cls, metric: str, estimate: Estimate, samples: int) -> "Measurement":
        """Return the measurement of an estimate."""
        return cls(metric, estimate.value, estimate.standard_error, samples, estimate.replicates)


@dataclass(frozen=True)
class Subject:
    """What is measured: a generator at a step of its training.

    Attributes:
        generator: with its moving average, if it has one.
        raw: without its moving average.
        latent: dimensions of the latents.
    """

    step: int
    generator: Generator
    raw: Generator
    latent: int


class Evaluator:
    """Measures the generator of one trial.

    For a conditional generator this includes FID class by class, each against the reference images of that class, and their
    mean, the intra-FID of Miyato & Koyama (2018). On request FID and KID of the generator without its moving average are
    measured too, and on reference images that are set apart for choices.
    """

    def __init__(self, trial: TrialConfig, training: Images, references: References, device: str) -> None:
        """Load the embedding and the reference, and embed the training images unless they are too many."""
        self.trial = trial
        self.device = device
        self.embedding: Embedding = load_embedding(trial.evaluation.embedding, device)
        few = len(training.images) <= max(record.training_images for record in metrics().values())
        self.training = self.embedding(training.images) if few else None
        self._training_images = training.images
        classes = trained_classes(trial, training)

        def reference(embedding: Embedding, split: Split) -> Reference:
            whole = references(trial.domain.name, trial.gan.resolution, embedding, split)
            return whole if classes is None else whole.of_classes(classes)

        self.reference = reference(self.embedding, trial.evaluation.split)
        # Memorisation compares with images that were not trained on.
        apart = trial.evaluation.split == "train" and self.training is not None
        self.held_out = reference(self.embedding, "reference") if apart else None
        self.class_counts = class_counts(trial, training)
        self._counts: np.ndarray | None = None  # of the images compared with
        if classes is not None:
            assert self.reference.labels is not None
            self._counts = _counts(self.reference.labels, classes, len(trial.domain.classes))
        self._until: tuple[Embedding, Reference] | None = None  # where it is not the evaluation's own
        if (until := trial.until) is not None and until.view != trial.evaluation.view:
            embedding = load_embedding(until.embedding, device)
            self._until = embedding, reference(embedding, "reference")
        self.selection: Reference | None = None
        if share := trial.evaluation.selection:
            self.reference, self.selection = self.reference.split(share)
        self.sampled: tuple[int, np.ndarray] | None = None
        self._compared: tuple[int, Comparison] | None = None

    def requested(self, n: int) -> np.ndarray | None:
        """Return the classes int64 (n,) of n images to generate, with the reference's shares; None if unconditional."""
        return None if self.class_counts is None else proportional(self.class_counts, n)

    def images(self, subject: Subject) -> np.ndarray:
        """Return the generated images from which the metrics of this step are computed, uint8 (samples, H, W, 3)."""
        if self.sampled is None or self.sampled[0] != subject.step:
            self.sampled = subject.step, self._sample(subject, subject.generator)
        return self.sampled[1]

    def __call__(self, subject: Subject) -> tuple[Measurement, ...]:
        """Return the measurements of a generator that every rung has."""
        measurements = self._measurements(subject, at_end=False)
        if self.class_counts is not None:
            measurements += self._by_class(self._comparison(subject).generated)
        if self.selection is not None:
            measurements += _variants(Comparison(self.selection, self._comparison(subject).generated), SELECTION)
        if self.trial.evaluation.raw:
            measurements += _variants(Comparison(self.reference, self.embedding(self._sample(subject, subject.raw))), RAW)
        return tuple(measurements)

    def at_end(self, subject: Subject) -> tuple[Measurement, ...]:
        """Return the measurements that the last rung has in addition."""
        independent = [self._iw(self.images(subject))] if self.trial.evaluation.iw_steps else []
        return (*self._measurements(subject, at_end=True), *independent)

    def until(self, subject: Subject, until: Until, measurements: Iterable[Measurement]) -> float:
        """Return the value of the metric that may end the training; `measurements` are those of this step."""
        if self._until is None:
            return next(measurement.value for measurement in measurements if measurement.metric == until.metric)
        embedding, reference = self._until
        images = sample(subject.generator, subject.latent, until.samples, EVALUATION_SEED, self.requested(until.samples))
        return METRICS[until.metric](Comparison(reference, embedding(images))).value

    def _measurements(self, subject: Subject, *, at_end: bool) -> list[Measurement]:
        records, comparison = metrics(), self._comparison(subject)
        training = math.inf if self.training is None else len(self.training)
        return [
            Measurement.of(name, compute(comparison), len(comparison.generated))
            for name, compute in METRICS.items()
            if (record := records[name]).last_rung_only == at_end
            and (not record.training_images or training <= record.training_images)
        ]

    def _comparison(self, subject: Subject) -> Comparison:
        """Return the comparison of the generated images of this step with the reference; computed once."""
        if self._compared is None or self._compared[0] != subject.step:
            generated = self.embedding(self.images(subject))
            self._compared = subject.step, Comparison(self.reference, generated, self.training, self.held_out)
        return self._compared[1]

    def grid(self, subject: Subject) -> bytes:
        """Return a PNG grid of the first generated images; every trial has the same latents."""
        return png_grid(self.images(subject)[:GRID])

    def nearest(self, subject: Subject) -> bytes | None:
        """Return a PNG grid of the training images nearest to the images of `grid`, place by place; None if too many."""
        if self.training is None:
            return None
        rows = nearest_features(self._comparison(subject).generated[:GRID], self.training)
        return png_grid(self._training_images[rows])

    def _sample(self, subject: Subject, generator: Generator) -> np.ndarray:
        n = self.trial.evaluation.samples
        return sample(generator, subject.latent, n, EVALUATION_SEED, self._labels(n))

    def _labels(self, n: int) -> np.ndarray | None:
        """Return the classes of n images that are measured, with the shares of the images that they are compared with."""
        return None if self._counts is None else proportional(self._counts, n)

    def _by_class(self, features: np.ndarray) -> list[Measurement]:
        """Return ``fid/CLASS`` of every class with two real and two generated images or more, and their mean, ``intra_fid``."""
        labels, references = self._labels(len(features)), self.reference.by_class
        measurements = []
        for label, name in enumerate(self.trial.domain.classes):
            generated = features[labels == label]
            if label in references and len(generated) > 1:
                value = fid(references[label], statistics(generated))
                measurements.append(Measurement(f"fid/{name}", value, None, len(generated)))
        if measurements:
            mean = float(np.mean([measurement.value for measurement in measurements]))
            samples = sum(measurement.samples for measurement in measurements)
            measurements.append(Measurement("intra_fid", mean, None, samples))
        return measurements

    def _iw(self, images: np.ndarray) -> Measurement:
        domain, split = get(self.trial.domain.name), self.trial.evaluation.split
        real, labels = domain.load(split, self.trial.gan.resolution).images, domain.labels(split)
        if self._counts is not None and labels is not None:
            real = real[self._counts[labels] > 0]
        steps = self.trial.evaluation.iw_steps
        estimate = iw_score(real, images, self.trial.gan, EVALUATION_SEED, steps, self.device)
        return Measurement.of("iw", estimate, len(images))


def trained_classes(trial: TrialConfig, training: Images) -> np.ndarray | None:
    """Return the classes with training images, int64 ascending; None for an unconditional trial."""
    return np.unique(training.labels) if trial.conditional and training.labels is not None else None


def class_counts(trial: TrialConfig, training: Images) -> np.ndarray | None:
    """Return the reference images int64 (K,) of each class, 0 for a class without training images; None if unconditional."""
    classes = trained_classes(trial, training)
    if classes is None:
        return None
    labels = get(trial.domain.name).labels("reference")
    assert labels is not None
    return _counts(labels, classes, len(trial.domain.classes))


def _counts(labels: np.ndarray, classes: np.ndarray, number: int) -> np.ndarray:
    """Return how often each of `number` classes is among labels, 0 for those that are not in `classes`."""
    return np.bincount(labels[np.isin(labels, classes)], minlength=number)


def _variants(compared: Comparison, suffix: str) -> list[Measurement]:
    names = [name for name, record in metrics().items() if record.variants]
    return [Measurement.of(name + suffix, METRICS[name](compared), len(compared.generated)) for name in names]


def real_grid(name: str, resolution: int) -> bytes:
    """Return a PNG grid of a domain's reference images, evenly spaced over the split."""
    domain = get(name)
    count = domain.count("reference")
    chosen = np.linspace(0, count - 1, min(GRID, count)).round().astype(int)
    return png_grid(domain.pick("reference", resolution, chosen).images)
