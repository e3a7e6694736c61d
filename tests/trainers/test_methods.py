"""The methods of the 2020s: each compared with its definition in float64, and what it copies, freezes, trains and stores."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import methods
from tests.trainers.test_strategies import PIXELS, begun, scored, shape, training, trial
from trainers.adaptation import correspondence
from trainers.adaptation.filter_modulation import FilterModulation
from trainers.adaptation.fisher import fisher
from trainers.adaptation.kernel_modulation import KernelModulation, keep_important, modulations
from trainers.adaptation.lecam import LeCam
from trainers.config.augmentations import get_augmentation
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.config.strategies import get_strategy
from trainers.config.strategy import Strategy
from trainers.config.trial import DomainRef
from trainers.core.gan import Gan
from trainers.core.losses import critic_loss, generator_loss
from trainers.networks import make_critic, make_generator
from trainers.trial import checkpoints
from trainers.trial.run import start


def resumed(first: Gan, family: str, name: str, **changes: object) -> Gan:
    """Return a GAN of another seed that continues from a checkpoint of `first`."""
    data = checkpoints.save(first, trial(family, name), {}, {}, resumable=True)
    gan = Gan(shape(family), training(family, **changes), classes=0, seed=99)
    gan.follow(get_strategy(name))
    checkpoints.resume(gan, checkpoints.load(data, "here"))
    return gan


def same(whole: Gan, other: Gan) -> bool:
    """Return whether two GANs have the same bits."""
    pairs = [(network, other.networks[name]) for name, network in whole.networks.items()]
    states = [(ours.state_dict(), theirs.state_dict()) for ours, theirs in [*pairs, (whole.average, other.average)]]
    return all(torch.equal(tensor, theirs[key]) for ours, theirs in states for key, tensor in ours.items())


# -- LeCam regularisation -----------------------------------------------------------------------------------------------


def test_lecam_is_its_definition_and_its_gradient_takes_the_anchors_for_constants():
    torch.manual_seed(0)
    steps = [(torch.randn(5).double() + 1, torch.randn(7).double() * 3) for _ in range(6)]
    term = LeCam(0.3, torch.device("cpu"))
    term._sums = term._sums.double()
    expected = methods.lecam([(real.tolist(), fake.tolist()) for real, fake in steps])
    for (real, fake), value in zip(steps, expected, strict=True):
        scores = real.requires_grad_(), fake.requires_grad_()
        found = term(*scores)
        assert found.item() == pytest.approx(0.3 * value, rel=1e-12)
        slopes = torch.autograd.grad(found, scores)
        a_real, a_fake = term.means
        torch.testing.assert_close(slopes[0], 0.6 * (real - a_fake) / 5)
        torch.testing.assert_close(slopes[1], 0.6 * (fake - a_real) / 7)


def test_lecam_is_added_to_the_critics_loss():
    torch.manual_seed(0)
    critic, mix = make_critic(shape("resnet")).double(), torch.rand(4, 1, 1, 1).double()
    real, fake = (torch.rand(4, 3, 16, 16).double() * 2 - 1 for _ in range(2))
    config, term = training("resnet", loss="hinge"), LeCam(0.3, torch.device("cpu"))
    term._sums = term._sums.double()
    both = [critic_loss(config, critic, real, None, fake, mix, None, each).item() for each in (term, None)]
    value = methods.lecam([tuple(critic(images)[0].tolist() for images in (real, fake))])[0]
    assert both[0] - both[1] == pytest.approx(0.3 * value)


@pytest.mark.slow
def test_lecam_regularises_any_strategy_and_resumes_to_the_bit():
    name = "scratch[lecam=0.3]"
    whole, first, plain = (begun("sngan", each) for each in (name, name, "scratch"))
    for gan, until in ((whole, 6), (first, 3), (plain, 6)):
        gan.train(PIXELS, None, until)
    after = resumed(first, "sngan", name)
    after.train(PIXELS, None, 6)
    assert same(whole, after)
    assert not same(whole, plain)
    assert "lecam.sums" not in plain.adaptation.state()
    assert get_strategy("finetune[lecam=0]").name == "finetune"


def test_lecam_is_refused_beside_a_gradient_penalty_that_wants_slope_one():
    strategy: Strategy = get_strategy("finetune[lecam=0.3]")
    with pytest.raises(ValueError, match=r"'finetune\[lecam=0.3\]': lecam does not go with .* wgan-gp: .* set training"):
        trial("resnet", strategy.name)
    for config in (training("sngan"), training("resnet", gradient_penalty=0.0), training("resnet", loss="non-saturating")):
        strategy.check_loss(config)


# -- projection critic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "config"), [
    ("resnet", TrainingConfig()), ("sngan", TrainingConfig(loss="hinge")),
    ("resnet", TrainingConfig(loss="non-saturating", gradient_penalty=3.0)),
])  # fmt: skip
def test_a_projection_critic_scores_images_given_their_classes_and_does_not_classify(family: str, config: TrainingConfig):
    torch.manual_seed(0)
    gan = shape(family).model_copy(update={"class_head": "projection"})
    critic = make_critic(gan, 3).double().eval()
    assert critic.classify.bias is None
    real, fake = (torch.rand(4, 3, 16, 16).double() * 2 - 1 for _ in range(2))
    mix, labels = torch.rand(4, 1, 1, 1).double(), torch.tensor([2, 0, 1, 2])

    def score(images: Tensor) -> Tensor:
        return torch.stack([methods.projected(critic, image, int(label)) for image, label in zip(images, labels, strict=True)])

    def slopes(images: Tensor) -> Tensor:
        x = images.clone().requires_grad_()
        return torch.autograd.grad(score(x).sum(), x, create_graph=True)[0].flatten(1).norm(2, 1)

    on_real, on_fake = score(real), score(fake)
    if config.loss == "wgan-gp":
        penalty = (slopes(mix * fake + (1 - mix) * real) - 1).square().mean()
        expected = on_fake.mean() - on_real.mean() + 10 * penalty, -on_fake.mean()
    elif config.loss == "hinge":
        expected = (1 - on_real).clamp(min=0).mean() + (1 + on_fake).clamp(min=0).mean(), -on_fake.mean()
    else:
        ours = -on_real.sigmoid().log().mean() - (1 - on_fake.sigmoid()).log().mean()
        expected = ours + 1.5 * slopes(real).square().mean(), -on_fake.sigmoid().log().mean()
    found = critic_loss(config, critic, real, labels, fake, mix), generator_loss(config, critic, fake, labels)
    names, tensors = zip(*critic.named_parameters(), strict=True)
    for loss, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(loss, plain, rtol=1e-9, atol=1e-11)
        pair = (torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True) for value in (loss, plain))
        for name, a, b in zip(names, *pair, strict=True):
            if a is not None or b is not None:
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10, msg=name)


@pytest.mark.slow
def test_the_vectors_of_a_projection_are_mapped_by_class_and_no_key_changes_without_one():
    gan = shape("sngan").model_copy(update={"class_head": "projection"})
    assert "class_head" not in shape("sngan").canonical_json()
    assert shape("sngan").canonical_json() != gan.canonical_json()
    assert GanConfig.model_validate_json(gan.canonical_json()) == gan
    domain = DomainRef(name="toy", fingerprint="toy/1", classes=("a", "b"))
    written = trial("sngan", None).model_copy(update={"gan": gan, "conditional": True, "domain": domain})
    first = Gan(gan, training("sngan"), classes=2, seed=3)
    source = checkpoints.load(checkpoints.save(first, written, {}, {}, resumable=False), "source")
    second = Gan(gan, training("sngan"), classes=3, seed=7)
    start(second, get_strategy("ewc"), source, ("b", "x", "a"))
    ours, theirs = (each.critic.state_dict()["classify.parametrizations.weight.original"].clone() for each in (second, first))
    torch.testing.assert_close(ours, torch.stack([theirs[1], theirs.mean(0), theirs[0]]))
    second.train(PIXELS, np.arange(12) % 3, 1)
    moved = second.critic.state_dict()["classify.parametrizations.weight.original"]
    assert not torch.equal(moved, ours)


# -- AdaFM --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["resnet", "dcgan"])
def test_adafm_scales_and_shifts_each_frozen_kernel_of_the_generator(family: str):
    gan = begun(family, "adafm")
    modulated = {name: module for name, module in gan.generator.named_modules() if isinstance(module, FilterModulation)}
    kept = [name.removesuffix(".parametrizations.weight.0") for name in modulated]
    expected = {"resnet": ["blocks.1.conv1", "blocks.1.conv2", "blocks.1.shortcut", "output"], "dcgan": ["ups.0", "ups.1"]}
    assert kept == expected[family]
    assert not any(isinstance(module, FilterModulation) for module in gan.critic.modules())
    torch.manual_seed(0)
    for module in (module.double() for module in modulated.values()):
        weight = torch.randn(*module.adafm_scale.shape[:2], 3, 3).double().requires_grad_()
        module.adafm_scale.data.normal_()
        module.adafm_shift.data.normal_()
        arguments = weight, module.adafm_scale, module.adafm_shift
        plain = methods.filter_modulated(weight, *(each[:, :, 0, 0] for each in arguments[1:]))
        torch.testing.assert_close(module(weight), plain, rtol=1e-12, atol=1e-12)
        towards = torch.randn_like(weight)
        pairs = (torch.autograd.grad((value * towards).sum(), arguments) for value in (module(weight), plain))
        for ours, theirs in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


# -- CDC ----------------------------------------------------------------------------------------------------------------


def test_cdcs_inconsistency_is_its_definition():
    torch.manual_seed(0)
    ours, theirs = ([torch.randn(8, 3, size, size).double() for size in (2, 4)] for _ in range(2))
    for each in ours:
        each.requires_grad_()
    found, plain = correspondence.inconsistency(ours, theirs), methods.inconsistency(ours, theirs)
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-14)
    pairs = (torch.autograd.grad(value, ours) for value in (found, plain))
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-14)
    assert correspondence.inconsistency(theirs, theirs).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("family", ["resnet", "dcgan"])
def test_cdc_holds_the_features_of_every_block_near_the_sources_except_near_anchors(family: str):
    gan = begun(family, "cdc[anchors=3]", batch=10)
    held = gan.adaptation.correspondence
    source = copy.deepcopy(gan.generator).double()
    torch.manual_seed(0)
    for parameter in gan.generator.double().parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    held._source.double()
    z = torch.randn(10, 8).double()
    moved = held.latents(z, gan.random)
    nearest = torch.cdist(moved[:2].float(), held.anchors).min(1).values
    assert bool((nearest < 1).all())
    assert torch.equal(moved[2:], z[2:]), "a fifth of ten, rounded, is near anchors"
    images, found = held.generate(gan.generator, moved, None)
    blocks = {"resnet": ("blocks.0", "blocks.1"), "dcgan": ("norms.0",)}[family]
    features: dict[str, list[Tensor]] = {"ours": [], "theirs": []}
    for name, network in (("ours", gan.generator), ("theirs", source)):
        for block in blocks:
            network.get_submodule(block).register_forward_hook(
                lambda _, __, output, name=name: features[name].append(output[2:])
            )
        drawn = network(moved, None)
        if name == "ours":
            torch.testing.assert_close(images, drawn)
    plain = methods.inconsistency(features["ours"], features["theirs"])
    torch.testing.assert_close(found, 1000 * plain, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("family", "config"), [
    ("resnet", TrainingConfig()), ("sngan", TrainingConfig(loss="hinge")), ("dcgan", TrainingConfig(loss="hinge")),
    ("resnet", TrainingConfig(loss="non-saturating", gradient_penalty=3.0)),
])  # fmt: skip
def test_a_relaxed_critic_judges_the_first_quarter_whole_and_patches_of_the_others(family: str, config: TrainingConfig):
    torch.manual_seed(0)
    critic = make_critic(shape(family)).double().eval()
    correspondence.add_patch_head(critic, shape(family))
    critic.eval()
    relaxed = correspondence.RelaxedCritic(critic, shape(family), 5)
    real, fake = (torch.rand(5, 3, 16, 16).double() * 2 - 1 for _ in range(2))
    mix = torch.rand(5, 1, 1, 1).double()
    features: list[Tensor] = []
    layer, side = {"resnet": ("blocks.0", 8), "sngan": ("blocks.0", 4), "dcgan": ("input", 8)}[family]
    critic.get_submodule(layer).register_forward_hook(lambda _, __, output: features.append(output))

    def judged(images: Tensor) -> list[Tensor]:
        """Return the score of the first image, and the scores of the patches of each other one."""
        scores = critic(images)[0]
        patches = critic.patch(features.pop())
        assert patches.shape[1:] == (1, side, side)
        return [scores[:1], *(patch.flatten() for patch in patches[1:])]

    def mean(parts: list[Tensor]) -> Tensor:
        return torch.stack([part.mean() for part in parts]).mean()

    def slopes(images: Tensor) -> Tensor:
        x = images.clone().requires_grad_()
        total = sum(part.mean() for part in judged(x))
        return torch.autograd.grad(total, x, create_graph=True)[0].flatten(1).norm(2, 1)

    on_real, on_fake = judged(real), judged(fake)
    if config.loss == "wgan-gp":
        plain = mean(on_fake) - mean(on_real) + 10 * (slopes(mix * fake + (1 - mix) * real) - 1).square().mean()
    elif config.loss == "hinge":
        plain = mean([(1 - part).clamp(min=0) for part in on_real]) + mean([(1 + part).clamp(min=0) for part in on_fake])
    else:
        plain = mean([-part.sigmoid().log() for part in on_real]) + mean([-(1 - part.sigmoid()).log() for part in on_fake])
        plain = plain + 1.5 * slopes(real).square().mean()
    found = critic_loss(config, relaxed, real, None, fake, mix)
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-11)
    tensors = list(critic.parameters())
    pairs = (torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True) for value in (found, plain))
    for a, b in zip(*pairs, strict=True):
        if a is not None or b is not None:
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


@pytest.mark.slow
def test_cdc_goes_with_adaptive_augmentation_a_projection_and_lecam():
    gan = GanConfig.model_validate({**shape("sngan").model_dump(), "class_head": "projection"})
    augmentation = get_augmentation("apa[images=10]")
    trained = Gan(gan, training("sngan"), classes=2, seed=7, augmentation=augmentation)
    trained.follow(get_strategy("cdc[lecam=0.3]"))
    trained.train(PIXELS, np.arange(12) % 2, 3, PIXELS[:3])
    assert trained.augment.state()["augmentation.gaps"].all()
    assert trained.adaptation.lecam.means.isfinite().all()
    with pytest.raises(ValueError, match=r"strategy 'cdc' compares images of a batch; set training.batch to at least 3"):
        get_strategy("cdc").check_loss(training("sngan", batch=2))


# -- AdAM ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_adam_multiplies_the_kept_kernels_by_a_matrix_of_rank_one_and_trains_the_others(transposed: bool):
    torch.manual_seed(0)
    weight = torch.randn(3, 4, 2, 2).double().requires_grad_()
    module = KernelModulation(weight, transposed=transposed).double()
    assert torch.equal(module(weight), weight), "at first nothing is changed"
    kept = [True, False, True, False][: len(module.kml_kept)]
    module.kml_kept.copy_(torch.tensor(kept))
    module.kml_rows.data.normal_()
    kernels = weight.transpose(0, 1) if transposed else weight
    plain = methods.kernel_modulated(kernels, module.kml_rows, module.kml_columns, kept)
    plain = plain.transpose(0, 1) if transposed else plain
    torch.testing.assert_close(module(weight), plain, rtol=1e-12, atol=1e-12)
    arguments, towards = (weight, module.kml_rows, module.kml_columns), torch.randn_like(weight)
    pairs = [torch.autograd.grad((value * towards).sum(), arguments) for value in (module(weight), plain)]
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    of_kernels = pairs[0][0].transpose(0, 1) if transposed else pairs[0][0]
    assert [bool((each == 0).all()) for each in of_kernels] == kept


def test_the_kernels_with_the_most_fisher_information_are_kept():
    network = begun("dcgan", "adam").generator
    random, found = torch.Generator().manual_seed(0), dict(modulations(network))
    fisher = {
        f"{name}.{key}": torch.rand(p.shape, generator=random)
        for name, each in found.items()
        for key, p in each.named_parameters()
    }
    for module in found.values():
        module.kml_rows.data.normal_()
    keep_important(network, fisher, 0.3, random)
    scores = [
        (float(row + fisher[f"{name}.kml_columns"].mean()), bool(kept), float(now))
        for name, each in found.items()
        for row, kept, now in zip(fisher[f"{name}.kml_rows"], each.kml_kept, each.kml_rows.detach(), strict=True)
    ]
    ranked = [kept for _, kept, _ in sorted(scores, reverse=True)]
    assert ranked == [i < round(0.3 * len(scores)) for i in range(len(scores))]
    assert not any(now for _, _, now in scores)


@pytest.mark.slow
def test_the_critics_fisher_information_is_that_of_its_own_loss_on_pairs():
    torch.manual_seed(0)
    generator, critic = make_generator(shape("resnet")).double(), make_critic(shape("resnet")).double()
    real = torch.rand(16, 3, 16, 16).double() * 2 - 1
    found = fisher(generator, critic, training("resnet"), 8, 0, None, real)
    features = next(scored(generator, critic))[1]
    inputs: list[Tensor] = []
    critic.score.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].detach()))
    critic(real)
    torch.testing.assert_close(found["critic.score.weight"][0], (features - inputs[0]).square().mean(0))
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.slow
def test_after_its_probe_adam_starts_again_from_the_source_with_the_important_kernels_modulated():
    name = "adam[share=0.25]"
    whole = begun("sngan", name)
    at_first = {key: value.clone() for key, value in whole.critic.state_dict().items()}
    whole.train(PIXELS, None, 2)
    probed = {key: module.kml_rows.clone() for key, module in modulations(whole.critic)}
    assert all(each.any() for each in probed.values())
    boundary = resumed(whole, "sngan", name)
    whole.train(PIXELS, None, 3)
    for network in whole.networks.values():
        kept = torch.cat([module.kml_kept for _, module in modulations(network)])
        assert kept.sum() == round(len(kept) / 2)
    for key, module in modulations(whole.critic):
        original = f"{key.removesuffix('.0')}.original"
        now, then, rows = whole.critic.state_dict()[original], at_first[original], module.kml_rows.detach()
        still = (now == then).flatten(1).all(1)
        assert torch.equal(still, module.kml_kept), "exactly the modulated kernels are frozen"
        assert torch.equal(rows != 0, module.kml_kept), "and only they are modulated, from zero on"
        assert float(rows.abs().max()) <= whole.config.critic_lr * 1.01, "one step since the new start"
    within = begun("sngan", name)
    within.train(PIXELS, None, 1)
    within = resumed(within, "sngan", name)
    for gan in (whole, boundary, within):
        gan.train(PIXELS, None, 6)
        assert same(whole, gan)
