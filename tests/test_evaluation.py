"""The metrics against closed forms, plain implementations and torch-fidelity; the built-in embedding."""

import hashlib
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image, ImageFilter

from trainers.domains import Split, builtin_names, get
from trainers.errors import UserError
from trainers.evaluation.builtin import Features, prepare
from trainers.evaluation.embeddings import Embedding, load_embedding
from trainers.evaluation.fid import Statistics, fid, statistics
from trainers.evaluation.kid import kid
from trainers.evaluation.names import embedding_identity
from trainers.evaluation.train_builtin import SPOILS, spoil, standardise

torch.set_num_threads(1)  # a network this small is slower on several


def normal(n: int, dimensions: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Return correlated features (n, dimensions) whose mean differs from 0 by `shift`."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, dimensions)) @ random.normal(size=(dimensions, dimensions)) + shift


# -- FID ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("means", "variances", "expected"), [
    (((0, 0), (0, 0)), ((1, 1), (1, 1)), 0),
    (((0, 0), (3, 4)), ((1, 1), (1, 1)), 25),
    (((0, 0), (0, 0)), ((1, 4), (9, 4)), 4),  # (1 - 3)^2
    (((1, 0), (0, 0)), ((4, 9), (1, 1)), 1 + 1 + 4),
    (((0, 0), (0, 0)), ((0, 0), (4, 9)), 4 + 9),
    (((0, 0), (0, 0)), ((4, 0), (0, 9)), 4 + 9),
])  # fmt: skip
def test_fid_of_gaussians_with_diagonal_covariances_is_known(means, variances, expected: float):
    a, b = (Statistics(np.array(m, float), np.diag(v).astype(float), 9) for m, v in zip(means, variances, strict=True))
    assert fid(a, b) == pytest.approx(expected, abs=1e-12)


def test_statistics_are_the_mean_and_the_unbiased_covariance_in_float64():
    features = normal(7, 3, 0, shift=1000.0).astype(np.float32)
    found = statistics(features)
    wide = features.astype(float)
    centred = wide - wide.sum(0) / 7
    np.testing.assert_allclose(found.mean, wide.sum(0) / 7, rtol=1e-14)
    np.testing.assert_allclose(found.covariance, centred.T @ centred / 6, rtol=1e-9)
    assert found.samples == 7
    assert found.covariance.dtype == np.float64
    assert statistics(features[:, :1]).covariance.shape == (1, 1)


@pytest.mark.parametrize("dimensions", [1, 5, 40])
def test_fid_equals_the_one_with_scipys_matrix_square_root(dimensions: int):
    a, b = statistics(normal(200, dimensions, 1)), statistics(normal(150, dimensions, 2, shift=0.3))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(10, 200), (10, 15), (2, 2)])
def test_fid_is_exact_for_singular_covariances(n: int, m: int):
    """With centred features X and Y, tr (A B)^(1/2) is the nuclear norm of X Y' / sqrt((n - 1) (m - 1))."""
    x, y = normal(n, 20, 1), normal(m, 20, 2)
    cross = (x - x.mean(0)) @ (y - y.mean(0)).T / np.sqrt((n - 1) * (m - 1))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    expected -= 2 * np.linalg.norm(cross, "nuc")
    assert fid(statistics(x), statistics(y)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [5, 300])
def test_fid_is_symmetric_and_nought_to_itself(n: int):
    a, b = statistics(normal(n, 30, 1)), statistics(normal(n, 30, 2))
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-7)
    assert fid(a, b) > 1
    assert 0 <= fid(a, a) < 1e-6 * np.trace(a.covariance)


def test_fid_equals_torch_fidelitys():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = normal(300, 24, 1), normal(250, 24, 2, shift=0.5)
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(torch.from_numpy(each)) for each in (x, y)), verbose=False)
    assert fid(statistics(x), statistics(y)) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)


# -- KID ----------------------------------------------------------------------------------------------------------------


