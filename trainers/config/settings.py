"""The settings of a trial's networks, training and evaluation, as frozen, validated models.

Those of the networks and the training are part of a trial's key, so equivalent ones are normalised to equal ones. Those of the
evaluation identify measurements. Needs no torch, so planning is quick.
"""

import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.common.errors import Problems, unknown_name
from trainers.config.base import Frozen, Number, PositiveInt, StrictBool, as_json, set_fields
from trainers.config.embeddings import embedding_identity
from trainers.config.metrics import metrics, plain_name, stopping_metrics

#: Steps beyond which no training is planned: far more than any published GAN was trained for.
MOST_STEPS = 10**9

#: Evaluations beyond which no training is planned.
MOST_EVALUATIONS = 10_000

#: Ends the view of an evaluation against the train split.
TRAIN = "/train"

Steps = Annotated[PositiveInt, Field(le=MOST_STEPS)]
Images = Annotated[PositiveInt, Field(le=10**12)]
LearningRate = Annotated[Number, Field(gt=0)]
Side = Annotated[PositiveInt, Field(le=4096)]


#: The families whose generators map latents to styles.
STYLED = ("style", "style-bilinear")


class GanConfig(Frozen):
    """The networks; the default is the ResNet pair of Gulrajani et al. (2017), as in Wang et al. (2018)."""

    family: Literal["resnet", "sngan", "dcgan", "fast", "style", "style-bilinear"] = "resnet"
    """`resnet`: layer norm in the critic. `sngan`: spectral norm there (Miyato et al. 2018). `dcgan`: Radford et al. (2016).
    `fast`: FastGAN (Liu et al. 2021). `style`: StyleGAN 2 (Karras et al. 2020). `style-bilinear`: lucidrains' variant."""
    resolution: Side = 16
    """Height and width of the images, pixels: `base` times a power of two."""
    base: Side = 4
    """Height and width of the first feature map, pixels."""
    width: Annotated[PositiveInt, Field(le=1024)] = 16
    """Channels at full resolution; doubled at each halving of the resolution, up to eight times. With `style` up to 512
    channels: width 128 at 256 pixels are the paper's networks, with its channel multiplier 2."""
    depth: Annotated[PositiveInt, Field(le=64)] = 1
    """Residual blocks per scale; the paper uses one."""
    latent: Annotated[PositiveInt, Field(le=65_536)] = 128
    """Dimensions of the latent z ~ N(0, I)."""
    conditioning: Literal["batch-norm", "concat"] = "batch-norm"
    """How a conditional generator gets the class: as scales and shifts per class, or concatenated to the latent."""
    class_head: Annotated[Literal["ac-gan", "projection"], Field(exclude_if=lambda head: head == "ac-gan")] = "ac-gan"
    """How a conditional critic uses the class: `ac-gan` classifies images (Odena et al. 2017); `projection` adds to the score
    an inner product of the features with a vector per class (Miyato & Koyama 2018)."""
    batch_norm: Literal["batch", "running"] = "batch"
    """Statistics that the generator's batch norm uses in sampling: the batch's, as the paper's authors did, or running
    averages from training."""
    mapping: Annotated[PositiveInt, Field(le=64, exclude_if=lambda value: value == 8)] = 8
    """`style` and `style-bilinear` only: layers of the map from latents to styles."""
    mixing: Annotated[Number, Field(ge=0, le=1, exclude_if=lambda value: value == 0.9)] = 0.9
    """`style` and `style-bilinear` only: share of the images in training that take their styles from two latents."""

    @model_validator(mode="after")
    def _fits_together(self) -> "GanConfig":
        problems = Problems()
        for name in sorted({"mapping", "mixing"} & self.model_fields_set) if self.family not in STYLED else ():
            problems.lines.append(f"{name}: goes with family {' or '.join(STYLED)} alone, not with {self.family}; leave it out")
        if self.resolution <= self.base or math.log2(self.resolution / self.base) % 1:
            examples = ", ".join(str(self.base * 2**k) for k in range(1, 5))
            problems.lines.append(
                f"resolution: {self.resolution} is not base {self.base} times a power of two ({examples}, ...)"
            )
        problems.check()
        return self

    def of_trial(self, conditional: bool) -> "GanConfig":
        """Return the networks of a trial: `class_head` is about conditional ones alone, and has its default in others."""
        default = "ac-gan"
        if conditional or self.class_head == default:
            return self
        return self.model_copy(update={"class_head": default})

    @property
    def scales(self) -> int:
        """How many times the resolution doubles between `base` and `resolution`."""
        return round(math.log2(self.resolution / self.base))


