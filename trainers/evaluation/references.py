"""References: the features of a domain's split in an embedding and their statistics, computed once and shared."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from trainers.common.errors import DamagedError, UserError, first_line
from trainers.common.sealed_tensors import check, is_sealed, seal
from trainers.common.seeds import derive_seed
from trainers.config.embeddings import reference_key
from trainers.domains import Split, get
from trainers.domains.mixtures import parts_of
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.metrics.fid import Statistics, statistics
from trainers.evaluation.metrics.kid import FEWEST


@dataclass(frozen=True)
class Reference:
    """Features float32 (N, D) of a domain's images, their labels int64 (N,) if it has classes, and their statistics."""

    features: np.ndarray
    labels: np.ndarray | None
    statistics: Statistics

    def of_classes(self, classes: np.ndarray) -> "Reference":
        """Return the reference of the images of some classes, int64 (C,); the same object if it has no others."""
        assert self.labels is not None
        chosen = np.isin(self.labels, classes)
        if chosen.all():
            return self
        return self._take(np.flatnonzero(chosen))

    def split(self, share: float) -> tuple["Reference", "Reference"]:
        """Return the references of two disjoint parts of the images, the second with `share` of them, drawn at random.

        Raises:
            UserError: a part has fewer images than KID takes.
        """
        n = len(self.features)
        apart = round(share * n)
        if min(apart, n - apart) < FEWEST:
            raise UserError(
                f"evaluation.selection {share:g} divides {n} reference images into {n - apart} and {apart}, and each part "
                f"needs {FEWEST}; set it to 0, or hold more images for reference"
            )
        order = np.random.default_rng(derive_seed("selection")).permutation(n)
        return self._take(np.sort(order[apart:])), self._take(np.sort(order[:apart]))

    def _take(self, rows: np.ndarray) -> "Reference":
        features = self.features[rows]
        return Reference(features, None if self.labels is None else self.labels[rows], statistics(features))

    @cached_property
    def by_class(self) -> Mapping[int, Statistics]:
        """The statistics of each class with at least two images."""
        if self.labels is None:
            return {}
        present, counts = np.unique(self.labels, return_counts=True)
        return {int(k): statistics(self.features[self.labels == k]) for k in present[counts > 1]}


class References(Protocol):
    """Provides references, from a store or by computing them."""

    def __call__(self, domain: str, resolution: int, embedding: Embedding, split: Split = "reference", /) -> Reference:
        """Return the reference of a domain's split, by the domain's name, at a resolution (pixels)."""


def embed(domain: str, resolution: int, embedding: Embedding, split: Split = "reference") -> Reference:
    """Compute the reference of a domain's split; that of a mixture has the features of all its parts."""
    whole = get(domain)
    features = [embedding(part.load(split, resolution).images) for part in parts_of(whole)]
    return _of(features, whole.labels(split))


def union(
    domain: str, resolution: int, embedding: Embedding, provided: References, split: Split = "reference"
) -> Reference | None:
    """Return the reference of a mixture's split from those of its parts, which `provided` returns; None for another domain."""
    whole = get(domain)
    parts = parts_of(whole)
    if len(parts) == 1:
        return None
    return _of([provided(part.name, resolution, embedding, split).features for part in parts], whole.labels(split))


def _of(features: list[np.ndarray], labels: np.ndarray | None) -> Reference:
    joined = features[0] if len(features) == 1 else np.concatenate(features)
    return Reference(joined, labels, statistics(joined))


def joined(parts: Sequence[Reference]) -> Reference:
    """Return the reference of the images of all of some references of one domain; the same object if it is one."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return _of([part.features for part in parts], np.concatenate(labels) if labels else None)


_computed: dict[str, Reference] = {}


def references(domain: str, resolution: int, embedding: Embedding, split: Split = "reference") -> Reference:
    """Return a reference, computed once per process: `References` without a store."""
    key = reference_key(get(domain).fingerprint, resolution, embedding.identity, split)
    if key not in _computed:
        whole = union(domain, resolution, embedding, references, split)
        _computed[key] = whole or embed(domain, resolution, embedding, split)
    return _computed[key]


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
    few = len(features) <= len(mean)  # then the statistics are the centred features
    return Reference(
        features, arrays.get("labels"), statistics(features) if few else Statistics(mean, covariance, len(features))
    )


def _checksum(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the checksum tensor of files without a seal, uint8 (32,)."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
