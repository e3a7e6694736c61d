"""Cross-domain correspondence (Ojha et al. 2021)."""

from dataclasses import dataclass

from trainers.common.errors import UserError
from trainers.config.options import option
from trainers.config.settings import TrainingConfig
from trainers.config.strategy import Correspondence, Strategy


@dataclass(frozen=True, kw_only=True)
class CDC(Strategy):
    """Similarities between generated images stay those of the source, and most are judged by patches (CDC, Ojha et al. 2021).

    For each generated image, the cosine similarities of its features with those of three others, after a softmax, are held near
    those in the source. The critic judges a quarter of each minibatch as a whole, with latents near fixed anchors, and of the
    other images patches, from its features half-way. The paper has one anchor for each of its 10 training images.
    """

    key = "cdc"
    formula = "generator's loss + weight * mean of p log(p / q); p, q: softmax of cosine similarities of features in Gs, in G"
    weight: float = option(1000.0, "weight of the divergence from the source's similarities", low=0, search=(100.0, 10_000.0))
    anchors: int = option(10, "latents near which images are judged as a whole", low=1, search=[5, 10, 20])

    @property
    def correspondence(self) -> Correspondence:
        """The options `weight` and `anchors`."""
        return Correspondence(self.weight, self.anchors)

    def check_loss(self, training: TrainingConfig) -> None:
        """Refuse a batch in which no two images are compared."""
        super().check_loss(training)
        if training.batch < 3:
            raise UserError(f"strategy {self.name!r} compares images of a batch; set training.batch to at least 3, better 16")
