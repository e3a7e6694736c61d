"""Speed of the metrics compared with clean-fid and torch-fidelity: ``python -m tests.benchmarks.metrics``.

The libraries alternate, so that other load on the machine affects all of them alike; the median over the rounds is reported, in
processor time of all threads together.
Features resemble Inception's: float32, 2,048 dimensions, 5,000 samples of real and of generated images.

Tasks:
    frechet: the Frechet distance of two means and covariances.
    few: FID from the features of `FEW` real and as many generated images, fewer than their dimensions.
    pairs: KID and PRDC; for torch-fidelity KID, precision and recall with its defaults.
    all: those of `pairs`, and FID from the features, each by its own library; without FID's standard error, which
        torch-fidelity lacks.
    whole: our FID, KID and PRDC, compared with torch-fidelity's KID, precision and recall.
    rung: the evaluation at a rung of a trial of the quickstart's size, compared with the training before it, on one thread.
"""

import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from tests.benchmarks.command import make_parser, peak_mib, positive, show
from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Gan
from trainers.domains import get
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.metrics.fid import Statistics, fid
from trainers.evaluation.metrics.fid import statistics as fid_statistics
from trainers.evaluation.metrics.prdc import kid_and_prdc
from trainers.evaluation.references import references
from trainers.trial.images import training_images
from trainers.trial.rung import subject_of

SAMPLES, DIMENSIONS = 5000, 2048

#: Real and generated images of the task `few`.
FEW = 1000

#: By name, `real` or `fake`: float32 (samples, dimensions).
Features = dict[str, np.ndarray]


def clean_fid_frechet(a: Statistics, b: Statistics) -> float:
    """Return the distance computed by clean-fid, with scipy's matrix square root."""
    from cleanfid.fid import frechet_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # clean-fid passes an argument that scipy deprecates
        return float(frechet_distance(a.mean, a.covariance, b.mean, b.covariance))


def torch_fidelity_frechet(a: Statistics, b: Statistics) -> float:
    """Return the distance computed by torch-fidelity, with the eigenvalues of a general matrix."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    moments = ({"mu": side.mean, "sigma": side.covariance} for side in (a, b))
    return float(fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"])


def ours_few(features: Features) -> None:
    """Compute FID of the first features by our functions."""
    fid(*(fid_statistics(features[name][:FEW]) for name in ("real", "fake")))


def clean_fid_few(features: Features) -> None:
    """Compute FID of the first features as clean-fid does."""
    from cleanfid.fid import fid_from_feats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # clean-fid passes an argument that scipy deprecates
        fid_from_feats(*(features[name][:FEW] for name in ("real", "fake")))


def torch_fidelity_few(features: Features) -> None:
    """Compute FID of the first features by torch-fidelity."""
    _torch_fidelity_fid({name: array[:FEW] for name, array in features.items()})


def _torch_fidelity_fid(features: Features) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    moments = (fid_features_to_statistics(torch.from_numpy(features[name])) for name in ("real", "fake"))
    fid_statistics_to_metric(*moments, verbose=False)


def ours_pairs(features: Features) -> None:
    """Compute KID and PRDC by our functions."""
    kid_and_prdc(features["real"], features["fake"])


def torch_fidelity_pairs(features: Features) -> None:
    """Compute KID, precision and recall by torch-fidelity."""
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    sides = [torch.from_numpy(features[name]) for name in ("fake", "real")]
    subset = min(1000, *map(len, sides))
    kid_features_to_metric(*sides, kid_subset_size=subset, verbose=False)
    prc_features_to_metric(*sides, verbose=False)


def ours_all(features: Features) -> None:
    """Compute FID, KID and PRDC by our functions."""
    fid(*(fid_statistics(features[name]) for name in ("real", "fake")))
    ours_pairs(features)


def torch_fidelity_all(features: Features) -> None:
    """Compute FID, KID, precision and recall by torch-fidelity."""
    _torch_fidelity_fid(features)
    torch_fidelity_pairs(features)


#: Generator steps between the two closest rungs of the quickstart.
RUNG = 50

#: The functions to time, by library; those of features also by task.
FRECHET: dict[str, Callable[[Statistics, Statistics], float]] = {
    "ours": fid,
    "clean-fid": clean_fid_frechet,
    "torch-fidelity": torch_fidelity_frechet,
}
OF_FEATURES: dict[str, dict[str, Callable[[Features], None]]] = {
    "few": {"ours": ours_few, "clean-fid": clean_fid_few, "torch-fidelity": torch_fidelity_few},
    "pairs": {"ours": ours_pairs, "torch-fidelity": torch_fidelity_pairs},
    "all": {"ours": ours_all, "torch-fidelity": torch_fidelity_all},
    "whole": {"ours": ours_all, "torch-fidelity": torch_fidelity_pairs},
}


def make_features(samples: int, dimensions: int) -> Features:
    """Return features that resemble Inception's, of real and of generated images, (samples, dimensions) each."""
    from tests.support.features import inception_like

    return {name: inception_like(samples, seed)[:, :dimensions].copy() for seed, name in enumerate(("real", "fake"))}


