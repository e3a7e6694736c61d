"""Augmentation: the transforms and their gradients, leaks, ADA's probability, resuming, and the axis of a sweep."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import SweepSpec
from tests.support.endurance import pairs
from tests.trainers.test_strategies import FAMILIES, PIXELS, shape, training, trial
from tests.trainers.test_trial import config, rungs
from trainers.common.errors import UserError
from trainers.config.augmentations import AUGMENTATIONS, get_augmentation
from trainers.core.augmenter import HIGHEST, MEMORY, Augmenter
from trainers.core.gan import Gan
from trainers.core.transforms import TRANSFORMS
from trainers.trial import checkpoints
from trainers.trial.images import held_out_images, training_images

SIDE = 8

#: The augmentations that leave the images themselves unchanged, and those with a probability that adapts.
KEEPS, ADAPTIVE = ("none", "apa"), ("ada", "apa")


def augmenter(name: str, *, seed: int = 0) -> Augmenter:
    """Return an augmenter for 4 real images per critic step."""
    random = torch.Generator().manual_seed(seed)
    return Augmenter(get_augmentation(name), batch=4, random=random)


def drawing(seed: int) -> Callable[..., Tensor]:
    random = torch.Generator().manual_seed(seed)
    return lambda *size: torch.rand(*size, generator=random, dtype=torch.float64)


def plain(values: Tensor) -> Tensor:
    """Return images of one grey level each."""
    return values.view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE)


# -- transforms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transforms_gradient_agrees_with_finite_differences(name: Any):
    torch.manual_seed(0)
    x, weights = (torch.randn(6, 3, SIDE, SIDE, dtype=torch.float64) for _ in range(2))

    def value(images: Tensor) -> Tensor:
        return (TRANSFORMS[name](images, drawing(1)).sin() * weights).sum()

    (gradient,) = torch.autograd.grad(value(x.requires_grad_()), x)
    with torch.no_grad():
        for _ in range(5):
            direction = torch.randn_like(x)
            slope = (value(x + 1e-6 * direction) - value(x - 1e-6 * direction)) / 2e-6
            assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-6)


def test_translations_have_every_offset_and_fill_with_grey():
    image = torch.rand(1, 3, SIDE, SIDE).double() + 1
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    expected = {padded[0, :, y : y + SIDE, x : x + SIDE].numpy().tobytes() for y in range(3) for x in range(3)}
    translated = TRANSFORMS["translation"](image.expand(200, -1, -1, -1), drawing(0))
    assert {image.numpy().tobytes() for image in translated} == expected


def test_cutouts_are_half_a_side_wide_and_smaller_at_the_edges():
    cut = TRANSFORMS["cutout"](torch.ones(500, 3, SIDE, SIDE).double(), drawing(0))
    sides = set()
    for image in cut:
        rows, columns = np.nonzero((image[0] == 0).numpy())
        height, width = (int(np.ptp(index)) + 1 for index in (rows, columns))
        assert len(rows) == height * width
        sides |= {height, width}
    assert sides == {2, 3, 4}


def test_colour_changes_brightness_saturation_and_contrast_within_their_ranges():
    x = torch.randn(400, 3, SIDE, SIDE).double()
    coloured = TRANSFORMS["colour"](x, drawing(0))
    grey, grey_before = coloured.mean(1, keepdim=True), x.mean(1, keepdim=True)
    brighter = grey.mean((1, 2, 3)) - grey_before.mean((1, 2, 3))
    assert (float(brighter.min()), float(brighter.max())) == pytest.approx((-0.5, 0.5), abs=0.01)
    spread = grey.flatten(1).std(1) / grey_before.flatten(1).std(1)
    assert (float(spread.min()), float(spread.max())) == pytest.approx((0.5, 1.5), abs=0.01)
    vivid = (coloured - grey).flatten(1).std(1) / (x - grey_before).flatten(1).std(1) / spread
    assert (float(vivid.min()), float(vivid.max())) == pytest.approx((0, 2), abs=0.02)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_images_keep_their_shape_and_are_transformed_differently(name: str):
    augment = augmenter(name)
    x = torch.rand(1, 3, SIDE, SIDE).expand(64, -1, -1, -1)
    assert (augment(x) is x) == (name in KEEPS)
    augment.probability.fill_(0.5 if name in ADAPTIVE else 1.0)
    augmented = augment(x)
    assert augmented.shape == x.shape
    different = len({image.contiguous().numpy().tobytes() for image in augmented})
    assert different == {"none": 1, "apa": 1, "flip": 2}.get(name, different)
    assert name in (*KEEPS, "flip") or different > 30


def test_the_share_of_transformed_images_is_the_probability():
    augment = augmenter("ada")
    augment._transforms = [TRANSFORMS["colour"]]
    x = torch.rand(4000, 3, SIDE, SIDE)
    for p in (0.0, 0.3, HIGHEST):
        augment.probability.fill_(p)
        share = (augment(x) != x).flatten(1).any(1).double().mean()
        assert share.item() == pytest.approx(p, abs=0.03)


# -- leaks --------------------------------------------------------------------------------------------------------------

#: Factors of the mean of a plain image, at 8 pixels: offsets -1, 0, 1 keep 7, 8, 7 rows of 8; a square centred at 0 to 8 cuts
#: 2, 3, 4, 4, 4, 4, 4, 3, 2 rows; colours keep the mean.
SHRINKS = {"translation": (22 / 24) ** 2, "cutout": 1 - (30 / 9 / 8) ** 2}
MEAN_KEPT = {"none": 1.0, "apa": 1.0, "flip": 1.0, "diffaugment": SHRINKS["translation"] * SHRINKS["cutout"]}
MEAN_KEPT["ada"] = math.prod(1 - 0.7 + 0.7 * factor for factor in SHRINKS.values())


def settled(name: str, *, both: bool) -> float:
    """Return the trained parameter of a generator of plain images around it, for real images around 0.5.

    The critic is the optimal one of w times the mean, with w in [-1, 1]. The generator's parameter therefore moves along the
    sign of the difference between the means of the transformed images, with a decreasing step. With `both`, generated images
    are transformed too.
    """
    augment = augmenter(name)
    if name == "ada":
        augment.probability.fill_(0.7)
    random, parameter = torch.Generator().manual_seed(1), torch.zeros((), requires_grad=True)
    for step in range(40):
        real = augment(plain(0.5 + 0.2 * torch.randn(2000, generator=random)))
        fake = plain(parameter + 0.2 * torch.randn(2000, generator=random))
        fake = augment(fake) if both else fake
        w = (real.mean() - fake.mean()).sign().detach()
        (slope,) = torch.autograd.grad(-w * fake.mean(), parameter)
        parameter = (parameter - 0.1 * 0.9**step * slope.sign()).detach().requires_grad_()
    return parameter.item()


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_generator_learns_the_real_distribution_and_not_the_transformed_one(name: str):
    assert settled(name, both=True) == pytest.approx(0.5, abs=0.02)
    assert settled(name, both=False) == pytest.approx(0.5 * MEAN_KEPT[name], abs=0.02)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_transformed_distributions_are_equal_only_if_the_distributions_are(name: str):
    """The images have a white left half with probability q, otherwise a white right half, so the halves differ by 2q - 1.

    Mirroring with probability m makes that (1 - 2m)(2q - 1), which determines q unless m is 1/2, as for `flip`, which leaks by
    design; ADA's m is p / 2. Colours, translations and cutouts reduce the difference and keep its sign.
    """
    augment = augmenter(name)
    if name == "ada":
        augment.probability.fill_(0.5)

    def difference(q: float, seed: int) -> tuple[float, float]:
        """Return the mean difference of the halves of transformed images, and its standard error."""
        left = torch.rand(4000, generator=torch.Generator().manual_seed(100 + seed)) < q
        images = torch.full((4000, 3, SIDE, SIDE), -1.0)
        images[left, :, :, : SIDE // 2] = 1.0
        images[~left, :, :, SIDE // 2 :] = 1.0
        augmented = augment(images)
        left_mean, right_mean = (half.mean((1, 2, 3)) for half in (augmented[..., : SIDE // 2], augmented[..., SIDE // 2 :]))
        differences = (left_mean - right_mean).double()
        return differences.mean().item() / 2, differences.std().item() / 2 / 4000**0.5

    (real, error), (same, _), (other, _) = difference(0.8, 0), difference(0.8, 1), difference(0.5, 2)
    assert abs(real - same) < 6 * error
    assert (abs(real - other) < 6 * error) == (name == "flip")
    if name in KEEPS:
        assert real == pytest.approx(0.6, abs=0.05)
    if name == "ada":
        augment._transforms = [TRANSFORMS["flip"]]
        augment.probability.fill_(HIGHEST)
        assert difference(0.8, 0)[0] == pytest.approx((1 - HIGHEST) * 0.6, abs=0.05)


# -- ADA's probability --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held_out", "signal"), [(3.0, 0.0), (2.0, 0.25), (-1.0, 1.0), (-9.0, 1.0), (4.0, -0.25)])
@pytest.mark.parametrize(("zero", "scale"), [(0.0, 1.0), (100.0, 1.0), (0.0, 0.01)])
def test_the_signal_is_the_papers_whatever_the_zero_and_the_scale_of_the_scores(
    held_out: float, signal: float, zero: float, scale: float
):
    """Training images score 3 on average, generated ones -1; the signal is limited to [-1, 1]."""
    augment, random = augmenter("ada"), torch.Generator().manual_seed(0)
    for _ in range(300):
        noise = (torch.randn(500, generator=random, dtype=torch.float64) for _ in range(3))
        augment.update(*((scale * (n + mean) + zero).float() for n, mean in zip(noise, (3.0, held_out, -1.0), strict=True)))
    assert augment.signal.item() == pytest.approx(signal, abs=0.02)


def test_there_is_no_signal_while_generated_images_score_as_real_ones():
    augment = augmenter("ada")
    assert augment.signal.item() == 0
    augment.update(torch.zeros(4), torch.ones(4), torch.zeros(4))
    assert augment.signal.item() == 0
    augment.update(torch.zeros(4), -torch.ones(4), torch.ones(4))
    assert augment.signal.item() == 0


def test_the_probability_rises_to_its_limit_and_falls_again():
    augment, scores, probabilities = augmenter("ada[target=0.5,images=100]"), torch.ones(4), []
    overfitted, general = (scores, -scores, -scores), (scores, scores, -scores)
    for drawn in [general] * 6 + [overfitted] * 34 + [general] * 60:
        augment.update(*drawn)
        probabilities.append(augment.probability.item())
    shares = [
        (MEMORY**n - MEMORY ** (6 + n)) / (1 - MEMORY ** (6 + n)) for n in range(1, 35)
    ]  # of the mean, of the general ones
    rising = 6 + next(n for n, share in enumerate(shares) if share < 0.5)
    assert 10 < rising < 14
    assert probabilities[:rising] == [0] * rising
    assert probabilities[rising : rising + 25] == pytest.approx([min(HIGHEST, 0.04 * step) for step in range(1, 26)], abs=1e-6)
    assert probabilities[39] == pytest.approx(HIGHEST)
    assert probabilities[-1] == 0


@pytest.mark.parametrize("name", ["none", "flip", "diffaugment"])
def test_an_augmentation_that_is_not_adaptive_has_no_state(name: str):
    augment = augmenter(name)
    assert augment.probability.item() == 1
    assert augment.state() == {}
    assert get_augmentation(name).held_out(100) == 0


# -- APA's pseudo-real images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, HIGHEST])
def test_generated_images_take_the_place_of_real_ones_with_the_probability_and_do_not_count_as_real(p: float):
    augment = augmenter("apa")
    augment.probability.fill_(p)
    real, generated = plain(torch.arange(2000.0)), plain(-1 - torch.arange(2000.0))
    presented = augment.with_pseudo(real, generated)[:, 0, 0, 0]
    replaced = presented < 0
    assert replaced.double().mean().item() == pytest.approx(p, abs=0.03)
    assert torch.equal(torch.where(replaced, -1 - presented, presented), torch.arange(2000.0)), "each in its own row"
    scores = torch.where(replaced, -50.0, 3.0)
    for _ in range(300):
        augment.update(scores, torch.full((8,), 2.0), torch.full((8,), -1.0))
    assert augment.signal.item() == pytest.approx(0.25, abs=1e-4)


def test_a_minibatch_without_any_real_image_leaves_the_signal():
    augment = augmenter("apa")
    for p, score in ((0.0, 1.0), (1.0, 9.0)):
        augment.probability.fill_(p)
        augment.with_pseudo(torch.zeros(4, 3, SIDE, SIDE), torch.zeros(4, 3, SIDE, SIDE))
        augment.update(torch.full((4,), score), torch.zeros(4), -torch.ones(4))
        assert augment.state()["augmentation.gaps"].tolist() == pytest.approx([0.01, 0.02])


def test_the_critic_is_shown_generated_images_as_real_ones():
    gan = new_gan("resnet", "apa[images=1]")
    gan.augment.probability.fill_(1.0)
    shown: list[Tensor] = []
    gan.critic.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    black = np.zeros_like(PIXELS)
    gan._take_step_on(black, None, np.full_like(OTHERS, 255))
    presented = next(images for images in shown if len(images) == 2 * gan.config.batch)
    assert not bool((presented == -1).flatten(1).all(1).any())
    first, second = presented.chunk(2)
    assert not torch.equal(first, second), "the generated images presented as real are others than those presented as generated"


# -- in training --------------------------------------------------------------------------------------------------------


#: Images that are held out: fewer than a minibatch.
OTHERS = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def new_gan(family: str, name: str, seed: int = 7) -> Gan:
    return Gan(shape(family), training(family), classes=0, seed=seed, augmentation=get_augmentation(name))


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize(("family", "name"), pairs(FAMILIES, AUGMENTATIONS))
def test_resuming_gives_the_same_bits(family: str, name: str):
    whole, first, resumed = new_gan(family, name), new_gan(family, name), new_gan(family, name, 99)
    unaugmented = new_gan(family, "none")
    for gan, until in ((whole, 6), (unaugmented, 6), (first, 3)):
        gan.train(PIXELS, None, until, OTHERS)
    data = checkpoints.save(first, trial(family, None), {}, {}, resumable=True)
    checkpoints.resume(resumed, checkpoints.load(data, "here"))
    resumed.train(PIXELS, None, 6, OTHERS)
    assert torch.equal(whole.augment.signal, resumed.augment.signal)
    assert torch.equal(whole.augment.probability, resumed.augment.probability)
    for key, tensor in whole.critic.state_dict().items():
        assert torch.equal(tensor, resumed.critic.state_dict()[key]), key
    other = unaugmented.critic.state_dict()
    assert all(torch.equal(tensor, other[key]) for key, tensor in whole.critic.state_dict().items()) == (name == "none")
    if name in ADAPTIVE:
        assert whole.augment.state()["augmentation.gaps"].all()


class Bright(Augmenter):
    """Sets every pixel to 0.5, and records whether gradients pass through it."""

    with_gradient: list[bool]

    def __call__(self, images: Tensor) -> Tensor:
        self.with_gradient.append(images.requires_grad)
        return images * 0 + 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_critic_sees_only_transformed_images(family: str):
    gan = new_gan(family, "none")
    bright = Bright(get_augmentation("flip"), batch=1, random=gan.random)
    bright.with_gradient, gan.augment = [], bright
    levels: set[float] = set()
    gan.critic.register_forward_pre_hook(lambda _, inputs: levels.update(inputs[0].detach().unique().tolist()))
    gan.train(PIXELS, None, 1)
    assert levels == {0.5}
    assert bright.with_gradient == [False, False, True], "real and generated for the critic, generated for the generator"


def test_a_trial_measures_adas_signal_target_and_probability():
    results = rungs(config(augmentation="ada[target=0.3]"))
    for rung in results:
        values = {measurement.metric: measurement.value for measurement in rung.measurements}
        assert [name for name in values if name.startswith("ada_")] == ["ada_signal", "ada_target", "ada_probability"]
        assert values["ada_target"] == 0.3
        assert -1 <= values["ada_signal"] <= 1
        assert 0 <= values["ada_probability"] <= HIGHEST
    assert next(m for m in results[0].measurements if m.metric == "ada_probability").value == 0


def test_ada_holds_out_the_last_tenth_of_a_trials_images():
    for size, count in ((20, 4), (500, 50)):
        adaptive, plain = config(augmentation="ada", size=size), config(size=size)
        whole, others = training_images(plain).images, held_out_images(adaptive)
        assert others is not None
        assert len(others) == count
        np.testing.assert_array_equal(np.concatenate([training_images(adaptive).images, others]), whole)
        assert held_out_images(plain) is None


def test_held_out_images_are_scored_and_never_trained_on():
    """The critic sees the minibatch's real images at once with the generated ones, and the held-out images without gradient."""
    gan = new_gan("resnet", "ada")
    gan.augment._transforms = []
    seen: list[tuple[Tensor, bool]] = []
    gan.critic.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0].detach(), torch.is_grad_enabled())))
    black, white = np.zeros_like(PIXELS), np.full_like(OTHERS, 255)
    gan.train(black, None, 1, white)
    of_white = [with_gradient for images, with_gradient in seen if bool((images == 1).all())]
    assert of_white == [False] * gan.config.critic_steps
    assert not any(bool((images == 1).flatten(1).all(1).any()) for images, with_gradient in seen if with_gradient)
    assert gan.augment.state()["augmentation.gaps"].all()


