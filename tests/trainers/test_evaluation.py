"""The built-in embedding: its features, the metrics of them, its training."""

import hashlib
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from trainers.common.errors import UserError
from trainers.config.embeddings import embedding_identity
from trainers.domains import Split, builtin_names, get
from trainers.evaluation.comparison import METRICS, Comparison
from trainers.evaluation.embeddings.builtin import Features, prepare
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.embeddings.train_builtin import SPOILS, spoil, standardise
from trainers.evaluation.metrics.fid import fid, statistics
from trainers.evaluation.metrics.kid import kid
from trainers.evaluation.references import Reference


@pytest.fixture(scope="module")
def builtin() -> Embedding:
    return load_embedding("builtin")


def images(name: str, split: Split = "reference", resolution: int = 16, count: int = 800) -> np.ndarray:
    return get(name).load(split, resolution).images[:count]


def test_the_identity_is_the_hash_of_weights_under_one_mebibyte(builtin: Embedding):
    weights = (files("trainers.evaluation.embeddings") / "builtin.safetensors").read_bytes()
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


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 37, 1000])
def test_no_metric_depends_on_the_batch_or_the_order(builtin: Embedding, monkeypatch: pytest.MonkeyPatch, batch: int):
    real, made = (images("digits", "reference", count=300), images("numerals", count=200))
    expected = Comparison(made_reference(builtin(real)), builtin(made), builtin(real[:50]))
    monkeypatch.setattr("trainers.evaluation.embeddings.builtin.Builtin.batch", batch)
    shuffled = np.random.default_rng(0).permutation(200)
    found = Comparison(made_reference(builtin(real[::-1])), builtin(made[shuffled]), builtin(real[:50]))
    for name, metric in METRICS.items():
        if name != "fid_infinity":  # of parts of a seeded shuffle
            assert metric(found).value == pytest.approx(metric(expected).value, rel=1e-5), name


def made_reference(features: np.ndarray) -> Reference:
    return Reference(features, None, statistics(features))


def test_images_of_any_size_are_seen_at_the_same_scale(builtin: Embedding):
    small, large, huge = (builtin(images("digits", resolution=resolution, count=100)) for resolution in (16, 32, 64))
    for other in (small, huge):
        nearest = np.linalg.norm(other[:, None] - large[None], axis=-1).argmin(1)
        assert (nearest == np.arange(100)).mean() > 0.9


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_standardised_features_have_mean_0_and_variance_1():
    torch.manual_seed(0)
    network, x = Features(), torch.rand(600, 3, 32, 32)
    standardise(network, x)
    with torch.no_grad():
        z = network(x)
    assert z.mean(0).abs().max() < 1e-3
    assert (z.std(0) - 1).abs().max() < 1e-3
