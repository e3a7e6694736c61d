"""What metrics compare with: features and statistics of a domain's split in an embedding, computed once and then shared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from trainers.common.errors import DamagedError, first_line
from trainers.common.sealed_tensors import check, is_sealed, seal
from trainers.config.embeddings import reference_key
from trainers.domains import Split, get
from trainers.domains.mixtures import parts_of
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.metrics.fid import Statistics, statistics


@dataclass(frozen=True)
class Reference:
    """Features float32 (N, D) of a domain's images, their labels int64 (N,) where it has classes, and their statistics."""

    features: np.ndarray
    labels: np.ndarray | None
    statistics: Statistics

    @cached_property
    def by_class(self) -> Mapping[int, Statistics]:
        """The statistics of each class with two images or more."""
        if self.labels is None:
            return {}
        present, counts = np.unique(self.labels, return_counts=True)
        return {int(k): statistics(self.features[self.labels == k]) for k in present[counts > 1]}


class References(Protocol):
    """Whoever has references, or computes them."""

    def __call__(self, domain: str, resolution: int, embedding: Embedding) -> Reference:
        """Return the reference split of a domain, by its name, at a resolution (pixels)."""


def embed(domain: str, resolution: int, embedding: Embedding, split: Split = "reference") -> Reference:
    """Return a domain's split as a reference, computed anew; of a mixture the union of its parts' features."""
    whole = get(domain)
    features = [embedding(part.load(split, resolution).images) for part in parts_of(whole)]
    return _of(features, whole.labels(split))


def union(domain: str, resolution: int, embedding: Embedding, known: References) -> Reference | None:
    """Return the reference of a mixture from those of its parts, which `known` has; None for another domain."""
    whole = get(domain)
    parts = parts_of(whole)
    if len(parts) == 1:
        return None
    return _of([known(part.name, resolution, embedding).features for part in parts], whole.labels("reference"))


def _of(features: list[np.ndarray], labels: np.ndarray | None) -> Reference:
    joined = features[0] if len(features) == 1 else np.concatenate(features)
    return Reference(joined, labels, statistics(joined))


_kept: dict[str, Reference] = {}


def references(domain: str, resolution: int, embedding: Embedding) -> Reference:
    """Return a reference, computed once per process: `References` for those who keep none for longer."""
    key = reference_key(get(domain).fingerprint, resolution, embedding.identity)
    if key not in _kept:
        _kept[key] = union(domain, resolution, embedding, references) or embed(domain, resolution, embedding)
    return _kept[key]


def dump(reference: Reference) -> bytes:
    """Return the bytes of a sealed safetensors file with a reference."""
    arrays = {
        "features": reference.features,
        "mean": reference.statistics.mean,
        "covariance": reference.statistics.covariance,
    }
    if reference.labels is not None:
        arrays["labels"] = reference.labels
    return seal(save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load(data: bytes) -> Reference:
    """Return the reference in bytes that `dump` returned; older files have a checksum tensor instead of a seal.

    Raises:
        DamagedError: the bytes are damaged.
    """
    try:
        check(data)
        arrays = load_arrays(data)
        if not is_sealed(data) and not ("sha256" in arrays and np.array_equal(arrays.pop("sha256"), _checksum(arrays))):
            raise DamagedError("its arrays do not match their checksum")
        features, mean, covariance = (arrays[name] for name in ("features", "mean", "covariance"))
    except (DamagedError, SafetensorError, KeyError) as error:
        raise DamagedError(f"not a complete reference: {first_line(error)}") from error
    return Reference(features, arrays.get("labels"), Statistics(mean, covariance, len(features)))


def _checksum(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the checksum tensor of files without a seal, uint8 (32,)."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
