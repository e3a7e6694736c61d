"""Float32 products: their bounds hold, PRDC and nearest neighbours equal those in float64, KID does to a millionth."""

from collections.abc import Callable
from dataclasses import astuple
from functools import cache

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.support.features import ill_conditioned, inception_like, normal
from tests.trainers.test_prdc import theirs, values
from trainers.evaluation.metrics import pairs as module
from trainers.evaluation.metrics.kid import kid
from trainers.evaluation.metrics.memorisation import memorisation
from trainers.evaluation.metrics.nearest import Nearest
from trainers.evaluation.metrics.pairs import Of, Pairs, Tile
from trainers.evaluation.metrics.prdc import RIM, kid_and_prdc, prdc


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use float32 products for all features, in tiles of 32."""
    for name, value in (("LARGE", 0), ("EVEN", np.inf), ("NORMS", (0, np.inf)), ("SIDE", 32)):
        monkeypatch.setattr(module, name, value)


def lattice(n: int, seed: int) -> np.ndarray:
    """Return corners (n, 9) of a cube; many of them, and most distances, are equal."""
    return np.random.default_rng(seed).integers(0, 2, (n, 9)).astype(float)


def clusters(n: int, seed: int) -> np.ndarray:
    """Return features (n, 40) in three clusters a thousandth as wide as they are apart."""
    return np.repeat(normal(3, 40, 0), n, 0)[::3][:n] + 1e-3 * normal(n, 40, seed)


def on_the_rim(off: float) -> tuple[np.ndarray, np.ndarray]:
    """Return real features, and generated ones alternately just inside and just outside the surface of a ball for k = 1."""
    random = np.random.default_rng(0)
    real, way = random.normal(size=(90, 60)), random.normal(size=(90, 60))
    radii = np.sort(cdist(real, real), 1)[:, 1:2]
    signs = np.where(np.arange(90) % 2, 1, -1)[:, None]
    return real, real + radii * (1 + off * signs) * way / np.linalg.norm(way, axis=1, keepdims=True)


SETS = {
    "normal": (normal(140, 50, 1), normal(110, 50, 2)),
    "Inception's": (inception_like(90, 1), inception_like(120, 2)),
    "ill-conditioned": (ill_conditioned(110, 20, 1), ill_conditioned(90, 20, 2)),
    "far from the origin": (1e4 + normal(110, 20, 1), 1e4 + 1.1 * normal(90, 20, 2)),
    "far from each other": (normal(110, 20, 1) - 100, normal(90, 20, 2) + 100),
    "of all scales": (
        normal(110, 20, 1) * np.logspace(-3, 3, 110)[:, None],
        normal(90, 20, 2) * np.logspace(-2, 3, 90)[:, None],
    ),
    "tiny": (1e-12 * normal(110, 20, 1), 1e-12 * normal(90, 20, 2)),
    "copies": (np.tile(normal(40, 20, 1), (4, 1)), np.concatenate([normal(40, 20, 1)[:30], normal(60, 20, 2)])),
    "a lattice": (lattice(150, 1), lattice(130, 2)),
    "clusters": (clusters(150, 1), clusters(100, 2)),
    "collapsed": (normal(150, 40, 1), clusters(100, 2)),
    "constant": (normal(110, 20, 1), np.full((90, 20), 0.1)),
    "all constant": (np.full((70, 20), 0.1), np.full((90, 20), 0.1)),
    "within 1e-3 of the rim": on_the_rim(1e-3),
    "within 1e-8 of the rim": on_the_rim(1e-8),
}


def plain(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Return PRDC from all distances, computed from differences in float64."""
    across = cdist(real.astype(float), fake.astype(float), "sqeuclidean")
    within = [
        np.sort(cdist(each, each, "sqeuclidean"), 1)[:, k] * (1 - RIM) for each in (real.astype(float), fake.astype(float))
    ]
    in_real, in_fake = across < within[0][:, None], across < within[1]
    return in_real.any(0).mean(), in_fake.any(1).mean(), in_real.sum(0).mean() / k, in_real.any(1).mean()


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(("real", "fake"), SETS.values(), ids=SETS)
@pytest.mark.parametrize("k", [1, 5])
def test_in_float32_prdc_is_what_float64_gives(real: np.ndarray, fake: np.ndarray, k: int, monkeypatch: pytest.MonkeyPatch):
    assert Pairs(real, fake).single
    found = prdc(real, fake, k)
    assert tuple(values(found).values()) == pytest.approx(plain(real, fake, k), rel=1e-12)
    monkeypatch.setattr(module, "LARGE", np.inf)
    assert not Pairs(real, fake).single
    assert astuple(found) == astuple(prdc(real, fake, k))


def test_float32_alone_could_not_tell_the_rim():
    """Otherwise the sets above would prove nothing."""
    real, fake = on_the_rim(1e-8)
    assert plain(real, fake, 1)[2] >= 0.5
    narrow = [each.astype(np.float32) for each in (real, fake)]
    inside = np.square(narrow[0] - narrow[1]).sum(1) < np.square(np.sort(cdist(real, real), 1)[:, 1]).astype(np.float32)
    assert (inside != (np.arange(90) % 2 == 0)).any()


