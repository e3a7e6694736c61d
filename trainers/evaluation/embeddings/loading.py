"""Loads embeddings by name."""

from collections.abc import Callable
from functools import cache

from trainers.config.embeddings import embedding_identity, plugin_embeddings
from trainers.evaluation.embeddings.builtin import Builtin
from trainers.evaluation.embeddings.custom import Custom
from trainers.evaluation.embeddings.embedding import Embedding
from trainers.evaluation.embeddings.inception import Inception
from trainers.evaluation.embeddings.plugin import Plugin
from trainers.evaluation.embeddings.vision_transformer import Clip, Dinov2

#: The embeddings that take a name, as it may have the path of the weights.
_WITH_WEIGHTS: dict[str, Callable[[str, str, str], Embedding]] = {
    "inception": Inception, "clip": Clip, "dinov2-vitl14": Dinov2, "dinov2-vits14": Dinov2, "custom": Custom
}  # fmt: skip


@cache
def load_embedding(name: str, device: str = "cpu") -> Embedding:
    """Return an embedding on a device, loaded once per process; see `trainers.config.embeddings` for the names.

    Raises:
        UserError: the embedding is unknown, or its file is missing or invalid.
    """
    identity = embedding_identity(name)
    kind = identity.partition(":")[0]
    if kind == "builtin":
        return Builtin(identity, device)
    if kind in _WITH_WEIGHTS:
        return _WITH_WEIGHTS[kind](name, identity, device)
    return Plugin(plugin_embeddings()[name], identity, device)
