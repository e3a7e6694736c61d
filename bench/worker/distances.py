"""How far each source is from each target, by its real images and by its pre-trained generator's samples.

Metrics are taken with the source's images for generated ones and the target's for real ones: recall is the share of the target
that the source reaches. Also how diverse and how dense each domain is by itself. Every domain is embedded once: its reference
is in the store.
"""

from collections.abc import Iterator
from typing import Any

from bench.driver.ledger import Ledger
from bench.store import Store, open_store
from bench.store.references import StoredReferences, reference_path
from bench.store.trial_files import last_checkpoint
from bench.sweeps.plan import Plan
from trainers.common.errors import UserError
from trainers.config.embeddings import embedding_identity
from trainers.config.metrics import distances
from trainers.config.sources import links
from trainers.config.trial import TrialConfig
from trainers.domains import get

#: One source, by its name, against the targets: arguments of `measure` beside the common ones.
Task = tuple[str, str | None, tuple[str, ...]]

#: A domain's own figures.
FIGURES = ("diversity", "spacing")


def unembedded(plan: Plan, store: Store) -> list[str]:
    """Return the domains of a plan whose reference or own figures the store lacks."""
    identity, resolution = embedding_identity(plan.spec.evaluation.embedding), plan.spec.gan.resolution
    known = store.read("domains")
    known = known[(known["embedding"] == identity) & (known["resolution"] == resolution)]
    done = set(zip(known["domain"], known["figure"], strict=True))
    names = dict.fromkeys(trial.domain.name for trial in plan.trials)
    return [
        name
        for name in names
        if not store.has_file(reference_path(get(name).fingerprint, resolution, identity))
        or any((name, figure) not in done for figure in FIGURES)
    ]


def missing(plan: Plan, ledger: Ledger, store: Store) -> list[Task]:
    """Return what the store lacks: (source, key of its pretrain trial or None for its real images, targets)."""
    known = store.read("distances")
    identity = embedding_identity(plan.spec.evaluation.embedding)
    known = known[(known["embedding"] == identity) & (known["resolution"] == plan.spec.gan.resolution)]
    done = {
        (source, None if trial is None or trial != trial else trial, target, kind)  # a missing string may read as NaN
        for source, trial, target, kind in zip(known["source"], known["trial"], known["target"], known["kind"], strict=True)
    }
    targets = tuple(dict.fromkeys(trial.domain.name for trial in plan.of_kind("adapt")))
    tasks: list[Task] = []
    for source, key in _ends(plan, ledger):
        lacking = tuple(t for t in targets if any((source, key, t, metric.name) not in done for metric in distances()))
        if lacking:
            tasks.append((source, key, lacking))
    return tasks


def _ends(plan: Plan, ledger: Ledger) -> Iterator[tuple[str, str | None]]:
    """Yield every source by its real images, unless it is imported, and by each of its generators that is there."""
    pretrains = _sources(plan)
    for name in dict.fromkeys(trial.as_source.name for trial in pretrains if not trial.imported):
        yield name, None
    for trial in pretrains:
        if ledger.status[trial.key] == "done":
            yield trial.as_source.name, trial.key


def _sources(plan: Plan) -> list[TrialConfig]:
    """Return the pretrain trials that adaptations start from, without the links that only lead to them."""
    wanted = {trial.parent for trial in plan.of_kind("adapt")}
    return [trial for trial in plan.of_kind("pretrain") if trial.key in wanted]


def embed(store_uri: str, sweep: str, embedding_name: str, resolution: int, domain: str) -> None:
    """Publish a domain's reference, where the store lacks it, and the domain's own figures."""
    from trainers.evaluation.comparison import NEIGHBOURS, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.metrics.diversity import spacing, spread

    store = _prepare(store_uri)
    embedding = load_embedding(embedding_name)
    features = StoredReferences(store)(domain, resolution, embedding).features
    common = {"domain": domain, "resolution": resolution, "embedding": embedding.identity, "samples": len(features)}
    k = min(NEIGHBOURS, len(features) - 1)
    found = {"diversity": spread(features), "spacing": spacing(features, k)}
    store.append("domains", sweep, [{**common, "figure": figure, **interval(figure, found[figure])} for figure in FIGURES])


def measure(
    store_uri: str, sweep: str, embedding_name: str, resolution: int, samples: int, source: str, key: str | None,
    targets: tuple[str, ...],
) -> None:  # fmt: skip
    """Measure one source's distances to the targets and publish them, each with its interval.

    Real images are those of the reference splits, of a chain its last link's; a generator stands for itself with `samples`
    images.
    """
    from trainers.core.sampling import sample
    from trainers.evaluation.comparison import METRICS, Comparison, interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.evaluator import EVALUATION_SEED
    from trainers.trial import checkpoints

    store = _prepare(store_uri)
    embedding, references = load_embedding(embedding_name), StoredReferences(store)
    if key is None:
        features = references(links(source)[-1], resolution, embedding).features
    else:
        found = last_checkpoint(store, key)
        if found is None:
            raise UserError(f"trial {key} has no checkpoint any more; the same command trains it again")
        generator, latent = checkpoints.generator(checkpoints.load(found[1], found[0]))
        features = embedding(sample(generator, latent, samples, EVALUATION_SEED))
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
    """Return the distances of a plan's sources and targets that the store has: rows of table `distances`, in plan order."""
    known = store.read("distances").drop(columns=["recorded_at", "sweep"])
    identity = embedding_identity(plan.spec.evaluation.embedding)
    known = known[(known["embedding"] == identity) & (known["resolution"] == plan.spec.gan.resolution)]
    sources = {name: i for i, name in enumerate(dict.fromkeys(trial.as_source.name for trial in _sources(plan)))}
    targets = {trial.domain.name for trial in plan.of_kind("adapt")}
    rows: list[Any] = known.astype(object).where(known.notna(), None).to_dict("records")
    kinds = [metric.name for metric in distances()]
    chosen = [row for row in rows if row["source"] in sources and row["target"] in targets and row["kind"] in kinds]
    return sorted(chosen, key=lambda row: (row["target"], row["trial"] or "", sources[row["source"]], kinds.index(row["kind"])))


def _prepare(store_uri: str) -> Store:
    import torch

    torch.set_num_threads(1)
    return open_store(store_uri)