class Bounds:
    """Reads whether the bounds on all squared distances hold, and by how much they are apart at most, over the norms."""

    of: tuple[Of, ...] = ("xx", "yy", "xy")

    def __init__(self, pairs: Pairs, sets: dict[str, np.ndarray]) -> None:
        self._pairs, self._sets = pairs, sets
        self.hold, self.apart = True, 0.0

    def add(self, tile: Tile) -> None:
        x, y = tile.of
        exact = cdist(self._sets[x][tile.rows], self._sets[y][tile.columns], "sqeuclidean")
        lower = self._pairs.lower_bounds(tile).astype(float)
        slack = self._pairs.slacks[x][tile.rows, None] + self._pairs.slacks[y][tile.columns]
        norms = self._pairs.norms[x][tile.rows, None] + self._pairs.norms[y][tile.columns]
        rounding = 1e-12 * norms  # float64's own
        self.hold &= bool(((lower <= exact + rounding) & (exact <= lower + slack + rounding)).all())
        self.apart = max(self.apart, float((slack / (norms + 1e-20)).max()))


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(("x", "y"), SETS.values(), ids=SETS)
def test_the_bounds_hold_and_are_narrow(x: np.ndarray, y: np.ndarray):
    pairs = Pairs(x, y)
    bounds = Bounds(pairs, {"x": x.astype(float), "y": y.astype(float)})
    pairs.read(bounds)
    assert bounds.hold
    assert bounds.apart < 3e-4


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(("x", "y"), SETS.values(), ids=SETS)
@pytest.mark.parametrize(("of", "k"), [("xx", 5), ("yy", 1), ("yy", 40), ("xy", 1), ("xy", 3)])
def test_nearest_neighbours_are_those_by_differences(x: np.ndarray, y: np.ndarray, of: Of, k: int):
    pairs = Pairs(x, y)
    nearest = Nearest(pairs, of, k)
    pairs.read(nearest)
    a, b = ({"x": x, "y": y}[name].astype(float) for name in of)
    expected = np.sort(cdist(a, b, "sqeuclidean"), 1)[:, k - (of == "xy")]
    rounding = 2e-11 * pairs.norms[of[0]].max()
    np.testing.assert_allclose(nearest.squares, expected, rtol=1e-9, atol=rounding)


@pytest.mark.usefixtures("single")
def test_where_there_are_no_kth_others_they_are_infinitely_far():
    pairs = Pairs(normal(50, 4, 1), normal(3, 4, 2))
    few, enough = Nearest(pairs, "xy", 4), Nearest(pairs, "xy", 3)
    pairs.read(few, enough)
    assert np.isinf(few.squares).all()
    assert np.isfinite(enough.squares).all()


@pytest.mark.usefixtures("single")
def test_in_float32_memorisation_is_what_float64_gives(monkeypatch: pytest.MonkeyPatch):
    train, fresh = normal(100, 30, 1), normal(80, 30, 2)
    made = np.concatenate([train[:20], train[20:50] + 1e-7, normal(60, 30, 3)])
    found = memorisation(train, fresh, made)
    monkeypatch.setattr(module, "LARGE", np.inf)
    assert found == memorisation(train, fresh, made)


# -- large sets, as they are ----------------------------------------------------------------------------------------------


@cache
def large(n: int, seed: int) -> np.ndarray:
    features = inception_like(n, seed)[:, :512].copy()
    features.flags.writeable = False  # tests share them
    return features


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return KID's kernel of all pairs, in float64."""
    return (a.astype(float) @ b.T.astype(float) / a.shape[1] + 1) ** 3


def of_others(features: np.ndarray) -> float:
    """Return the mean of the kernel over the pairs of different features."""
    of_pairs, n = kernel(features, features), len(features)
    return float(of_pairs.sum() - np.trace(of_pairs)) / (n * (n - 1))


@cache
def of_other_real() -> float:
    return of_others(large(2100, 1))


def plain_kid(y: np.ndarray) -> float:
    """Return KID of generated features, compared with the large real ones, from matrices in float64."""
    return of_other_real() + of_others(y) - 2 * float(kernel(large(2100, 1), y).mean())


@pytest.mark.slow
@pytest.mark.parametrize("make", [
    lambda y: y,
    lambda y: 1.02 * y,
    lambda y: y + 0.1,
    lambda y: 1e-3 * y + y[:1],
    lambda y: np.repeat(y[:1], len(y), 0),
    lambda y: np.random.default_rng(0).normal(size=y.shape),
], ids=["equal", "scaled", "shifted", "collapsed", "constant", "normal"])  # fmt: skip
def test_of_many_features_kid_is_its_float64_definition_to_a_millionth(make: Callable[[np.ndarray], np.ndarray]):
    """For equal distributions KID is about 0, and the error is below a millionth of the standard error."""
    x, y = large(2100, 1), make(large(2000, 2)).astype(np.float32)
    assert Pairs(x, y).single
    found = kid(x, y)
    assert found.value == pytest.approx(plain_kid(y), rel=1e-6, abs=1e-6 * found.standard_error)


@pytest.mark.slow
def test_of_many_features_prdc_equals_the_prdc_packages():
    x, y = large(2100, 1), large(2000, 2)
    assert values(kid_and_prdc(x, y)[1]) == pytest.approx(theirs(x, y), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "change", "expected"), [
    (2100, lambda x: x, True),
    (1900, lambda x: x, False),
    (2100, lambda x: np.concatenate([x[1:], 100 * x[:1]]), False),
    (2100, lambda x: 1e6 * x, False),
    (2100, lambda x: x + 1e5, False),
    (2100, lambda x: np.where(np.arange(len(x))[:, None], x, np.nan), False),
], ids=["large", "small", "an outlier", "huge", "far away", "not a number"])  # fmt: skip
def test_float32_is_for_large_sets_of_one_scale(n: int, change: Callable[[np.ndarray], np.ndarray], expected: bool):
    assert Pairs(change(large(n, 1)), large(n, 2)).single == expected
