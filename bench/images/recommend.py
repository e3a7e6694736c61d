"""Distances of sources to a new target, and the command that trains a recommendation."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.store import Store
from bench.store.trial_files import last_checkpoint
from bench.sweeps.expansion import check_measurable
from bench.sweeps.loading import load_spec
from bench.sweeps.spec import SweepSpec, as_mapping
from trainers.common.errors import UserError
from trainers.config.embeddings import PUBLISHED, embedding_identity
from trainers.config.options import split
from trainers.config.predictors import PREDICTORS, PredictorName
from trainers.config.trial import TrialConfig
from trainers.domains import get

if TYPE_CHECKING:
    from trainers.evaluation.references import References

#: The preset that the command is based on, and its sections that decide how a source is trained and measured.
_BASE, _SECTIONS = "quickstart", ("gan", "training", "evaluation")


def embedding_name(identity: str, sweeps: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of an embedding on this machine, or None if it is absent.

    `identity` is e.g. ``builtin:1f3a9c0d2b4e``; the plans of the store's sweeps name the paths of custom embeddings.
    """
    planned = [plan["spec"].get("evaluation", {}).get("embedding") for plan in sweeps.values()]
    for name in dict.fromkeys((*planned, "builtin", *PUBLISHED)):
        try:
            if name is not None and embedding_identity(name) == identity:
                return str(name)
        except UserError:
            continue
    return None


def distances_to(
    target: str, sources: Iterable[str], references: "References", embedding: str, resolution: int, tell: Callable[[str], None]
) -> tuple[dict[str, float], list[str]]:
    """Measure FID between the reference splits of sources and of a target, images of `resolution` pixels.

    `references` provides the domains' references; `tell` is called with a line on progress.

    Returns:
        The FID by source, and for each source that cannot be measured one line with the reason.

    Raises:
        UserError: the target cannot be had at this resolution, or has too few reference images.
    """
    from trainers.evaluation.comparison import METRICS, Comparison
    from trainers.evaluation.embeddings.loading import load_embedding

    check_measurable(get(target), resolution)
    network = load_embedding(embedding)
    reference = references(target, resolution, network)
    distances, unmeasured = {}, []
    for source in sources:
        tell(f"measuring the distance from {source}")
        try:
            features = references(source, resolution, network).features
        except UserError as error:
            unmeasured.append(f"The distance from {source} cannot be measured: {error}.")
            continue
        distances[source] = METRICS["fid"](Comparison(reference, features)).value
    return distances, unmeasured


def responses_to(
    target: str, kind: PredictorName, trainings: Iterable[tuple[str, str, str]], store: Store, references: "References",
    embedding: str, resolution: int, tell: Callable[[str], None],
) -> tuple[dict[str, float], list[str]]:  # fmt: skip
    """Measure a predictor of sources for a target, as the mean over each source's trainings.

    `trainings` are sources, keys of their pretrain trials and of a trial that starts from each, whose settings a probe has; the
    other arguments and what is returned and raised are as of `distances_to`.
    """
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.trial import checkpoints
    from trainers.trial.responses import respond

    check_measurable(get(target), resolution)
    network = load_embedding(embedding)
    reference = references(target, resolution, network)
    configs = store.read("trials").drop_duplicates("key").set_index("key")["config"]
    values: dict[str, list[float]] = {}
    unmeasured = []
    for source, key, start in trainings:
        tell(f"measuring the {PREDICTORS[kind].label} of {source}")
        checkpoint = last_checkpoint(store, key)
        if checkpoint is None:
            unmeasured.append(f"The networks of {source} (trial {key}) are not in the store any more.")
            continue
        trial = TrialConfig.model_validate_json(configs[start])
        name, data = checkpoint
        loaded = checkpoints.load(data, name)
        estimate, _ = respond(kind, loaded, target, trial.training, reference, network, trial.evaluation.samples)
        values.setdefault(source, []).append(estimate.value)
    return {source: sum(found) / len(found) for source, found in values.items()}, unmeasured


def command(
    planned: Mapping[str, Any] | None, source: str, strategy: str, target: str, size: int, resolution: int,
    conditional: bool, store: str, augmentation: str = "none",
) -> str:  # fmt: skip
    """Return the command that trains a recommendation, and scratch for comparison, with the settings of the store's sweep.

    Args:
        planned: the spec of the sweep that the recommendation is based on; if None or of another version, the preset's
            settings are used except for the resolution.
        source: a domain; if the store has a GAN pre-trained on it with these settings, the command uses that.
        strategy, target, size, conditional, augmentation: those of the recommendation.
        resolution: height and width of the images, pixels.
        store: the store's path or URI.
    """
    ends = (split(end)[0].rstrip("/").rpartition("/")[2][-20:] for end in (source, target))
    name = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((strategy, *ends))).strip("-")[:64]
    strategies = list(dict.fromkeys(("scratch", strategy)))
    sets: dict[str, Any] = {"name": name, "sources": [source], "targets": [target], "sizes": [size], "strategies": strategies}
    if conditional:
        sets["conditional"] = [True]
    if augmentation != "none":
        sets["augmentation"] = [augmentation]
    try:
        settings = as_mapping(SweepSpec.model_validate(planned or {}))
    except ValidationError:
        settings = None
    base = as_mapping(load_spec(_BASE))
    if settings is None:
        sets |= {"gan.resolution": resolution} if base["gan"]["resolution"] != resolution else {}
    else:
        for section in _SECTIONS:
            ours, theirs = settings[section], base[section]
            # Some settings are left out at their defaults, which the preset has.
            sets |= {f"{section}.{key}": value for key, value in ours.items() if key not in theirs or value != theirs[key]}
        if settings["pretrain"] != base["pretrain"]:
            sets["pretrain"] = settings["pretrain"]
    words = ["transfergan", "run", _BASE, "--store", store]
    for key, value in sets.items():
        words += ["--set", f"{key}={value if isinstance(value, str) and _plain(value) else json.dumps(value)}"]
    return shlex.join(words)


def _plain(value: str) -> bool:
    """Return whether YAML reads a text as itself, without quotes."""
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z-]*", value))
