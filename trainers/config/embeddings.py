"""The embeddings' names, files and identities, without torch: planning and distances ask for them often.

A name is ``builtin``, ``inception`` or ``clip`` (weights in their usual place), ``inception:PATH`` or ``clip:PATH`` (weights in
a file of that name), or ``custom:PATH`` (a network of the user's own).
"""

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from trainers.common.errors import UserError, unknown_name

BUILTIN_WEIGHTS = "builtin.safetensors"

#: Where clean-fid and CLIP keep their weights, and what fetches them where there is a network.
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

#: What a custom embedding's file is, by its suffix.
CUSTOM = {".pt": "TorchScript", ".pt2": "an exported program"}

EMBEDDINGS = ("builtin", "clip", "custom:PATH", "inception")

#: Stands before the name of an embedding whose weights are not on this machine: enough to plan with, not to measure in.
ANNOUNCED = "announced:"


def check_embedding(name: str, *, announced: bool = False) -> str:
    """Return the name with its path made absolute, so that it means the same in every process.

    With `announced`, one that only lacks its file is no error, but has `ANNOUNCED` before its name.

    Raises:
        UserError: there is no such embedding, or its file is not there.
    """
    kind, colon, path = name.partition(":")
    if kind not in ("builtin", "custom", *_USUAL) or (kind == "builtin" and colon):
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
    """Return the file that an embedding with weights outside the package has them in.

    Raises:
        UserError: it is not there; the message says what to place where.
    """
    kind, _, path = name.partition(":")
    if kind == "custom":
        file = Path(path)
        if file.suffix not in CUSTOM:
            known = " or ".join(f"{suffix} ({what})" for suffix, what in CUSTOM.items())
            raise UserError(f"embedding {name!r}: the file's name must end in {known}")
        if not file.is_file():
            raise UserError(f"embedding {name!r}: there is no file {str(file)!r}")
        return file
    usual, fetch = _USUAL[kind]
    file = Path(path) if path else usual.expanduser()
    if file.is_file():
        return file
    raise UserError(
        f"embedding {kind!r} needs its weights, and there is no file {str(file)!r}; place {usual.name} there, or name it where "
        f"it is ({kind}:PATH, or --weights PATH). With a network, this fetches it: {fetch.format(folder=file.parent)}"
    )


@cache
def embedding_identity(name: str) -> str:
    """Return what names an embedding in every metric's key, e.g. ``builtin:1f3a9c0d2b4e``: its weights' hash.

    Of one whose weights are not here that is its name, which is no real identity.

    Raises:
        UserError: there is no embedding of that name, or its file is not there.
    """
    kind = name.partition(":")[0]
    if name.startswith(ANNOUNCED):
        return name
    if name == "builtin":
        digest = hashlib.sha256((files("trainers.evaluation.embeddings") / BUILTIN_WEIGHTS).read_bytes())
    elif kind in ("custom", *_USUAL):
        with weights_file(name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    else:
        raise _unknown(name)
    return f"{kind}:{digest.hexdigest()[:12]}"


def reference_key(fingerprint: str, resolution: int, identity: str, split: str = "reference") -> str:
    """Return the content hash of all that shapes a domain's features in an embedding: 32 hexadecimal digits."""
    text = json.dumps([fingerprint, split, resolution, identity])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _unknown(name: str) -> UserError:
    kind = name.partition(":")[0]
    return unknown_name("embedding", name if kind == "builtin" else kind, EMBEDDINGS)
