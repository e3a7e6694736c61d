"""Measures what a source's networks make of the targets: the predictors that a sweep names, beside the distances of images."""

from typing import Any

from bench.driver.ledger import Ledger
from bench.store import Store
from bench.store.references import StoredReferences
from bench.store.trial_files import last_checkpoint
from bench.sweeps.plan import Plan
from bench.worker.distances import ends, prepare, rows_of
from trainers.common.errors import UserError
from trainers.config.predictors import PredictorName
from trainers.config.settings import TrainingConfig

#: A source's name, the key of its pretrain trial, and the targets with the predictors that the store lacks.
Task = tuple[str, str, tuple[tuple[str, tuple[PredictorName, ...]], ...]]


def missing(plan: Plan, ledger: Ledger, store: Store) -> list[Task]:
    """Return what the store lacks of the plan's predictors."""
    if not plan.spec.predictors:
        return []
    rows = rows_of(plan, store, "distances")
    done = set(zip(rows["source"], rows["trial"], rows["target"], rows["kind"], strict=True))
    targets = tuple(dict.fromkeys(trial.domain.name for trial in plan.of_kind("adapt")))
    tasks: list[Task] = []
    for source, key in ends(plan, ledger):
        if key is None:
            continue
        lacking = {
            target: tuple(kind for kind in plan.spec.predictors if (source, key, target, kind) not in done)
            for target in targets
        }
        if any(lacking.values()):
            tasks.append((source, key, tuple((target, kinds) for target, kinds in lacking.items() if kinds)))
    return tasks


def measure(
    store_uri: str, sweep: str, embedding_name: str, resolution: int, samples: int, training: str, source: str, key: str,
    targets: tuple[tuple[str, tuple[PredictorName, ...]], ...],
) -> None:  # fmt: skip
    """Measure predictors of one source for the targets and publish them, each with its interval, as rows of `distances`.

    Args:
        samples: generated images behind each FID of a probe; recorded of all rows, as of those of the source's distances.
        training: the settings of the adaptations, as JSON.
        key: key of the source's pretrain trial.

    Raises:
        UserError: the trial has no checkpoint.
    """
    from trainers.evaluation.comparison import interval
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.trial import checkpoints, responses

    store = prepare(store_uri)
    embedding, references = load_embedding(embedding_name), StoredReferences(store)
    checkpoint = last_checkpoint(store, key)
    if checkpoint is None:
        raise UserError(f"trial {key} has no checkpoint any more; the same command trains it again")
    name, data = checkpoint
    loaded = checkpoints.load(data, name)
    rows: list[dict[str, Any]] = []
    for target, kinds in targets:
        reference = references(target, resolution, embedding)
        for kind in kinds:
            settings = TrainingConfig.model_validate_json(training)
            estimate, used = responses.respond(kind, loaded, target, settings, reference, embedding, samples)
            row = {"source": source, "target": target, "trial": key, "resolution": resolution, "embedding": embedding.identity}
            row |= {"kind": kind, "source_samples": samples, "target_samples": used}
            rows.append({**row, **interval(kind, estimate)})
    store.append("distances", sweep, rows)
