"""References in the store: each is computed on first use and then shared by all trials and machines."""

from typing import TYPE_CHECKING

from bench.store import Store
from trainers.common import sealed_tensors
from trainers.common.errors import DamagedError
from trainers.config.embeddings import reference_key
from trainers.domains import get

if TYPE_CHECKING:
    from trainers.domains import Split
    from trainers.evaluation.embeddings.embedding import Embedding
    from trainers.evaluation.references import Reference


def reference_path(fingerprint: str, resolution: int, identity: str, split: "Split" = "reference") -> str:
    """Return a reference's path in the store: a hash of the domain's content and split, resolution (pixels) and embedding."""
    return f"references/{reference_key(fingerprint, resolution, identity, split)}.safetensors"


def check_reference(name: str, data: bytes) -> None:
    """Raise DamagedError if a reference says that it belongs at another path; those of older versions do not say where."""
    if sealed_tensors.metadata(data).get("reference", name) != name:
        raise DamagedError("it is the reference of another domain, resolution or embedding")


class StoredReferences:
    """References from a store. Missing and damaged ones are computed, and published unless `publish` is False."""

    def __init__(self, store: Store, *, publish: bool = True) -> None:
        self._store = store
        self._publish = publish

    def __call__(self, domain: str, resolution: int, embedding: "Embedding", split: "Split" = "reference") -> "Reference":
        """Return the embedded split of a domain at a resolution (pixels), read once per process."""
        name = reference_path(get(domain).fingerprint, resolution, embedding.identity, split)
        key = (self._store.address if self._publish else "", name)
        if key not in _kept:
            _kept[key] = self._read(name) or self._compute(name, domain, resolution, embedding, split)
        return _kept[key]

    def _read(self, name: str) -> "Reference | None":
        from trainers.evaluation.references import load

        try:
            data = self._store.read_file(name)
            check_reference(name, data)
            return load(data)
        except (FileNotFoundError, ValueError):
            return None

    def _compute(
        self, name: str, domain: str, resolution: int, embedding: "Embedding", split: "Split"
    ) -> "Reference":  # fmt: skip
        from trainers.evaluation.references import dump, references, union

        whole = union(domain, resolution, embedding, self, split)
        reference = whole or references(domain, resolution, embedding, split)
        if self._publish:
            self._store.write_file(name, sealed_tensors.label(dump(reference), reference=name))
        return reference


_kept: "dict[tuple[str, str], Reference]" = {}
