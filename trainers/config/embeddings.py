"""The names, weight files and identities of the embeddings, without torch: planning and distances look them up often.

Weights are never downloaded unasked; `transfergan embeddings fetch` does it.

A name is ``builtin``, the name or alias of a published network (weights in their usual place), ``NAME:PATH`` of one (weights
in this file), ``custom:PATH`` (a network file of the user's), or the name of a plug-in.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from trainers.common.errors import UserError, unknown_name
from trainers.config import plugins

#: The built-in embedding's file of weights in this package, and their licence.
BUILTIN_WEIGHTS, BUILTIN_LICENCE = "builtin.safetensors", "Apache-2.0"

#: Dimensions of its features, and pixels that images are resized to.
BUILTIN_DIMENSIONS, BUILTIN_SIDE = 64, 32

#: File formats of a custom embedding, by suffix.
CUSTOM = {".pt": "TorchScript", ".pt2": "an exported program"}


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """A network that others have trained, whose features are an embedding."""

    name: str
    """As `evaluation.embedding` names it; part of the embedding's identity."""
    alias: str = ""
    """A second name that means the same, or ""."""
    network: str
    """The network and its training in words."""
    dimensions: int
    """Of the features."""
    side: int
    """Height and width that every image is resized to, pixels."""
    licence: str
    """Of the weights."""
    address: str
    """Where its authors publish the file of the weights."""
    size: int
    """Of this file, bytes."""
    sha256: str
    """Of this file, 64 hexadecimal digits."""
    folder: Callable[[], Path]
    """Returns the folder where the program that it was published with keeps the file."""

    @property
    def file(self) -> Path:
        """Where the weights are looked for."""
        return self.folder() / PurePosixPath(self.address).name


def _torch_hub() -> Path:
    """Return the folder of `torch.hub`'s downloads, without torch."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{caches}/torch")).expanduser() / "hub" / "checkpoints"


def _dinov2(name: str, alias: str, network: str, dimensions: int, size: int, sha256: str) -> PublishedNetwork:
    return PublishedNetwork(
        name=f"dinov2-{name}", alias=alias, network=f"DINOv2 {network} (Oquab et al. 2023)", dimensions=dimensions, side=224,
        licence="Apache-2.0 (DINOv2 by Meta)", size=size, sha256=sha256, folder=_torch_hub,
        address=f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{name}/dinov2_{name}_pretrain.pth",
    )  # fmt: skip


_CLIP = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"

#: Every published network by its name.
PUBLISHED: Mapping[str, PublishedNetwork] = {
    network.name: network
    for network in (
        PublishedNetwork(
            name="inception", network="Inception v3 (Szegedy et al. 2016), as in clean-fid", dimensions=2048, side=299,
            licence="Apache-2.0 (Inception v3 by Google, as distributed by NVIDIA)", size=95_607_719,
            address="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            folder=lambda: Path("/tmp"),  # noqa: S108 - clean-fid's choice
        ),
        _dinov2(
            "vitl14", "dinov2", "ViT-L/14", 1024, 1_217_586_395,
            "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        ),
        _dinov2(
            "vits14", "", "ViT-S/14", 384, 88_283_115, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"
        ),
        PublishedNetwork(
            name="clip", alias="clip-vitb32", network="CLIP ViT-B/32 (Radford et al. 2021)", dimensions=512, side=224,
            licence="MIT (CLIP by OpenAI)", size=353_976_522, sha256=_CLIP,
            address=f"https://openaipublic.azureedge.net/clip/models/{_CLIP}/ViT-B-32.pt",
            folder=lambda: Path("~/.cache/clip").expanduser(),
        ),
    )
}  # fmt: skip

#: The name that each alias stands for.
ALIASES: Mapping[str, str] = {network.alias: network.name for network in PUBLISHED.values() if network.alias}

EMBEDDINGS = ("builtin", "custom:PATH", *PUBLISHED, *ALIASES)

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
    taken = ("builtin", "custom", *PUBLISHED, *ALIASES, ANNOUNCED.removesuffix(":"))
    expected = "a trainers.config.embeddings.PluginEmbedding"
    return plugins.load(
        "transfergan.embeddings", expected, lambda plugin: plugin.name if isinstance(plugin, PluginEmbedding) else None, taken
    )


def check_embedding(name: str, *, announced: bool = False) -> str:
    """Return the name with its path made absolute, so that it means the same in every process, and without an alias.

    With `announced`, an embedding that only lacks its weights file is accepted and returned with the prefix `ANNOUNCED`.

    Raises:
        UserError: the embedding is unknown, or its file is missing.
    """
    name = _without_alias(name)
    kind, colon, path = name.partition(":")
    without_path = ("builtin", *plugin_embeddings())
    if kind not in (*without_path, "custom", *PUBLISHED) or (kind in without_path and colon):
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
    kind, _, path = _without_alias(name).partition(":")
    if kind not in PUBLISHED:
        file = Path(path) if kind == "custom" else plugin_embeddings()[kind].weights
        assert file is not None
        if kind == "custom" and file.suffix not in CUSTOM:
            formats = " or ".join(f"{suffix} ({what})" for suffix, what in CUSTOM.items())
            raise UserError(f"embedding {name!r}: the file's name must end in {formats}")
        if not file.is_file():
            raise UserError(f"embedding {name!r}: there is no file {str(file)!r}")
        return file
    published = PUBLISHED[kind]
    file = Path(path) if path else published.file
    if file.is_file():
        return file
    raise UserError(
        f"embedding {kind!r} needs its weights, and there is no file {str(file)!r}; "
        + ("" if path else f"run `transfergan embeddings fetch {kind}`, or ")
        + f"place {published.file.name} there, from {published.address}, or give its path ({kind}:PATH, or --weights PATH)"
    )


@cache
def embedding_identity(name: str) -> str:
    """Return the identity of an embedding in every metric's key, ``KIND:HASH`` of its weights, e.g. ``builtin:1f3a9c0d2b4e``.

    For an announced embedding it is the name, which is no real identity.

    Raises:
        UserError: the embedding is unknown, or its file is missing.
    """
    if name.startswith(ANNOUNCED):
        return name
    name = _without_alias(name)
    kind, colon, _ = name.partition(":")
    if name == "builtin":
        digest = hashlib.sha256((files("trainers.evaluation.embeddings") / BUILTIN_WEIGHTS).read_bytes()).hexdigest()
    elif kind in ("custom", *PUBLISHED):
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


def _without_alias(name: str) -> str:
    kind, colon, path = name.partition(":")
    return ALIASES.get(kind, kind) + colon + path


def _unknown(name: str) -> UserError:
    kind = name.partition(":")[0]
    without_path = ("builtin", *plugin_embeddings())
    return unknown_name("embedding", name if kind in without_path else kind, (*EMBEDDINGS, *plugin_embeddings()))
