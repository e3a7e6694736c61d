"""The settings of a trial's networks, training and evaluation, as frozen, validated models.

They are part of a trial's key, so equivalent settings are normalised to equal ones. Needs no torch, so planning is quick.
"""

import math
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainers.common.errors import unknown_name
from trainers.config.base import Frozen, PositiveInt, StrictBool, as_json, set_fields
from trainers.config.embeddings import embedding_identity
from trainers.config.metrics import stopping_metrics


class GanConfig(Frozen):
    """The networks; the default is the ResNet pair of Gulrajani et al. (2017), as in Wang et al. (2018)."""

    family: Literal["resnet", "sngan", "dcgan"] = "resnet"
    """`resnet`: layer norm in the critic. `sngan`: spectral norm there (Miyato et al. 2018). `dcgan`: Radford et al. (2016)."""
    resolution: PositiveInt = 16
    """Height and width of the images, pixels: `base` times a power of two."""
    base: PositiveInt = 4
    """Height and width of the first feature map, pixels."""
    width: PositiveInt = 16
    """Channels at full resolution; doubled at each halving of the resolution, up to eight times."""
    depth: PositiveInt = 1
    """Residual blocks per scale; the paper uses one."""
    latent: PositiveInt = 128
    """Dimensions of the latent z ~ N(0, I)."""
    conditioning: Literal["batch-norm", "concat"] = "batch-norm"
    """How a conditional generator gets the class: as scales and shifts per class, or concatenated to the latent."""
    batch_norm: Literal["batch", "running"] = "batch"
    """Statistics that the generator's batch norm uses in sampling: the batch's, as the paper's authors did, or running
    averages from training."""

    @model_validator(mode="after")
    def _resolution_fits(self) -> "GanConfig":
        if self.resolution <= self.base or math.log2(self.resolution / self.base) % 1:
            examples = ", ".join(str(self.base * 2**k) for k in range(1, 5))
            raise ValueError(f"resolution {self.resolution} is not base {self.base} times a power of two ({examples}, ...)")
        return self

    @property
    def scales(self) -> int:
        """How many times the resolution doubles between `base` and `resolution`."""
        return round(math.log2(self.resolution / self.base))


class TrainingConfig(Frozen):
    """How a GAN is trained: by default WGAN-GP (Gulrajani et al. 2017), an AC-GAN head if conditional (Odena et al. 2017)."""

    loss: Literal["wgan-gp", "hinge", "non-saturating"] = "wgan-gp"
    steps: PositiveInt = 200
    """Budget in generator steps."""
    images: Annotated[PositiveInt | None, Field(exclude=True)] = None
    """Budget in real images that the critic sees, instead of `steps`; converted to `steps`, rounded up."""
    batch: Annotated[int, Field(strict=True, ge=2)] = 32
    """Real images per critic step."""
    critic_steps: PositiveInt = 5
    """Critic steps per generator step, each on a new minibatch."""
    generator_lr: Annotated[float, Field(gt=0)] = 1e-4
    critic_lr: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)
    """Adam's exponential decay rates."""
    gradient_penalty: Annotated[float, Field(ge=0)] = 10.0
    """Weight of the gradient penalty: WGAN-GP's lambda, R1's gamma of the non-saturating loss; the hinge loss has none."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Highest decay per generator step of an exponential moving average of the generator's weights; 0 for no average.

    The average is the generator that is measured, that images are drawn from and that is transferred. Step n has the decay
    (1 + n) / (10 + n) while that is lower, so the average covers about the last tenth of a short training."""
    flip: StrictBool = False
    """Whether to mirror real images at random."""
    crop: Annotated[int, Field(strict=True, ge=0)] = 0
    """Most pixels by which real images are shifted at random in either direction, with mirrored edges."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: convolutions in the gradients, not in the forward pass, use bfloat16 operands."""

    @model_validator(mode="after")
    def _make_canonical(self) -> "TrainingConfig":
        """Normalise equivalent settings, so that equal trials have equal keys."""
        if self.images is not None:
            if "steps" in self.model_fields_set:
                raise ValueError("steps and images are both budgets; give one of them")
            set_fields(self, steps=steps_of(self.images, self), images=None)
        if self.loss == "hinge" and self.gradient_penalty:
            if "gradient_penalty" in self.model_fields_set:
                raise ValueError("gradient_penalty does not go with the hinge loss, which has none; leave it out")
            set_fields(self, gradient_penalty=0.0)
        return self


class Until(Frozen):
    """Ends a training at its plateau: after `patience` evaluations in a row without a new lowest value of a metric.

    It is evaluated every `EvaluationConfig.first_rung` steps, and ends at its budget at the latest.
    """

    metric: str = "fid"
    """A metric that is measured at every evaluation and of which lower is better, e.g. kid or fid_raw."""
    patience: PositiveInt = 3
    """Evaluations in a row without a lower value, after which the training ends."""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        if name not in stopping_metrics():
            raise unknown_name("metric to end by", name, stopping_metrics())
        return name


def steps_of(images: int, training: TrainingConfig) -> int:
    """Return the generator steps in which the critic sees `images` real images, rounded up."""
    return -(-images // (training.batch * training.critic_steps))


def check_together(gan: GanConfig, training: TrainingConfig) -> None:
    """Raise ValueError if the settings of the networks and of their training are incompatible."""
    if gan.family == "dcgan" and training.gradient_penalty:
        raise ValueError(
            "gan.family dcgan has batch norm in its critic, which mixes images, and a gradient penalty is taken per image; "
            "set training.loss to hinge, or to non-saturating with training.gradient_penalty 0"
        )
    if training.crop >= gan.resolution:
        raise ValueError(f"training.crop {training.crop} must be less than gan.resolution {gan.resolution}")


class EvaluationConfig(Frozen):
    """The embedding, the number of samples and the rungs of the evaluation."""

    embedding: str = "builtin"
    samples: Annotated[int, Field(strict=True, ge=64)] = 1000
    """Generated images behind every metric."""
    first_rung: PositiveInt = 50
    """The first rung, in generator steps."""
    rung_factor: Annotated[float, Field(ge=1.1)] = 2.0
    """Each rung is this many times the one before, up to the budget."""
    iw_steps: Annotated[int, Field(strict=True, ge=0)] = 0
    """Steps of the independent critic that estimates the Wasserstein distance at the last rung; 0 for none."""
    raw: StrictBool = False
    """Whether FID and KID are also measured of the generator without its moving average, as `fid_raw` and `kid_raw`."""
    selection: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the reference images by which is chosen: which trials stop, where `until` ends a training, which settings a
    search takes and which rung is the best. FID and KID on them are `fid_selection` and `kid_selection`; all other metrics are
    then of the rest of the reference images, so that no choice has seen these. 0: the same images serve both."""

    @cached_property
    def identity(self) -> str:
        """The part of a trial's key, as canonical JSON: it has the embedding's identity, not the path of its file."""
        return as_json({**self.model_dump(mode="json"), "embedding": embedding_identity(self.embedding)})

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

    def evenly(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which a training of `steps` steps with `Until` is evaluated, ascending; the last is `steps`.

        >>> EvaluationConfig(first_rung=50).evenly(120)
        (50, 100, 120)
        """
        return (*range(self.first_rung, steps, self.first_rung), steps)