# -- the axis -----------------------------------------------------------------------------------------------------------

SWEEP: dict[str, Any] = {
    "name": "small", "sources": ["letters"], "targets": ["digits"], "sizes": [20], "strategies": ["scratch", "finetune"],
}  # fmt: skip


def test_each_augmentation_has_separate_cells_and_the_sources_are_shared():
    without = make_plan(SweepSpec.model_validate(SWEEP))
    with_all = make_plan(SweepSpec.model_validate({**SWEEP, "augmentation": ["none", "diffaugment", "ada[target=0.7]"]}))
    assert len(with_all.of_kind("pretrain")) == 1
    assert len(with_all.of_kind("adapt")) == 6
    assert len(with_all.cells) == 3
    assert set(without.by_key) < set(with_all.by_key), "without augmentation trials keep their keys"
    assert {trial.augmentation for trial in with_all.of_kind("pretrain")} == {"none"}


def test_a_trial_without_augmentation_omits_the_field():
    plain_trial, augmented = config(), config(augmentation="flip")
    assert "augmentation" not in json.loads(plain_trial.canonical_json())
    assert json.loads(augmented.canonical_json())["augmentation"] == "flip"
    assert config(augmentation="ada[target=0.6]").key == config(augmentation="ada").key


@pytest.mark.parametrize(("text", "message"), [
    ("adda", "unknown augmentation 'adda'; did you mean ada"), ("flip[p=1]", "flip has no options; write flip"),
    ("ada[target=2]", "target must be a number, 0 to 1, got '2'"), ("ada[goal=1]", "unknown option 'goal'"),
])  # fmt: skip
def test_an_invalid_augmentation_is_refused(text: str, message: str):
    with pytest.raises(UserError) as refused:
        get_augmentation(text)
    assert message in str(refused.value)