#: The tasks of features, in the order of measurement.
TASKS = ("frechet", *OF_FEATURES)


def measure(features: Features, rounds: int, chosen: Collection[str] = TASKS) -> Iterator[dict[str, Any]]:
    """Yield one row per task and library.

    `times` is its speed divided by that of the fastest other library, `times_ours` its time divided by ours.
    """
    a, b = (fid_statistics(features[name]) for name in ("real", "fake"))
    distances = {name: function(a, b) for name, function in FRECHET.items()}  # also warms up
    tasks: dict[str, dict[str, Callable[[], object]]] = {
        "frechet": {name: partial(function, a, b) for name, function in FRECHET.items()}
    }
    for task, functions in OF_FEATURES.items():
        tasks[task] = {name: partial(function, features) for name, function in functions.items()}
    for task, calls in ((task, tasks[task]) for task in TASKS if task in chosen):
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                began = time.process_time()
                call()
                seconds[name].append(time.process_time() - began)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        for name, median in medians.items():
            row = {"task": task, "contestant": name, "threads": torch.get_num_threads(), "seconds": median}
            row["times"] = min(other for key, other in medians.items() if key != name) / median
            row["times_ours"] = median / medians["ours"]
            if task == "frechet":
                row["relative_difference"] = abs(distances[name] / distances["ours"] - 1)
            yield row


def rung(rounds: int) -> dict[str, Any]:
    """Return a row with the cost of a rung of the quickstart's adapt trials: sampling, embedding, metrics and sample grid.

    `share` is its seconds divided by those of the `RUNG` training steps before it.
    """
    domain = DomainRef(name="digits", fingerprint=get("digits").fingerprint)
    training = TrainingConfig(steps=10**6, batch=32, critic_steps=2, generator_lr=5e-4, critic_lr=5e-4)
    trial = TrialConfig(
        kind="pretrain", domain=domain, size=500, gan=GanConfig(), training=training, evaluation=EvaluationConfig()
    )
    data, threads = training_images(trial), torch.get_num_threads()
    torch.set_num_threads(1)
    gan = Gan(trial.gan, training, classes=0, seed=0)
    evaluate = Evaluator(trial, data, references, "cpu")
    seconds: dict[str, list[float]] = {"training": [], "evaluation": []}
    with threadpool_limits(1):
        for turn in range(rounds + 1):
            began = time.perf_counter()
            gan.train(data.images, data.labels, gan.step + RUNG)
            trained = time.perf_counter()
            evaluate(subject_of(gan))
            evaluate.grid(subject_of(gan))
            if turn:  # the first round warms up
                seconds["training"].append(trained - began)
                seconds["evaluation"].append(time.perf_counter() - trained)
    torch.set_num_threads(threads)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    share = medians["evaluation"] / medians["training"]
    row = {"task": "rung", "contestant": "ours", "threads": 1, "seconds": medians["evaluation"]}
    return {**row, "training_seconds": medians["training"], "share": share}


def growth(task: str, contestant: str, features: Features) -> float:
    """Return the greatest growth, MiB, of a new process while it runs a library's function once."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in features.items():
            np.save(Path(folder) / f"{name}.npy", array)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(_growth_here, task, contestant, Path(folder)).result()


def _growth_here(task: str, contestant: str, folder: Path) -> float:
    features = {path.stem: np.load(path) for path in folder.iterdir()}
    few = {name: array[:64, :64] for name, array in features.items()}
    OF_FEATURES[task][contestant](few)  # imports at first use do not count
    before = peak_mib()
    OF_FEATURES[task][contestant](features)
    return peak_mib() - before


def main() -> None:
    """Run the benchmark and print one row per task and library."""
    parser = make_parser(
        "metrics", "Measure the metrics, compared with clean-fid and torch-fidelity.", "--rounds 5 --json", rounds=3
    )
    parser.add_argument("--threads", type=positive, default=1, help="threads for each library (%(default)s)")
    tasks = (*TASKS, "rung")
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, metavar="TASK", help=f"some of {', '.join(tasks)}")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        show(_rows(arguments.rounds, arguments.tasks), arguments.json)


def _rows(rounds: int, chosen: Collection[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row and its text."""
    features = make_features(SAMPLES, DIMENSIONS)
    for row in measure(features, rounds, chosen):
        if row["task"] in OF_FEATURES:
            row["peak_mib"] = growth(row["task"], row["contestant"], features)
            detail = f"grows by {row['peak_mib']:.0f} MiB"
        else:
            detail = f"differs from ours by {row['relative_difference']:.1e}"
        text = f"{row['task']:8} {row['contestant']:15} {row['seconds']:7.2f} s  {row['times']:6.2f}x the next  {detail}"
        if (row["task"], row["contestant"]) == ("whole", "ours"):
            text += f"\n         our FID, KID and PRDC are {row['times']:.2f}x as fast as torch-fidelity's KID and PRC"
        yield row, text
    if "rung" not in chosen:
        return
    row = rung(rounds)
    yield row, f"rung     ours            {row['seconds']:7.2f} s  {row['share']:.1%} of the {RUNG} training steps before it"


if __name__ == "__main__":
    main()
