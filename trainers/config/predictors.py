"""Predictors of transfer beyond the distance of images: what a source's networks make of a target. Needs no torch.

The functions that compute them are in `trainers.trial.responses`. Of each, lower is nearer, and values are above 0.
"""

from dataclasses import dataclass
from typing import Literal

PredictorName = Literal["projection", "critic", "probe"]


@dataclass(frozen=True)
class Predictor:
    """A predictor: its name in the store and in sweep files, its label in the report, and what it is."""

    name: PredictorName
    label: str
    about: str


PREDICTORS: dict[str, Predictor] = {
    predictor.name: predictor
    for predictor in (
        Predictor(
            "projection",
            "error of projecting the target",
            "root mean squared difference of the target's images from the nearest images that the source's generator can draw, "
            "after a short search of the latents",
        ),
        Predictor(
            "critic",
            "source critic's response",
            "2 to the power of how far the source's critic scores the target's images below its own training images, in "
            "standard deviations of these scores",
        ),
        Predictor(
            "probe",
            "20-step probe",
            "FID of the target after 20 steps of fine-tuning from the source over that after 20 steps from scratch",
        ),
    )
}
