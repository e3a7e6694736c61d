"""What a recommendation needs beside the store's statistics: the new target's distances, and the command that follows it."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from bench.images.evaluate import FEWEST_REFERENCE
from bench.store import Store
from bench.store.references import StoredReferences
from bench.sweeps.spec import SweepSpec, as_mapping, load_spec
from trainers.common.errors import UserError
from trainers.config.embeddings import embedding_identity
from trainers.domains import get

#: The sweep that the command starts from, and the sections of it that decide what a source is and what it is measured by.
_BASE, _SECTIONS = "quickstart", ("gan", "training", "evaluation")


def embedding_name(identity: str, sweeps: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return what an embedding is called on this machine; None where it is not there.

    Args:
        identity: of the embedding, e.g. ``builtin:1f3a9c0d2b4e``.
        sweeps: what the store's sweeps planned; an embedding of the user's own has its path there.
    """
    named = [plan["spec"].get("evaluation", {}).get("embedding") for plan in sweeps.values()]
    for name in dict.fromkeys((*named, "builtin", "inception", "clip")):
        try:
            if name is not None and embedding_identity(name) == identity:
                return str(name)
        except UserError:
            continue
    return None


def distances_to(
    target: str, sources: Iterable[str], store: Store, embedding: str, resolution: int, tell: Callable[[str], None]
) -> tuple[dict[str, float], list[str]]:
    """Measure FID between the reference splits of sources and of a target. Nothing is written to the store.

    Args:
        target: a domain's name.
        sources: domains' names.
        store: whose references are read where it has them.
        embedding: an embedding's name.
        resolution: pixels.
        tell: told of progress.

    Returns:
        The distance by source, and of each source without one why.

    Raises:
        UserError: the target cannot be had at this resolution, or has too few images.
    """
    from trainers.evaluation.comparison import METRICS, Comparison
    from trainers.evaluation.embeddings.loading import load_embedding

    domain = get(target)
    domain.check_resolution(resolution)
    if domain.count("reference") < FEWEST_REFERENCE:
        raise UserError(f"domain {target!r} has {domain.count('reference')} reference images and needs {FEWEST_REFERENCE}")
    network, references = load_embedding(embedding), StoredReferences(store, publish=False)
    reference = references(target, resolution, network)
    found, lacking = {}, []
    for source in sources:
        tell(f"measuring the distance from {source}")
        try:
            features = references(source, resolution, network).features
        except UserError as error:
            lacking.append(f"The distance from {source} cannot be measured: {error}.")
            continue
        found[source] = METRICS["fid"](Comparison(reference, features)).value
    return found, lacking


def command(
    planned: Mapping[str, Any] | None, source: str, strategy: str, target: str, size: int, resolution: int,
    conditional: bool, store: str,
) -> str:  # fmt: skip
    """Return the command line that trains what is recommended, and from scratch beside it, as the store's own sweep did.

    Args:
        planned: the spec of the sweep that the recommendation is from; None, or one of another version, leaves all but the
            resolution to the preset.
        source: a domain's name; its pre-trained GAN is taken from the store, where it still is.
        strategy: a strategy's name.
        target: a domain's name.
        size: training images.
        resolution: pixels.
        conditional: with labels or without.
        store: where the store is.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{strategy}-{source[-20:]}-{target[-20:]}").strip("-.")
    strategies = list(dict.fromkeys(("scratch", strategy)))
    sets: dict[str, Any] = {"name": name, "sources": [source], "targets": [target], "sizes": [size], "strategies": strategies}
    if conditional:
        sets["conditional"] = [True]
    try:
        settings = as_mapping(SweepSpec.model_validate(planned or {}))
    except ValidationError:
        settings = None
    base = as_mapping(load_spec(_BASE))
    if settings is None:
        sets |= {"gan.resolution": resolution} if base["gan"]["resolution"] != resolution else {}
    else:
        for section in _SECTIONS:
            own = {key: value for key, value in settings[section].items() if value != base[section][key]}
            sets |= {f"{section}.{key}": value for key, value in own.items()}
        if settings["pretrain"] != base["pretrain"]:
            sets["pretrain"] = settings["pretrain"]
    words = ["transfergan", "run", _BASE, "--store", store]
    for key, value in sets.items():
        words += ["--set", f"{key}={value if isinstance(value, str) and _plain(value) else json.dumps(value)}"]
    return shlex.join(words)


def _plain(value: str) -> bool:
    """Say whether a text means itself in YAML."""
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z-]*", value))
