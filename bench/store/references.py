"""References in the store: each is computed on first use and then shared by all trials and machines."""

from typing import TYPE_CHECKING

from bench.store import Store
from trainers.config.embeddings import reference_key
from trainers.domains import get

if TYPE_CHECKING:
    from trainers.evaluation.embeddings.embedding import Embedding
    from trainers.evaluation.references import Reference


def reference_path(fingerprint: str, resolution: int, identity: str) -> str:
    """Return a reference's path in the store: a hash of the domain's content, the resolution (pixels) and the embedding."""
    return f"references/{reference_key(fingerprint, resolution, identity)}.safetensors"


class StoredReferences:
    """References from a store. Missing and damaged ones are computed, and published unless `publish` is False."""

    def __init__(self, store: Store, *, publish: bool = True) -> None:
        self._store = store
        self._publish = publish

    def __call__(self, domain: str, resolution: int, embedding: "Embedding") -> "Reference":
        """Return the embedded reference split of a domain at a resolution (pixels), read once per process."""
        name = reference_path(get(domain).fingerprint, resolution, embedding.identity)
        key = (self._store.address if self._publish else "", name)
        if key not in _kept:
            _kept[key] = self._read(name) or self._compute(name, domain, resolution, embedding)
        return _kept[key]

    def _read(self, name: str) -> "Reference | None":
        from trainers.evaluation.references import load

        try:
            return load(self._store.read_file(name))
        except (FileNotFoundError, ValueError):
            return None

    def _compute(self, name: str, domain: str, resolution: int, embedding: "Embedding") -> "Reference":
        from trainers.evaluation.references import dump, embed, union

        reference = union(domain, resolution, embedding, self) or embed(domain, resolution, embedding)
        if self._publish:
            self._store.write_file(name, dump(reference))
        return reference


_kept: "dict[tuple[str, str], Reference]" = {}
