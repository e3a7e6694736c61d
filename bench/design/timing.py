"""Times the steps and the evaluations of a trial on this machine, where no store has measured trials like it."""

import time
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from bench.costs.measured import Measured
from bench.store.environments import machine_details
from trainers.config.trial import TrialConfig

if TYPE_CHECKING:
    from trainers.evaluation.references import References

#: Generator steps that are timed, at least, and the seconds after which no further one is.
FEWEST_STEPS, SECONDS = 2, 2.0


def timed(trial: TrialConfig, references: "References", *, gpu: bool = False, graphs: bool = False) -> Measured:
    """Return the measured times of a trial from its set-up, a few steps and two evaluations, all in this process.

    It starts from random weights, takes one CPU core, and should have more steps than can be taken in `SECONDS`.

    Args:
        trial: a trial of a plan; its source is not needed.
        references: provides the reference of its domain, whose computation does not count.
        gpu, graphs: whether it runs on a GPU, and replays its steps as CUDA graphs.

    Raises:
        UserError: the domain or the embedding cannot be used.
    """
    import scipy.linalg  # noqa: F401 - its BLAS is only limited once it is loaded
    import torch

    from trainers.core.gan import Gan
    from trainers.evaluation.embeddings.loading import load_embedding
    from trainers.evaluation.evaluator import Evaluator
    from trainers.trial.images import training_images
    from trainers.trial.rung import Stopwatch, measured, subject_of

    device = "cuda" if gpu else "cpu"

    def passed(since: float) -> float:
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - since

    with threadpool_limits(1):
        references(trial.domain.name, trial.gan.resolution, load_embedding(trial.evaluation.embedding, device))
        began = time.perf_counter()
        data = training_images(trial)
        classes = len(trial.domain.classes) if trial.conditional else 0
        gan = Gan(trial.gan, trial.training, classes=classes, seed=trial.base_seed, device=device, graphs=graphs)
        evaluate = Evaluator(trial, data, references, device)
        measured(gan, evaluate, {}, began, Stopwatch())
        setup = passed(began)
        gan.train(data.images, data.labels, 1)  # the first step is slower than the others
        began = time.perf_counter()
        while gan.step <= FEWEST_STEPS or passed(began) < SECONDS:
            gan.train(data.images, data.labels, gan.step + 1)
        training, steps = passed(began), gan.step - 1
        began = time.perf_counter()
        measured(gan, evaluate, {}, began, Stopwatch())
        evaluation = passed(began)
        began = time.perf_counter()
        evaluate.at_end(subject_of(gan))
        last = passed(began)
    # Steps, an evaluation, and what the last one adds are apart, so that the fit of `bench.costs.estimate` is exact.
    legs = ((steps, False, training + evaluation), (0, False, evaluation), (0, True, evaluation + last))
    details = machine_details(gpu=gpu)
    return Measured(trial, details["device" if gpu else "processor"], gpu, setup, legs)


def gpu_count() -> int:
    """Return the number of GPUs that PyTorch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
