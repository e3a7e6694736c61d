"""Loads embeddings by name."""

from functools import cache

from trainers.config.embeddings import embedding_identity, plugin_embeddings
from trainers.evaluation.embeddings.embedding import Embedding


@cache
def load_embedding(name: str, device: str = "cpu") -> Embedding:
    """Return an embedding on a device, loaded once per process; see `trainers.config.embeddings` for the names.

    Raises:
        UserError: the embedding is unknown, or its file is missing or invalid.
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
    if kind == "builtin":
        from trainers.evaluation.embeddings.builtin import Builtin

        return Builtin(identity, device)
    from trainers.evaluation.embeddings.plugin import Plugin

    return Plugin(plugin_embeddings()[name], identity, device)
