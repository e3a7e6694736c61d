"""The floor of FID and KID: real images against real images."""

import numpy as np
import pytest

from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.floor import floor
from trainers.evaluation.references import references


@pytest.mark.parametrize(("domain", "samples", "count"), [("digits", 100, 100), ("shapes[classes=2,per_class=20]", 500, 32)])
def test_the_floor_is_of_real_images_and_falls_with_their_number(domain: str, samples: int, count: int):
    builtin = load_embedding("builtin")
    reference = references(domain, 8, builtin)
    estimates = floor(domain, 8, builtin, reference, samples)
    assert set(estimates) == {"fid", "kid"}
    fewer = floor(domain, 8, builtin, reference, count // 4)
    assert 0 < estimates["fid"].value < fewer["fid"].value
    assert np.abs(estimates["kid"].value) < 4 * estimates["kid"].standard_error
    assert floor(domain, 8, builtin, reference, samples) == estimates


def test_too_few_images_have_no_floor():
    builtin = load_embedding("builtin")
    assert floor("digits", 8, builtin, references("digits", 8, builtin), 3) == {}
