"""The floor of FID and KID: real images against real images, at the same counts as in a trial's evaluation.

A generator whose images are as good as real ones would measure about this much, and no less on average. FID's floor is mostly
its bias: about a constant over the number of images on each side, so it is high for a small reference.
"""

import numpy as np

from trainers.common.seeds import derive_seed
from trainers.domains import get
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.metrics.estimate import Estimate
from trainers.evaluation.metrics.fid import fid_estimate
from trainers.evaluation.metrics.kid import FEWEST, kid
from trainers.evaluation.references import Reference

#: Most disjoint draws of training images.
DRAWS = 3


def floor(domain: str, resolution: int, embedding: Embedding, reference: Reference, samples: int) -> dict[str, Estimate]:
    """Return the mean `fid` and `kid` of disjoint random draws of `samples` training images against a domain's reference.

    If the domain has fewer training images there is one draw, of all. The standard error is that of one draw. Empty if either
    side has fewer images than KID takes.
    """
    count = get(domain).count("train")
    size = min(samples, count)
    if min(size, len(reference.features)) < FEWEST:
        return {}
    order = np.random.default_rng(derive_seed("floor", domain)).permutation(count)
    estimates: dict[str, list[Estimate]] = {"fid": [], "kid": []}
    for draw in range(min(DRAWS, count // size)):
        rows = np.sort(order[draw * size : (draw + 1) * size])
        features = embedding(get(domain).pick("train", resolution, rows).images)
        estimates["fid"].append(fid_estimate(reference.features, features, reference.statistics))
        estimates["kid"].append(kid(reference.features, features))
    return {
        name: Estimate(float(np.mean([e.value for e in drawn])), float(np.mean([e.standard_error for e in drawn])))
        for name, drawn in estimates.items()
    }