class TrainingConfig(Frozen):
    """How a GAN is trained: by default WGAN-GP (Gulrajani et al. 2017), an AC-GAN head if conditional (Odena et al. 2017)."""

    loss: Literal["wgan-gp", "hinge", "non-saturating"] = "wgan-gp"
    steps: Steps = 200
    """Budget in generator steps."""
    images: Annotated[Images | None, Field(exclude=True)] = None
    """Budget in real images that the critic sees, instead of `steps`; converted to `steps`, rounded up."""
    batch: Annotated[int, Field(strict=True, ge=2, le=65_536)] = 32
    """Real images per critic step."""
    critic_steps: Annotated[PositiveInt, Field(le=1000)] = 5
    """Critic steps per generator step, each on a new minibatch."""
    generator_lr: LearningRate = 1e-4
    critic_lr: LearningRate = 1e-4
    betas: tuple[Annotated[Number, Field(ge=0, lt=1)], Annotated[Number, Field(ge=0, lt=1)]] = (0.0, 0.9)
    """Adam's exponential decay rates."""
    gradient_penalty: Annotated[Number, Field(ge=0, le=10**6)] = 10.0
    """Weight of the gradient penalty: WGAN-GP's lambda, R1's gamma of the non-saturating loss; the hinge loss has none."""
    penalty_every: Annotated[PositiveInt, Field(le=10_000, exclude_if=lambda value: value == 1)] = 1
    """Critic steps from one R1 penalty to the next (Karras et al. 2020: 16); each then counts this many times. From 2 on it is
    the gradient by the real images before their augmentation, in a pass of its own."""
    path_length: Annotated[Number, Field(ge=0, le=10**6, exclude_if=lambda value: value == 0.0)] = 0.0
    """`style` and `style-bilinear` only: weight of the path length regularisation (Karras et al. 2020: 2); 0 for none."""
    path_length_every: Annotated[PositiveInt, Field(le=10_000, exclude_if=lambda value: value == 4)] = 4
    """Generator steps from one path length regularisation to the next; each then counts this many times."""
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    """Highest decay per generator step of an exponential moving average of the generator's weights; 0 for no average.

    The average is the generator that is measured, that images are drawn from and that is transferred. Step n has the decay
    (1 + n) / (10 + n) while that is lower, so the average covers about the last tenth of a short training."""
    flip: StrictBool = False
    """Whether to mirror real images at random."""
    crop: Annotated[int, Field(strict=True, ge=0)] = 0
    """Most pixels by which real images are shifted at random in either direction, with mirrored edges."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: convolutions in the gradients, not in the forward pass, use bfloat16 operands."""

    @cached_property
    def course(self) -> str:
        """The settings that decide the course of a training, but not how far it goes, as canonical JSON."""
        return as_json(self.model_dump(mode="json", exclude={"steps"}))

    @model_validator(mode="after")
    def _make_canonical(self) -> "TrainingConfig":
        """Normalise equivalent settings, so that equal trials have equal keys."""
        problems = Problems()
        if self.images is not None and "steps" in self.model_fields_set:
            problems.lines.append("images: this and steps are both budgets; set one of them")
        elif self.images is not None:
            with problems.collected(ValueError):
                set_fields(self, steps=steps_of(self.images, self), images=None)
        if self.loss == "hinge" and self.gradient_penalty:
            if "gradient_penalty" in self.model_fields_set:
                problems.lines.append("gradient_penalty: does not go with the hinge loss, which has none; leave it out")
            set_fields(self, gradient_penalty=0.0)
        if self.penalty_every > 1 and not (self.loss == "non-saturating" and self.gradient_penalty):
            problems.lines.append(
                f"penalty_every: {self.penalty_every} is for the R1 penalty; set loss to non-saturating with a "
                "gradient_penalty above 0, or leave it out"
            )
        if "path_length_every" in self.model_fields_set and not self.path_length:
            problems.lines.append("path_length_every: goes with a path_length above 0; leave it out")
        problems.check()
        return self


