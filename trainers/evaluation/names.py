"""The embeddings' names and identities, without torch: planning and distances ask for them often."""

import hashlib
from functools import cache
from importlib.resources import files

from trainers.errors import unknown_name

EMBEDDINGS = ("builtin",)

BUILTIN_WEIGHTS = "builtin.safetensors"


@cache
def embedding_identity(name: str) -> str:
    """Return what names an embedding in every metric's key, e.g. ``builtin:1f3a9c0d2b4e``: its weights' hash.

    Raises:
        UserError: there is no embedding of that name.
    """
    if name not in EMBEDDINGS:
        raise unknown_name("embedding", name, EMBEDDINGS)
    weights = (files("trainers.evaluation") / BUILTIN_WEIGHTS).read_bytes()
    return f"{name}:{hashlib.sha256(weights).hexdigest()[:12]}"
