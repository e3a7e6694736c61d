"""Measures stored generators in another way: another embedding, more samples, other rungs. Trains nothing."""

from collections.abc import Collection, Sequence

from bench.store import open_store
from bench.store.references import StoredReferences
from bench.store.trial_files import check_checkpoint, generators
from bench.sweeps.rows import measurement_rows
from trainers.common.errors import DamagedError, UserError
from trainers.config.trial import TrialConfig


def measure(
    store_uri: str, sweep: str, key: str, config: str, steps: Sequence[int], last: int | None, metrics: Collection[str],
    cpus: int, gpu: bool,
) -> None:  # fmt: skip
    """Measure a trial's stored generators, and publish the values of each step by themselves.

    Args:
        config: the trial with the wanted evaluation, canonical JSON.
        steps: those whose generators the store has.
        last: the step at which the metrics of the last rung are wanted too; None for none.
        metrics: names of those to publish, with their variants and classes; empty for all.

    Raises:
        UserError: the domain or the embedding differs from what was planned, or no generator is whole.
    """
    import torch

    from trainers.config.metrics import plain_name
    from trainers.evaluation.evaluator import Evaluator
    from trainers.trial import checkpoints
    from trainers.trial.images import training_images
    from trainers.trial.rung import measure_again

    torch.set_num_threads(cpus)
    store = open_store(store_uri, known=True)
    trial = TrialConfig.model_validate_json(config)
    evaluate = Evaluator(trial, training_images(trial), StoredReferences(store), "cuda" if gpu else "cpu")
    paths = generators(store, key)
    damaged = []
    for step in steps:
        data = store.read_file(paths[step])
        try:
            check_checkpoint(store, paths[step], data)
        except DamagedError as error:
            store.set_aside(paths[step], str(error))
            damaged.append(step)
            continue
        rung = measure_again(evaluate, checkpoints.load(data, paths[step]), finished=step == last)
        rows = measurement_rows(trial, rung)
        store.append("measurements", sweep, [row for row in rows if not metrics or plain_name(row["metric"]) in metrics])
    if damaged:
        raise UserError(f"the generator at step {', '.join(map(str, damaged))} is damaged")