def plain_kid(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased MMD^2 pair by pair, as the definition has it."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(z: np.ndarray) -> float:
        return sum(kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("n", "m", "dimensions"), [(20, 20, 1), (25, 31, 3), (43, 20, 2), (4, 5, 3), (7, 30, 2)])
def test_kid_equals_a_plain_implementation(n: int, m: int, dimensions: int):
    x, y = normal(n, dimensions, 1), normal(m, dimensions, 2, shift=0.5)
    found = kid(x, y)
    assert found.value == pytest.approx(plain_kid(x, y), rel=1e-9)
    assert 0 < found.standard_error < np.inf


def test_kid_equals_torch_fidelitys_when_its_subset_is_the_whole_set():
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    x, y = normal(60, 8, 1), normal(60, 8, 2, shift=0.5)
    theirs = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=60, verbose=False)
    assert kid(x, y).value == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-9)


def test_kids_standard_error_is_the_plain_jackknifes():
    """With 20 features on either side a block is a pair: over many pairings, as leaving out each of ten pairs in turn."""
    x, y = np.arange(20.0)[:, None] / 20, np.arange(20.0)[:, None] / 10
    order = np.random.default_rng(0)
    found = [kid(order.permutation(x), order.permutation(y)).standard_error for _ in range(30)]
    paired = []
    for _ in range(30):
        a, b = order.permutation(x), order.permutation(y)
        left = [
            kid(np.delete(a, slice(2 * i, 2 * i + 2), 0), np.delete(b, slice(2 * i, 2 * i + 2), 0)).value for i in range(10)
        ]
        paired.append(np.sqrt(0.9 * np.square(left - np.mean(left)).sum()))
    assert np.mean(found) == pytest.approx(np.mean(paired), rel=0.15)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_kids_standard_error_is_that_of_repeated_draws(shift: float):
    random = np.random.default_rng(0)
    drawn = [kid(random.normal(size=(200, 8)), random.normal(shift, 1, (150, 8))) for _ in range(200)]
    scatter = np.std([each.value for each in drawn])
    told = np.median([each.standard_error for each in drawn])
    assert scatter / 2 < told < scatter * 2


