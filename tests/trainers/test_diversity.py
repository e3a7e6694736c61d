"""Diversity, spread and spacing against all pairs, closed forms, scikit-learn and repeated draws."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tests.support.features import ill_conditioned, inception_like, normal
from trainers.evaluation.metrics.diversity import diversity, intra_diversity, spacing, spread
from trainers.evaluation.metrics.estimate import Estimate


@pytest.mark.parametrize("features", [
    normal(40, 6, 1),
    normal(2, 6, 1),
    normal(20, 100, 1) + 1e4,
    ill_conditioned(40, 10, 1),
    inception_like(30, 1),
], ids=["normal", "two", "N<D", "ill-conditioned", "inception"])  # fmt: skip
def test_spread_is_the_root_mean_squared_distance_between_two(features: np.ndarray):
    i, j = np.triu_indices(len(features), 1)
    squares = np.square(features[i].astype(float) - features[j]).sum(1)
    assert spread(features).value == pytest.approx(np.sqrt(squares.mean()), rel=1e-9)
    assert spread(features[::-1]).value == pytest.approx(spread(features).value, rel=1e-9)


def test_diversity_is_1_for_equal_sets_0_for_a_collapsed_one_and_follows_the_scale():
    x = normal(50, 6, 1)
    assert diversity(x, x[::-1]).value == pytest.approx(1, rel=1e-12)
    assert diversity(x, 3 + x / 4).value == pytest.approx(1 / 4, rel=1e-12)
    assert diversity(x, np.full((9, 6), 0.1)) == Estimate(0, 0)
    modes = np.repeat(x[:2], 30, 0)
    assert diversity(x, modes).value == pytest.approx(spread(modes).value / spread(x).value)


@pytest.mark.parametrize(("n", "m", "scale"), [(100, 150, 1.0), (60, 200, 0.3)])
def test_the_standard_errors_are_those_of_repeated_draws(n: int, m: int, scale: float):
    random = np.random.default_rng(0)
    x = [random.normal(size=(n, 4)) for _ in range(400)]
    y = [random.normal(0, scale, (m, 4)) for _ in range(400)]
    for drawn in ([diversity(*pair) for pair in zip(x, y, strict=True)], [spread(each) for each in x]):
        scatter = np.std([each.value for each in drawn])
        assert np.mean([each.standard_error for each in drawn]) == pytest.approx(scatter, rel=0.15)


@pytest.mark.parametrize("features", [
    normal(60, 6, 1),
    normal(20, 100, 1) + 1e4,
    ill_conditioned(60, 10, 1),
    normal(1350, 3, 1),
], ids=["normal", "N<D", "ill-conditioned", "tiles"])  # fmt: skip
@pytest.mark.parametrize("k", [1, 5])
def test_spacing_is_scikit_learns_distance_to_the_kth_neighbour_over_the_spread(features: np.ndarray, k: int):
    distances = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features - features.mean(0)).kneighbors()[0][:, -1]
    assert spacing(features, k).value == pytest.approx(distances.mean() / spread(features).value, rel=1e-9)
    assert spacing(7 * features[::-1], k).value == pytest.approx(spacing(features, k).value, rel=1e-9)


def test_spacing_is_smaller_for_denser_sets_and_zero_for_copies():
    random = np.random.default_rng(0)
    modes = random.normal(size=(10, 6))
    clustered = np.repeat(modes, 20, 0) + 0.1 * random.normal(size=(200, 6))
    assert spacing(clustered).value < 0.2 * spacing(random.normal(size=(200, 6))).value
    assert spacing(np.repeat(modes, 6, 0)) == Estimate(0, 0)
    assert spacing(np.repeat(modes, 5, 0)).value > 0.1


def test_spacings_standard_error_is_about_that_of_repeated_draws():
    random = np.random.default_rng(0)
    drawn = [spacing(random.normal(size=(100, 3))) for _ in range(300)]
    scatter = np.std([each.value for each in drawn])
    assert scatter / 2 < np.mean([each.standard_error for each in drawn]) < scatter * 2


def test_intra_diversity_is_the_mean_distance_between_images_of_a_cluster():
    train, real, made = normal(5, 6, 1), 1e4 + normal(40, 6, 2), normal(90, 6, 3)
    made += 0.3 * train[np.arange(90) % 5]
    nearest = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(made)[1][:, 0]
    spreads = []
    for cluster in (made[nearest == i] for i in range(5)):
        i, j = np.triu_indices(len(cluster), 1)
        spreads.append(np.sqrt(np.square(cluster[i].astype(float) - cluster[j]).sum(1).mean()))
    estimate = intra_diversity(train, real, made)
    assert estimate.value == pytest.approx(np.mean(spreads) / spread(real).value, rel=1e-6)
    assert estimate.standard_error == pytest.approx(np.std(spreads, ddof=1) / np.sqrt(5) / spread(real).value, rel=1e-6)
    assert intra_diversity(train[:1], real, made).value == pytest.approx(diversity(real, made).value)
    assert intra_diversity(train[:1], real, made).standard_error > 0


def test_intra_diversity_is_zero_for_copies_which_are_diverse_as_a_whole():
    train, real = normal(50, 6, 1), normal(200, 6, 2)
    copies = np.repeat(train, 20, 0)
    assert intra_diversity(train, real, copies) == Estimate(0, 0)
    assert diversity(real, copies).value > 0.8
    noisy = copies + 0.1 * normal(1000, 6, 3)
    assert 0.05 < intra_diversity(train, real, noisy).value < 0.15
    assert intra_diversity(train, real, normal(1000, 6, 3)).value > 0.4


def test_what_has_no_spread_or_no_neighbours_is_refused():
    x = normal(5, 3, 1)
    for function in (lambda: diversity(np.full((9, 3), 0.1), x), lambda: spacing(np.full((9, 3), 0.1))):
        with pytest.raises(ValueError, match="features are equal, so their spread is 0"):
            function()
    with pytest.raises(ValueError, match="5 features have no 5-th neighbours; take 6 or more"):
        spacing(x)
    with pytest.raises(ValueError, match="no two of 5 generated images are nearest to the same training image"):
        intra_diversity(x, x, x)
