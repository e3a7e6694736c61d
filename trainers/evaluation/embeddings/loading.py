"""Embeddings: the networks whose features FID and its kin are computed in."""

from functools import cache

from trainers.config.embeddings import embedding_identity
from trainers.evaluation.embeddings.embedding import Embedding


@cache
def load_embedding(name: str, device: str = "cpu") -> Embedding:
    """Return the embedding of that name (see `trainers.evaluation.names`) on a device, loaded once per process.

    Raises:
        UserError: there is no embedding of that name, or its file is missing or not what it should be.
    """
    identity, kind = embedding_identity(name), name.partition(":")[0]
    if kind == "inception":
        from trainers.evaluation.embeddings.inception import Inception

        return Inception(name, identity, device)
    if kind == "clip":
        from trainers.evaluation.embeddings.clip import Clip

        return Clip(name, identity, device)
    if kind == "custom":
        from trainers.evaluation.embeddings.custom import Custom

        return Custom(name, identity, device)
    from trainers.evaluation.embeddings.builtin import Builtin

    return Builtin(identity, device)
