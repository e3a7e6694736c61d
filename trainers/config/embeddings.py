"""The names, weight files and identities of the embeddings, without torch: planning and distances look them up often.

A name is ``builtin``, ``inception`` or ``clip`` (weights in their usual place), ``inception:PATH`` or ``clip:PATH`` (weights in
a given file), ``custom:PATH`` (a network file of the user's), or the name of a plug-in.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from trainers.common.errors import UserError, unknown_name
from trainers.config import plugins

BUILTIN_WEIGHTS = "builtin.safetensors"

#: Where clean-fid and CLIP keep their weights, and a command that fetches them.
_USUAL = {
    "inception": (
        Path("/tmp/inception-2015-12-05.pt"),  # noqa: S108 - clean-fid's choice
        "python -c 'from cleanfid.downloads_helper import check_download_inception as get; get(\"{folder}\")'",
    ),
    "clip": (
        Path("~/.cache/clip/ViT-B-32.pt"),
        "pip install git+https://github.com/openai/CLIP.git && "
        'python -c \'import clip; clip.load("ViT-B/32", device="cpu", download_root="{folder}")\'',
    ),
}

#: File formats of a custom embedding, by suffix.
CUSTOM = {".pt": "TorchScript", ".pt2": "an exported program"}

EMBEDDINGS = ("builtin", "clip", "custom:PATH", "inception")

#: Prefix of the name of an embedding whose weights are absent from this machine: it can be planned with, not measured in.
ANNOUNCED = "announced:"


@dataclass(frozen=True, kw_only=True)
class PluginEmbedding:
    """An embedding that another package defines. Its identity is a hash of `version` and of the weights file."""

    name: str
    version: str
    """To be changed whenever the features change while the weights file does not."""
    load: Callable[[str], Callable[[Any], Any]]
    """Takes a device, "cpu" or "cuda"; returns a function from images uint8 (N, H, W, 3) to features float (N, D), an array or
    a tensor."""
    weights: Path | None = None
    """The file of the weights, if there is one."""
    licence: str = "the owner's"
    """Of the weights."""


@cache
def plugin_embeddings() -> Mapping[str, PluginEmbedding]:
    """Return the embeddings of plug-ins by name.

    Raises:
        UserError: a plug-in is not what it should be.
    """
    taken = ("builtin", "custom", *_USUAL, ANNOUNCED.removesuffix(":"))
    expected = "a trainers.config.embeddings.PluginEmbedding"
    return plugins.load(
        "transfergan.embeddings", expected, lambda plugin: plugin.name if isinstance(plugin, PluginEmbedding) else None, taken
    )


def check_embedding(name: str, *, announced: bool = False) -> str:
    """Return the name with its path made absolute, so that it means the same in every process.

    With `announced`, an embedding that only lacks its weights file is accepted and returned with the prefix `ANNOUNCED`.

    Raises:
        UserError: the embedding is unknown, or its file is missing.
    """
    kind, colon, path = name.partition(":")
    without_path = ("builtin", *plugin_embeddings())
    if kind not in (*without_path, "custom", *_USUAL) or (kind in without_path and colon):
        raise _unknown(name)
    if colon or kind == "custom":
        if not path:
            raise UserError(f"embedding {name!r} lacks its path; write {kind}:PATH, e.g. {kind}:weights/network.pt")
        name = f"{kind}:{Path(path).expanduser().absolute()}"
    try:
        embedding_identity(name)
    except UserError:
        if not announced or kind == "builtin":
            raise
        return ANNOUNCED + name
    return name


def weights_file(name: str) -> Path:
    """Return the weights file of an embedding whose weights are outside the package.

    Raises:
        UserError: the file is missing; the message says which file to place where.
    """
    kind, _, path = name.partition(":")
    if kind not in _USUAL:
        file = Path(path) if kind == "custom" else plugin_embeddings()[kind].weights
        assert file is not None
        if kind == "custom" and file.suffix not in CUSTOM:
            formats = " or ".join(f"{suffix} ({what})" for suffix, what in CUSTOM.items())
            raise UserError(f"embedding {name!r}: the file's name must end in {formats}")
        if not file.is_file():
            raise UserError(f"embedding {name!r}: there is no file {str(file)!r}")
        return file
    usual, fetch = _USUAL[kind]
    file = Path(path) if path else usual.expanduser()
    if file.is_file():
        return file
    raise UserError(
        f"embedding {kind!r} needs its weights, and there is no file {str(file)!r}; place {usual.name} there, or give the path "
        f"({kind}:PATH, or --weights PATH). With a network, this fetches it: {fetch.format(folder=file.parent)}"
    )


@cache
def embedding_identity(name: str) -> str:
    """Return the identity of an embedding in every metric's key, ``KIND:HASH`` of its weights, e.g. ``builtin:1f3a9c0d2b4e``.

    For an announced embedding it is the name, which is no real identity.

    Raises:
        UserError: the embedding is unknown, or its file is missing.
    """
    kind, colon, _ = name.partition(":")
    if name.startswith(ANNOUNCED):
        return name
    if name == "builtin":
        digest = hashlib.sha256((files("trainers.evaluation.embeddings") / BUILTIN_WEIGHTS).read_bytes()).hexdigest()
    elif kind in ("custom", *_USUAL):
        digest = _digest_of(weights_file(name))
    elif not colon and name in plugin_embeddings():
        plugin = plugin_embeddings()[name]
        weights = "" if plugin.weights is None else _digest_of(weights_file(name))
        digest = hashlib.sha256(json.dumps([plugin.version, weights]).encode()).hexdigest()
    else:
        raise _unknown(name)
    return f"{kind}:{digest[:12]}"


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reference_key(fingerprint: str, resolution: int, identity: str, split: str = "reference") -> str:
    """Return the hash of all that decides a domain's features in an embedding: 32 hexadecimal digits."""
    text = json.dumps([fingerprint, split, resolution, identity])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _unknown(name: str) -> UserError:
    kind = name.partition(":")[0]
    without_path = ("builtin", *plugin_embeddings())
    return unknown_name("embedding", name if kind in without_path else kind, (*EMBEDDINGS, *plugin_embeddings()))
