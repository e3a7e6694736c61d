"""Measures the distances from sources to targets, and the diversity and the spacing of each domain.

A source is represented by its real images, and by samples of each of its pre-trained generators. Every domain is embedded once:
its reference is kept in the store. The source's images count as generated and the target's as real: recall is the share of the
target that the source covers.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.driver.ledger import Ledger
from bench.store import Store, open_store
from bench.store.references import StoredReferences, reference_path
from bench.store.schema import Table
from bench.store.trial_files import last_checkpoint
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError
from trainers.config.embeddings import embedding_identity
from trainers.config.metrics import distances
from trainers.config.sources import links
from trainers.config.trial import TrialConfig
from trainers.domains import get

#: A source's name, the key of its pretrain trial (None: its real images), and the targets: arguments of `measure`.
Task = tuple[str, str | None, tuple[str, ...]]

#: The figures that describe a domain by itself, and those of a target (see `trainers.evaluation.floor`).
FIGURES, FLOORS = ("diversity", "spacing", "dimensions"), ("fid_floor", "kid_floor")


def unembedded(plan: Plan, store: Store) -> list[tuple[str, int]]:
    """Return the domains of a plan whose reference or figures the store lacks, each with the samples for its floor or 0."""
    identity, resolution = embedding_identity(plan.spec.evaluation.embedding), plan.spec.gan.resolution
    rows, samples = rows_of(plan, store, "domains"), plan.spec.evaluation.samples
    done = set(zip(rows["domain"], rows["figure"], strict=True))
    floors = set(zip(rows["domain"], rows["figure"], rows["samples"], strict=True))
    names = dict.fromkeys(trial.domain.name for trial in plan.trials)
    targets = {trial.domain.name for trial in plan.of_kind("adapt")}

    def lacks(name: str) -> bool:
        drawn = min(samples, get(name).count("train"))
        return (
            not store.has_file(reference_path(get(name).fingerprint, resolution, identity))
            or any((name, figure) not in done for figure in FIGURES)
            or (name in targets and any((name, figure, drawn) not in floors for figure in FLOORS))
        )

    return [(name, samples if name in targets else 0) for name in names if lacks(name)]


def missing(plan: Plan, ledger: Ledger, store: Store) -> list[Task]:
    """Return the tasks whose distances the store lacks."""
    rows = rows_of(plan, store, "distances")
    done = {
        (source, None if trial is None or trial != trial else trial, target, kind)  # a missing string may read as NaN
        for source, trial, target, kind in zip(rows["source"], rows["trial"], rows["target"], rows["kind"], strict=True)
    }
    targets = tuple(dict.fromkeys(trial.domain.name for trial in plan.of_kind("adapt")))
    tasks: list[Task] = []
    for source, key in ends(plan, ledger):
        lacking = tuple(t for t in targets if any((source, key, t, metric.name) not in done for metric in distances()))
        if lacking:
            tasks.append((source, key, lacking))
    return tasks


def ends(plan: Plan, ledger: Ledger) -> Iterator[tuple[str, str | None]]:
    """Yield (source, None) for every source that is not imported, and (source, key) for each of its finished generators."""
    pretrains = _sources(plan)
    for name in dict.fromkeys(trial.as_source.name for trial in pretrains if not trial.imported):
        yield name, None
    for trial in pretrains:
        if ledger.status[trial.key] == "done":
            yield trial.as_source.name, trial.key


def _sources(plan: Plan) -> list[TrialConfig]:
    """Return the pretrain trials that adaptations start from, without earlier links of their chains."""
    wanted = {trial.parent for trial in plan.of_kind("adapt")}
    return [trial for trial in plan.of_kind("pretrain") if trial.key in wanted]


def embed(store_uri: str, sweep: str, embedding_name: str, resolution: int, domain: str, samples: int) -> None:
    """Publish a domain's reference, if the store lacks it, and the domain's figures; with `samples` also its floors."""
    from trainers.evaluation.comparison import NEIGHBOURS, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.floor import floor
    from trainers.evaluation.metrics.diversity import spacing, spread
    from trainers.evaluation.metrics.estimate import Estimate

    store = prepare(store_uri)
    embedding = load_embedding(embedding_name)
    reference = StoredReferences(store)(domain, resolution, embedding)
    features = reference.features
    common = {"domain": domain, "resolution": resolution, "embedding": embedding.identity}
    k = min(NEIGHBOURS, len(features) - 1)
    values = {"diversity": spread(features), "spacing": spacing(features, k), "dimensions": Estimate(features.shape[1], 0)}
    rows = [{**common, "figure": name, **interval(name, values[name]), "samples": len(features)} for name in FIGURES]
    if samples:
        used = min(samples, get(domain).count("train"))
        floors = floor(domain, resolution, embedding, reference, samples)
        rows += [
            {**common, "figure": f"{name}_floor", **interval(name, estimate), "samples": used}
            for name, estimate in floors.items()
        ]
    store.append("domains", sweep, rows)


def measure(
    store_uri: str, sweep: str, embedding_name: str, resolution: int, samples: int, source: str, key: str | None,
    targets: tuple[str, ...],
) -> None:  # fmt: skip
    """Measure one source's distances to the targets' reference splits and publish them, each with its interval.

    Args:
        resolution: of the images, in pixels.
        samples: images to draw from a generator.
        source: the source's name. Its real images are those of the reference split, for a chain that of its last link.
        key: key of the pretrain trial whose generator is measured; None for the real images.

    Raises:
        UserError: the trial has no checkpoint.
    """
    from trainers.core.sampling import sample
    from trainers.evaluation.comparison import METRICS, Comparison, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.evaluator import EVALUATION_SEED
    from trainers.trial import checkpoints

    store = prepare(store_uri)
    embedding, references = load_embedding(embedding_name), StoredReferences(store)
    if key is None:
        features = references(links(source)[-1], resolution, embedding).features
    else:
        checkpoint = last_checkpoint(store, key)
        if checkpoint is None:
            raise UserError(f"trial {key} has no checkpoint any more; the same command trains it again")
        name, data = checkpoint
        loaded = checkpoints.load(data, name)
        generator, latent = checkpoints.generator(loaded)
        features = embedding(sample(generator, latent, samples, EVALUATION_SEED, loaded.requested(samples)))
    rows: list[dict[str, Any]] = []
    for target in targets:
        reference = references(target, resolution, embedding)
        pair = Comparison(reference, features)
        ends = {
            "source": source,
            "target": target,
            "trial": key,
            "resolution": resolution,
            "embedding": embedding.identity,
            "source_samples": len(features),
            "target_samples": len(reference.features),
        }
        rows += [{**ends, "kind": each.name, **interval(each.name, METRICS[each.name](pair))} for each in distances()]
    store.append("distances", sweep, rows)


def between(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Return the distances between a plan's sources and targets: rows of table `distances` by target, in plan order."""
    known = rows_of(plan, store, "distances").drop(columns=["recorded_at", "sweep"])
    sources = {name: i for i, name in enumerate(dict.fromkeys(trial.as_source.name for trial in _sources(plan)))}
    targets = {trial.domain.name for trial in plan.of_kind("adapt")}
    rows: list[Any] = known.astype(object).where(known.notna(), None).to_dict("records")
    kinds = [*(metric.name for metric in distances()), *plan.spec.predictors]
    chosen = [row for row in rows if row["source"] in sources and row["target"] in targets and row["kind"] in kinds]
    return sorted(chosen, key=lambda row: (row["target"], row["trial"] or "", sources[row["source"]], kinds.index(row["kind"])))


def rows_of(plan: Plan, store: Store, table: Table) -> pd.DataFrame:
    """Return the rows of a table in a plan's embedding and resolution; those of generators from as many images as it draws."""
    rows = store.read(table)
    identity = embedding_identity(plan.spec.evaluation.embedding)
    rows = rows[(rows["embedding"] == identity) & (rows["resolution"] == plan.spec.gan.resolution)]
    if table == "distances":
        rows = rows[rows["trial"].isna() | (rows["source_samples"] == plan.spec.evaluation.samples)]
    return rows


def prepare(store_uri: str) -> Store:
    """Open a store in a process that measures."""
    import torch

    torch.set_num_threads(1)
    return open_store(store_uri, known=True)
