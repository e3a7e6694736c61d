"""What a source's networks make of a target: projection, the critic's response and a probe, against plain computations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.test_strategies import PIXELS, shape, source, training
from trainers.common.seeds import derive_seed
from trainers.config.strategies import get_strategy
from trainers.core.gan import Gan
from trainers.core.sampling import fixed_statistics, latents, sample
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.evaluation.references import Reference
from trainers.networks import layers
from trainers.trial import responses
from trainers.trial.run import start


@pytest.mark.slow
def test_images_that_the_generator_draws_are_nearer_than_others_and_a_search_only_comes_nearer():
    generator, critic = responses.source_networks(source("resnet"))
    assert {name: tensor.tolist() for name, tensor in critic.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in source("resnet").network("critic").items()
    }
    z = latents(8, 250, derive_seed("projection"))
    with torch.no_grad(), fixed_statistics(generator, z):
        drawn = generator.eval()(torch.cat([z[:4] + 0.02, torch.randn(6, 8)]), None)
    own = drawn.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    before, after = (responses.projection_error(generator, 8, own, steps) for steps in (0, 40))
    assert after.value < 0.7 * before.value
    assert after == responses.projection_error(generator, 8, own, 40), "the same at every call"
    others = responses.projection_error(generator, 8, PIXELS[:10], 40)
    assert after.value + after.standard_error < others.value - others.standard_error
    with torch.no_grad(), fixed_statistics(generator, z):
        random = generator.eval()(z, None).double().numpy()
    pixels = own.transpose(0, 3, 1, 2) / 127.5 - 1
    nearest = [min(float(np.sqrt(((one - image) ** 2).mean())) for one in random) for image in pixels]
    assert before.value == pytest.approx(np.mean(nearest), rel=1e-5)
    assert before.standard_error == pytest.approx(np.std(nearest, ddof=1) / 10**0.5, rel=1e-4)


class Brightness(layers.Critic):
    """Scores an image by its mean value, on an arbitrary scale."""

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        return 7 * images.mean((1, 2, 3)) - 40, None


def test_the_critics_response_counts_standard_deviations_whatever_the_scale_of_the_scores():
    rng = np.random.default_rng(0)
    own, others = (np.repeat(rng.normal(at, 10, (300, 1, 1, 1)), 3, 3).repeat(4, 1).repeat(4, 2) for at in (120, 100))
    own, others = (images.clip(0, 255).round().astype(np.uint8) for images in (own, others))
    levels, other_levels = own[:, 0, 0, 0].astype(float), others[:, 0, 0, 0].astype(float)
    expected = 2 ** ((levels.mean() - other_levels.mean()) / levels.std(ddof=1))
    found = responses.critic_response(Brightness(), own, others)
    assert found.value == pytest.approx(expected, rel=1e-4)
    repeats = [
        2 ** ((a.mean() - b.mean()) / levels.std(ddof=1))
        for a, b in ((rng.choice(levels, 300), rng.choice(other_levels, 300)) for _ in range(2000))
    ]
    assert found.standard_error == pytest.approx(np.std(repeats), rel=0.1)
    assert responses.critic_response(Brightness(), own, own).value == pytest.approx(1)


@pytest.mark.slow
def test_a_probe_is_the_fid_of_twenty_steps_of_fine_tuning_over_that_from_scratch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(responses, "PROBE_STEPS", 2)
    embedding = load_embedding("builtin")
    real = embedding(PIXELS)
    found = responses.probe(
        source("dcgan"), training("dcgan"), PIXELS, None, (), Reference(real, None, statistics(real)), embedding, 64
    )
    values = []
    for name in ("finetune", "scratch"):
        gan = Gan(shape("dcgan"), training("dcgan"), classes=0, seed=responses.PROBE_SEED)
        start(gan, get_strategy(name), source("dcgan"), ())
        gan.train(PIXELS, None, 2)
        values.append(fid(statistics(real), statistics(embedding(sample(gan.evaluated, 8, 64, 0)))))
    assert found.value == pytest.approx(values[0] / values[1], rel=1e-9)
    assert found.standard_error > 0
