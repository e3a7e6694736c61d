"""How fast the metrics are beside others in the same run: ``python -m tests.benchmarks.metrics``.

The contestants take turns, so that whatever else the machine does falls on all of them; what is told is the median of the
rounds. All run on one thread, or as many as asked for. Features are as Inception's: float32, 2,048 dimensions, 5,000 samples
on either side. Needs the tests' extra and their features, so run it in a checkout.

Tasks:
    frechet: the Frechet distance from two means and covariances.
    pairs: KID and PRDC; torch-fidelity's are KID, precision and recall, at its defaults.
    all: those, and FID from the features; what torch-fidelity does not have, such as FID's standard error, is left out.
    whole: all of that by ours beside KID, precision and recall alone by torch-fidelity.
    rung: all that a trial of the quickstart's size measures at a rung, as a share of the training up to it, on one thread.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from trainers.config.settings import EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Gan
from trainers.domains import get
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.metrics.fid import Statistics, fid
from trainers.evaluation.metrics.fid import statistics as fid_statistics
from trainers.evaluation.metrics.prdc import kid_and_prdc
from trainers.evaluation.references import references
from trainers.trial.run import training_images

SAMPLES = 5000

DIMENSIONS = 2048

Features = dict[str, np.ndarray]


def ours_frechet(a: Statistics, b: Statistics) -> float:
    """Return the distance by ours."""
    return fid(a, b)


def clean_fid_frechet(a: Statistics, b: Statistics) -> float:
    """Return the distance by clean-fid: scipy's matrix square root."""
    from cleanfid.fid import frechet_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an argument of scipy's that clean-fid still gives
        return float(frechet_distance(a.mean, a.covariance, b.mean, b.covariance))


def torch_fidelity_frechet(a: Statistics, b: Statistics) -> float:
    """Return the distance by torch-fidelity: the eigenvalues of a general matrix."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    each = ({"mu": side.mean, "sigma": side.covariance} for side in (a, b))
    return float(fid_statistics_to_metric(*each, verbose=False)["frechet_inception_distance"])


def ours_pairs(features: Features) -> None:
    """Compute KID and PRDC."""
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
    """Compute FID, KID and PRDC."""
    fid(*(fid_statistics(features[name]) for name in ("real", "fake")))
    ours_pairs(features)


def torch_fidelity_all(features: Features) -> None:
    """Compute FID, KID, precision and recall by torch-fidelity."""
    a, b = (fid_statistics(features[name]) for name in ("real", "fake"))
    torch_fidelity_frechet(a, b)
    torch_fidelity_pairs(features)


#: Generator steps between the nearest two rungs of the quickstart.
RUNG = 50

#: By task and contestant, what to time.
FRECHET: dict[str, Callable[[Statistics, Statistics], float]] = {
    "ours": ours_frechet,
    "clean-fid": clean_fid_frechet,
    "torch-fidelity": torch_fidelity_frechet,
}
OF_FEATURES: dict[str, dict[str, Callable[[Features], None]]] = {
    "pairs": {"ours": ours_pairs, "torch-fidelity": torch_fidelity_pairs},
    "all": {"ours": ours_all, "torch-fidelity": torch_fidelity_all},
    "whole": {"ours": ours_all, "torch-fidelity": torch_fidelity_pairs},
}


def make_features(samples: int, dimensions: int) -> Features:
    """Return features as Inception's of real and of generated images, (samples, dimensions) each."""
    from tests.support.features import inception_like

    return {name: inception_like(samples, seed)[:, :dimensions].copy() for seed, name in enumerate(("real", "fake"))}


def measure(features: Features, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row per task and contestant; `times` is how many times as fast as the fastest other one."""
    a, b = (fid_statistics(features[name]) for name in ("real", "fake"))
    distances = {name: contestant(a, b) for name, contestant in FRECHET.items()}  # warms up, too
    tasks: dict[str, dict[str, Callable[[], object]]] = {
        "frechet": {name: partial(contestant, a, b) for name, contestant in FRECHET.items()}
    }
    for task, of_features in OF_FEATURES.items():
        tasks[task] = {name: partial(contestant, features) for name, contestant in of_features.items()}
    for task, contestants in tasks.items():
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, run in contestants.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        for name, median in medians.items():
            row = {"task": task, "contestant": name, "threads": torch.get_num_threads(), "seconds": median}
            row["times"] = min(other for key, other in medians.items() if key != name) / median
            if task == "frechet":
                row["relative_difference"] = abs(distances[name] / distances["ours"] - 1)
            yield row


def rung(rounds: int) -> dict[str, Any]:
    """Return what a rung of the quickstart's adapt trials costs: images drawn, embedded, measured and shown.

    `share` is its seconds over those of the training since the rung before, the nearest two rungs of the quickstart apart.
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
            evaluate(gan)
            evaluate.grid(gan)
            if turn:  # the first warms up
                seconds["training"].append(trained - began)
                seconds["evaluation"].append(time.perf_counter() - trained)
    torch.set_num_threads(threads)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    share = medians["evaluation"] / medians["training"]
    row = {"task": "rung", "contestant": "ours", "threads": 1, "seconds": medians["evaluation"]}
    return {**row, "training_seconds": medians["training"], "share": share}


def growth(task: str, contestant: str, features: Features) -> float:
    """Return by how many MiB a process of its own grows at most while it runs the contestant once."""
    with tempfile.TemporaryDirectory() as folder:
        for name, each in features.items():
            np.save(Path(folder) / f"{name}.npy", each)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(_growth_here, task, contestant, Path(folder)).result()


def _growth_here(task: str, contestant: str, folder: Path) -> float:
    features = {path.stem: np.load(path) for path in folder.iterdir()}
    few = {name: each[:64, :64] for name, each in features.items()}
    OF_FEATURES[task][contestant](few)  # all that is imported at first use is not the contestant's
    before = _peak_mib()
    OF_FEATURES[task][contestant](features)
    return _peak_mib() - before


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where the other way tells a new process its parent's peak
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Measure, and print a row per task and contestant."""
    parser = argparse.ArgumentParser(
        description="Measure the metrics beside clean-fid's and torch-fidelity's.",
        epilog="Example: python -m tests.benchmarks.metrics --rounds 5 --json",
    )
    parser.add_argument("--rounds", type=int, default=3, help="their median is told")
    parser.add_argument("--threads", type=int, default=1, help="for each contestant")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line")
    arguments = parser.parse_args()
    for name in ("rounds", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        _print_all(arguments.rounds, arguments.json)


def _print_all(rounds: int, as_json: bool) -> None:
    features = make_features(SAMPLES, DIMENSIONS)
    for row in measure(features, rounds):
        if row["task"] in OF_FEATURES:
            row["peak_mib"] = growth(row["task"], row["contestant"], features)
            beside = f"grows by {row['peak_mib']:.0f} MiB"
        else:
            beside = f"off ours by {row['relative_difference']:.1e}"
        words = f"{row['task']:8} {row['contestant']:15} {row['seconds']:7.2f} s  {row['times']:6.2f}x the next  {beside}"
        if (row["task"], row["contestant"]) == ("whole", "ours"):
            words += f"\n         so FID, KID and PRDC are {row['times']:.2f}x as fast as torch-fidelity's KID and PRC"
        print(json.dumps(row) if as_json else words, flush=True)
    row = rung(rounds)
    words = f"rung     ours            {row['seconds']:7.2f} s  {row['share']:.1%} of the {RUNG} training steps before it"
    print(json.dumps(row) if as_json else words, flush=True)


if __name__ == "__main__":
    main()
