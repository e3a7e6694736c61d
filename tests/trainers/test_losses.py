"""Each loss and its gradients compared with a plain implementation in float64."""

import pytest
import torch

from trainers.config.settings import GanConfig, TrainingConfig
from trainers.core.losses import critic_loss, generator_loss
from trainers.networks import make_critic, make_generator

LOSSES = {
    "wgan-gp": TrainingConfig(),
    "hinge": TrainingConfig(loss="hinge"),
    "r1": TrainingConfig(loss="non-saturating", gradient_penalty=3.0),
    "non-saturating": TrainingConfig(loss="non-saturating", gradient_penalty=0.0),
}


def plain_losses(name: str, generator, critic, real, labels, z, mix) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of critic and generator by their definitions, with separate passes and image by image."""
    fake = generator(z, labels)
    (d_real, c_real), (d_fake, _), (d_drawn, c_drawn) = critic(real), critic(fake.detach()), critic(fake)

    def slopes(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.detach().requires_grad_(True)
        gradients = [torch.autograd.grad(critic(x[i : i + 1])[0].sum(), x, create_graph=True)[0][i] for i in range(len(x))]
        return [g.pow(2).sum() for g in gradients]

    if name == "wgan-gp":
        mixed = mix * fake.detach() + (1 - mix) * real
        d = d_fake.mean() - d_real.mean() + 10 * sum((s.sqrt() - 1) ** 2 for s in slopes(mixed)) / len(real)
        g = -d_drawn.mean()
    elif name == "hinge":
        d = sum(max(0, 1 - s) for s in d_real) / len(real) + sum(max(0, 1 + s) for s in d_fake) / len(real)
        g = -d_drawn.mean()
    else:
        d = -torch.log(torch.sigmoid(d_real)).mean() - torch.log(1 - torch.sigmoid(d_fake)).mean()
        g = -torch.log(torch.sigmoid(d_drawn)).mean()
        if name == "r1":
            d = d + 3.0 / 2 * sum(slopes(real)) / len(real)
    if labels is not None:
        rows = torch.arange(len(labels))
        d = d - torch.log_softmax(c_real, 1)[rows, labels].mean()
        g = g - torch.log_softmax(c_drawn, 1)[rows, labels].mean()
    return d, g


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), [
    *(("resnet", name) for name in LOSSES), *(("sngan", name) for name in LOSSES),
    ("dcgan", "hinge"), ("dcgan", "non-saturating"), ("style", "hinge"), ("style", "non-saturating"),
])  # fmt: skip
@pytest.mark.parametrize("classes", [0, 3])
def test_losses_and_gradients_agree_with_their_definitions(family: str, name: str, classes: int):
    torch.manual_seed(0)
    gan = GanConfig.model_validate({"family": family, "resolution": 16, "width": 4, "latent": 8})
    generator, critic = make_generator(gan, classes).double(), make_critic(gan, classes).double().eval()
    real, z, mix = torch.rand(5, 3, 16, 16).double() * 2 - 1, torch.randn(5, 8).double(), torch.rand(5, 1, 1, 1).double()
    labels = torch.tensor([0, 1, 2, 1, 0]) if classes else None
    fake = generator(z, labels)
    ours = (
        critic_loss(LOSSES[name], critic, real, labels, fake.detach(), mix),
        generator_loss(LOSSES[name], critic, fake, labels),
    )
    for loss, plain, network in zip(
        ours, plain_losses(name, generator, critic, real, labels, z, mix), (critic, generator), strict=True
    ):
        torch.testing.assert_close(loss, plain, rtol=1e-9, atol=1e-11)
        names, tensors = zip(*network.named_parameters(), strict=True)
        pairs = (torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True) for value in (loss, plain))
        for parameter, a, b in zip(names, *pairs, strict=True):
            if a is not None or b is not None:
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10, msg=parameter)