def test_kid_of_equal_distributions_is_nought_on_average_and_below_at_times():
    random = np.random.default_rng(0)
    drawn = [kid(random.normal(size=(50, 4)), random.normal(size=(50, 4))).value for _ in range(200)]
    assert min(drawn) < 0
    assert abs(np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(200)


def test_kid_depends_on_neither_order_nor_precision():
    x, y = normal(50, 4, 1).astype(np.float32), normal(40, 4, 2).astype(np.float32)
    value = kid(x, y).value
    assert kid(x[::-1], y[::-1]).value == pytest.approx(value, rel=1e-9)
    assert kid(y, x).value == pytest.approx(value, rel=1e-9)
    assert kid(x.astype(float), y.astype(float)) == kid(x, y)


# -- the built-in embedding ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def builtin() -> Embedding:
    return load_embedding("builtin")


def images(name: str, split: Split = "reference", resolution: int = 16, count: int = 800) -> np.ndarray:
    return get(name).load(split, resolution).images[:count]


def test_the_identity_is_the_hash_of_weights_under_one_mebibyte(builtin: Embedding):
    weights = (files("trainers.evaluation") / "builtin.safetensors").read_bytes()
    assert len(weights) < 2**20
    assert builtin.identity == embedding_identity("builtin") == f"builtin:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert load_embedding("builtin") is builtin


def test_the_built_in_embedding_says_what_it_is(builtin: Embedding):
    assert builtin.identity == embedding_identity("builtin")
    assert builtin.licence == "Apache-2.0"
    features = builtin(images("digits", count=3))
    assert features.shape == (3, 64)
    assert features.dtype == np.float32


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
def test_features_do_not_depend_on_the_batch_or_on_the_neighbours(builtin: Embedding, resolution: int):
    some = images("shapes", resolution=resolution, count=270)  # more than one batch
    together = builtin(some)
    assert together.shape == (270, 64)
    assert together.dtype == np.float32
    chosen = [0, 1, 249, 250, 269]
    alone = np.concatenate([builtin(some[i : i + 1]) for i in chosen])
    np.testing.assert_allclose(alone, together[chosen], atol=1e-5, rtol=0)
    np.testing.assert_allclose(builtin(some[::-1].copy())[::-1], together, atol=1e-5, rtol=0)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_images_of_any_size_are_seen_at_the_same_scale(builtin: Embedding):
    small, large, huge = (builtin(images("digits", resolution=resolution, count=100)) for resolution in (16, 32, 64))
    for other in (small, huge):
        nearest = np.linalg.norm(other[:, None] - large[None], axis=-1).argmin(1)
        assert (nearest == np.arange(100)).mean() > 0.9


def test_fid_grows_with_noise_and_with_blur(builtin: Embedding):
    clean = images("digits", "train", 32, 500)
    reference = statistics(builtin(images("digits", "reference", 32)))
    random = np.random.default_rng(0).normal(size=clean.shape)

    def noisy(level: float) -> np.ndarray:
        return (clean + level * random).round().clip(0, 255).astype(np.uint8)

    def blurred(radius: float) -> np.ndarray:
        smear = ImageFilter.GaussianBlur(radius)
        return np.stack([np.asarray(Image.fromarray(image).filter(smear)) for image in clean])

    for spoilt in (noisy, blurred):
        levels = (0, 8, 32, 96) if spoilt is noisy else (0, 1, 2, 4)
        distances = [fid(reference, statistics(builtin(spoilt(level)))) for level in levels]
        assert all(later > 2 * earlier for earlier, later in pairwise(distances)), (spoilt, distances)


@pytest.fixture(scope="module")
def features(builtin: Embedding) -> dict[tuple[str, Split], np.ndarray]:
    splits: tuple[Split, ...] = ("train", "reference")
    return {(name, split): builtin(images(name, split)) for name in builtin_names() for split in splits}


@pytest.mark.parametrize("name", builtin_names())
def test_a_domain_is_far_nearer_to_itself_than_to_any_other(name: str, features: dict[tuple[str, Split], np.ndarray]):
    train = features[name, "train"]
    for distance in (lambda a, b: fid(statistics(a), statistics(b)), lambda a, b: kid(a, b).value):
        others = [distance(train, features[other, "reference"]) for other in builtin_names() if other != name]
        assert 20 * abs(distance(train, features[name, "reference"])) < min(others)


def test_features_are_about_standardised_over_the_built_in_domains(features: dict[tuple[str, Split], np.ndarray]):
    union = np.concatenate([features[name, "train"] for name in builtin_names()])
    assert np.abs(union.mean(0)).max() < 0.6
    assert 0.5 < union.std(0).min() <= union.std(0).max() < 1.5


@pytest.mark.parametrize(("wrong", "hint"), [("buildin", "did you mean builtin?"), ("zzz", "Known: builtin")])
def test_an_unknown_embedding_names_the_nearest(wrong: str, hint: str):
    for function in (load_embedding, embedding_identity):
        with pytest.raises(UserError, match="unknown embedding") as error:
            function(wrong)
        assert hint in str(error.value)


# -- its training -------------------------------------------------------------------------------------------------------


def test_images_are_spoilt_in_every_way_or_left_alone():
    x = prepare(torch.tensor(images("letters", resolution=32, count=200)))
    spoilt, way = spoil(x, torch.Generator().manual_seed(0))
    assert set(way.tolist()) == set(range(len(SPOILS)))
    assert spoilt.abs().max() <= 1
    changed = (spoilt - x).abs().flatten(1).amax(1) > 0
    assert not changed[way == SPOILS.index("none")].any()
    assert changed[(way == SPOILS.index("noise")) | (way == SPOILS.index("blur"))].all()
    roughness = spoilt.diff(dim=3).abs().mean((1, 2, 3)) - x.diff(dim=3).abs().mean((1, 2, 3))
    assert (roughness[way == SPOILS.index("noise")] > 0).all()
    assert (roughness[way == SPOILS.index("blur")] < 0).all()


def test_standardised_features_have_mean_0_and_variance_1():
    torch.manual_seed(0)
    network, x = Features(), torch.rand(600, 3, 32, 32)
    standardise(network, x)
    with torch.no_grad():
        z = network(x)
    assert z.mean(0).abs().max() < 1e-3
    assert (z.std(0) - 1).abs().max() < 1e-3
