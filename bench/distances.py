"""How far each source is from each target, by its real images and by its pre-trained generator's samples."""

from collections.abc import Iterator
from typing import Any

from bench.ledger import Ledger
from bench.outcomes import checkpoint_paths
from bench.plan import Plan
from bench.store import Store, open_store
from trainers.evaluation.names import embedding_identity

#: One source against the targets: arguments of `measure` beside the store.
Task = tuple[str, str | None, tuple[str, ...]]


def missing(plan: Plan, ledger: Ledger, store: Store) -> list[Task]:
    """Return what the store lacks: (source, key of its pretrain trial or None for its real images, targets)."""
    known = store.read("distances")
    identity = embedding_identity(plan.spec.evaluation.embedding)
    known = known[(known["embedding"] == identity) & (known["resolution"] == plan.spec.gan.resolution)]
    done = {
        (source, None if trial is None or trial != trial else trial, target)  # a missing string may read as NaN
        for source, trial, target in zip(known["source"], known["trial"], known["target"], strict=True)
    }
    targets = tuple(dict.fromkeys(trial.domain.name for trial in plan.of_kind("adapt")))
    tasks: list[Task] = []
    for source, key in _ends(plan, ledger):
        lacking = tuple(target for target in targets if (source, key, target) not in done)
        if lacking:
            tasks.append((source, key, lacking))
    return tasks


def _ends(plan: Plan, ledger: Ledger) -> Iterator[tuple[str, str | None]]:
    """Yield every source by its real images, and by each of its generators that is there."""
    pretrains = plan.of_kind("pretrain")
    for name in dict.fromkeys(trial.domain.name for trial in pretrains):
        yield name, None
    for trial in pretrains:
        if ledger.status[trial.key] == "done":
            yield trial.domain.name, trial.key


def measure(
    store_uri: str, sweep: str, embedding_name: str, resolution: int, samples: int, source: str, key: str | None,
    targets: tuple[str, ...],
) -> None:  # fmt: skip
    """Measure one source's distances to the targets and publish them.

    Real images are those of the reference splits; a generator stands for itself with `samples` images. The interval is
    KID's value plus and minus 1.96 standard errors; FID has none here.
    """
    import torch

    from trainers import checkpoints
    from trainers.core import sample
    from trainers.evaluation.embeddings import load_embedding
    from trainers.evaluation.fid import fid, statistics
    from trainers.evaluation.kid import kid
    from trainers.trial import EVALUATION_SEED, reference

    torch.set_num_threads(1)
    store = open_store(store_uri)
    embedding = load_embedding(embedding_name)
    if key is None:
        features, summary = reference(source, resolution, embedding)
    else:
        name = checkpoint_paths(store, key)[-1]
        generator, latent = checkpoints.generator(checkpoints.load(store.read_file(name), name))
        features = embedding(sample(generator, latent, samples, EVALUATION_SEED))
        summary = statistics(features)
    rows: list[dict[str, Any]] = []
    for target in targets:
        target_features, target_summary = reference(target, resolution, embedding)
        ends = {
            "source": source,
            "target": target,
            "trial": key,
            "resolution": resolution,
            "embedding": embedding.identity,
            "source_samples": len(features),
            "target_samples": len(target_features),
        }
        rows.append({**ends, "kind": "fid", "value": fid(target_summary, summary)})
        distance = kid(target_features, features)
        margin = 1.96 * distance.standard_error
        interval = {"low": distance.value - margin, "high": distance.value + margin}
        rows.append({**ends, "kind": "kid", "value": distance.value, **interval})
    store.append("distances", sweep, rows)