class Until(Frozen):
    """Ends a training at its plateau: after `patience` evaluations in a row without a new lowest value of a metric.

    With a `threshold`, an evaluation counts only if its value is lower than the best one by this share of it (PyTorch's
    ``ReduceLROnPlateau`` in mode "rel" counts alike). Else a metric that falls ever more slowly has no plateau.
    The training ends at its budget at the latest. These evaluations have settings of their own: where a source ends decides
    what all its transfers start from, so it must not depend on how the sweep's trials are evaluated.
    """

    metric: str = "fid"
    """A metric of which lower is better: fid or kid, or one of a plug-in."""
    patience: Annotated[PositiveInt, Field(le=MOST_EVALUATIONS)] = 3
    """Evaluations in a row without a lower value, after which the training ends."""
    threshold: Annotated[Number, Field(ge=0, lt=1, exclude_if=lambda value: value == 0.0)] = 0.0
    """Share of the best value by which a lower one has to be lower; 0.1 is a tenth."""
    every: Steps = 50
    """Generator steps between two evaluations."""
    embedding: str = "builtin"
    samples: Annotated[int, Field(strict=True, ge=64, le=1_000_000)] = 1000
    """Generated images behind the metric; they are compared with all reference images of the source."""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        known = [name for name in stopping_metrics() if name in metrics() and not metrics()[name].training_images]
        if name not in known:
            raise unknown_name("metric to end by", name, known)
        return name

    @cached_property
    def view(self) -> str:
        """What decides the value of the metric at a step, as `EvaluationConfig.view`."""
        return f"{embedding_identity(self.embedding)}/{self.samples}"

    @cached_property
    def identity(self) -> str:
        """The part of a trial's key, as canonical JSON: it has the embedding's identity, not the path of its file."""
        version = metrics()[self.metric].version
        return as_json({**self.model_dump(mode="json"), "embedding": embedding_identity(self.embedding), "version": version})

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which a training of at most `steps` steps is evaluated, ascending; the last is `steps`.

        >>> Until(every=50).rungs(120)
        (50, 100, 120)
        """
        return (*range(self.every, steps, self.every), steps)


def steps_of(images: int, training: TrainingConfig) -> int:
    """Return the generator steps in which the critic sees `images` real images, rounded up. Raises ValueError for too many."""
    steps = -(-images // (training.batch * training.critic_steps))
    if steps > MOST_STEPS:
        raise ValueError(
            f"images: {images:,} are {steps:,} generator steps, and at most {MOST_STEPS:,} are planned; set it lower"
        )
    return steps


def check_penalty(gan: GanConfig, training: TrainingConfig) -> None:
    """Raise ValueError if these networks cannot be trained with this loss, this gradient penalty or this regularisation."""
    if gan.family in ("dcgan", "fast") and training.gradient_penalty:
        raise ValueError(
            f"gan.family: {gan.family} has batch norm in its critic, which mixes images, and a gradient penalty is taken per "
            "image; set training.loss to hinge, or to non-saturating with training.gradient_penalty 0"
        )
    if gan.family == "style" and training.loss == "wgan-gp":
        raise ValueError(
            "gan.family: style compares the images of a minibatch in its critic, and WGAN-GP's penalty is taken per "
            "image; set training.loss to non-saturating, as its paper did, or to hinge"
        )
    if gan.family not in STYLED and training.path_length:
        raise ValueError(
            f"training.path_length: is about the styles of gan.family {' or '.join(STYLED)}, and {gan.family} has none; "
            "leave it out"
        )


def check_crop(gan: GanConfig, training: TrainingConfig) -> None:
    """Raise ValueError if images may be shifted by their whole size."""
    if training.crop >= gan.resolution:
        raise ValueError(f"training.crop: {training.crop} is not less than gan.resolution {gan.resolution}; set it lower")


def check_evaluations(until: Until | None, steps: int) -> None:
    """Raise ValueError if a training of `steps` steps that ends at a plateau is evaluated too often."""
    if until is not None and steps > until.every * MOST_EVALUATIONS:
        times = steps // until.every
        raise ValueError(
            f"pretrain.until.every: a source is evaluated every {until.every:,} steps, {times:,} times here, and at most "
            f"{MOST_EVALUATIONS:,}; set it higher"
        )


class EvaluationConfig(Frozen):
    """The embedding, the number of samples and the rungs of the evaluation."""

    embedding: str = "builtin"
    samples: Annotated[int, Field(strict=True, ge=64, le=1_000_000)] = 1000
    """Generated images behind every metric."""
    first_rung: Steps = 50
    """The first rung, in generator steps."""
    rung_factor: Annotated[Number, Field(ge=1.1, le=MOST_STEPS)] = 2.0
    """Each rung is this many times the one before, up to the budget."""
    iw_steps: Annotated[int, Field(strict=True, ge=0, le=MOST_STEPS)] = 0
    """Steps of the independent critic that estimates the Wasserstein distance at the last rung; 0 for none."""
    raw: StrictBool = False
    """Whether FID and KID are also measured of the generator without its moving average, as `fid_raw` and `kid_raw`."""
    selection: Annotated[Number, Field(ge=0, le=0.5)] = 0.0
    """Share of the reference images by which is chosen: which trials stop, which settings a search takes and which rung is the
    best. FID and KID on them are `fid_selection` and `kid_selection`; all other metrics are
    then of the rest of the reference images, so that no choice has seen these. 0: the same images serve both."""
    reference: Literal["held-out", "train"] = "held-out"
    """The real images that generated ones are compared with: those of the domain's reference split, which no trial trains on,
    or its whole train split, as in many papers. The train split contains the training images, so copies of them improve every
    metric, except memorisation: it compares with held-out images in any case. Distances do too."""
    where: Literal["inline", "task"] = "inline"
    """Where a trial is measured at its rungs. `inline`: in its process. `task`: in another one, which takes `resources.cpus`
    cores and no GPU, while the trial waits and its GPU trains others; only sources that end at a plateau are measured inline
    all the same. No part of any identity."""

    @property
    def split(self) -> Literal["reference", "train"]:
        """The split of a domain that `reference` names."""
        return "train" if self.reference == "train" else "reference"

    @cached_property
    def view(self) -> str:
        """What decides the value of a metric at a step: the embedding, the generated and the real images.

        ``EMBEDDING/SAMPLES``, e.g. ``builtin:88d105204ef9/1000``, followed by ``/selection=SHARE`` if images are set apart and
        by `TRAIN` if the real images are those of the train split.
        """
        apart = f"/selection={self.selection:g}" if self.selection else ""
        return f"{embedding_identity(self.embedding)}/{self.samples}{apart}{TRAIN if self.reference == 'train' else ''}"

    def version(self, metric: str) -> str:
        """Return the version of a measured quantity's definition: that of its metric, for IW with the steps of its critic."""
        known = metrics().get(plain_name(metric))
        version = "1" if known is None else known.version
        return f"{version}/{self.iw_steps}" if metric == "iw" else version

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the rungs of a trial of `steps` steps, ascending; the last one is `steps` itself.

        >>> EvaluationConfig(first_rung=50, rung_factor=2).rungs(300)
        (50, 100, 200, 300)
        """
        rungs = {steps}
        rung = float(self.first_rung)
        while rung < steps:
            rungs.add(round(rung))
            rung *= self.rung_factor
        return tuple(sorted(rungs))
