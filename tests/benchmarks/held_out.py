"""Whether the named winner is the best on images that no trial, reference or choice has seen.

``python -m tests.benchmarks.held_out --data DIR --out DIR [--json]`` trains small GANs on six small real targets from three
sources (`tests.benchmarks.held_out_trials`) and keeps each one's features, so it can be interrupted and run again.

Each row is over random draws of reference images from the images of a target that no training has seen. The rest are held out,
and say which method is best. The rules: ``before``, the lowest mean FID over seeds; ``after``, the lowest mean log2 FID;
``folds``, the same with each seed measured against other images; ``recommend``, the first recommendation from the other
targets; ``random``, any method. The columns:

    reference   images in a draw
    best        share of draws in which the named winner is the best on the held-out images
    near        as `best`, or within 1.96 standard errors of it: of seeds (pooled over methods) and of the held-out images
    close       as `best`, or its held-out FID is at most 5 % higher
    regret      geometric mean of the winner's held-out FID over that of the best
    told        share of draws in which the winner is told apart from scratch, with Holm's correction over all methods:
                ``after`` by Welch's test with the variance of the reference, ``before`` by Student's, pooled and without it
    wrong       of all differences from scratch that are told apart, the share with the other sign on the held-out images
    contains    share of draws in which the held-out best is the winner or not told apart from it
    apart       mean share of the other methods that are told apart from the winner
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from analysis.comparison.intervals import holm
from analysis.comparison.reference_error import log_variance
from analysis.prediction import recommender
from tests.benchmarks.command import positive, show
from tests.benchmarks.held_out_trials import SEEDS, SIZE, SOURCES, STRATEGIES, TARGETS, Job, jobs, train_all
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.strategies import get_strategy
from trainers.evaluation.metrics.fid import fid, fid_estimate, statistics

#: Images in a draw of the reference: one in five and one in two of 200.
REFERENCES = (40, 100)

#: Level of the tests, draws for which `recommend` is asked, and the ratio of FIDs that counts as close.
LEVEL, RECOMMENDED, CLOSE = 0.05, 20, 1.05

#: A strategy and its source.
Method = tuple[str, str | None]

METHODS: tuple[Method, ...] = tuple(
    (strategy, source) for strategy in STRATEGIES for source in (SOURCES if get_strategy(strategy).needs_source else (None,))
)

SCRATCH = METHODS.index(("scratch", None))


@dataclass(frozen=True)
class Measured:
    """log2 FID of a target's trials on each draw of the reference, with methods in the order of `METHODS`.

    Attributes:
        named: of the reference (draws, methods, seeds).
        folds: the same, each seed against other images.
        held_out: of the remaining images (draws, methods, seeds).
        replicates: of the reference (draws, methods, seeds, B), as FID.
        distances: FID of each source's images to the reference (draws, sources).
        size, images: number of reference images and of held-out images.
    """

    named: NDArray[np.float64]
    folds: NDArray[np.float64]
    held_out: NDArray[np.float64]
    replicates: NDArray[np.float32]
    distances: NDArray[np.float64]
    size: int
    images: int


def measure(out: Path, target: str, seeds: Sequence[int], size: int, draws: int) -> Measured:
    """Measure a target's trials on draws of `size` reference images; the result is kept in a file."""
    file = out / f"{target}-{size}-{draws}-{len(seeds)}.measured.npz"
    if not file.exists():
        pool = np.load(out / f"{target}.features.npy")[SIZE:]
        generated = [[np.load(out / Job(target, SIZE, *method, seed).name) for seed in seeds] for method in METHODS]
        known = [[statistics(features) for features in of_method] for of_method in generated]
        sources = [statistics(np.load(out / f"{source}.features.npy")) for source in SOURCES]
        rows: list[tuple[np.ndarray, ...]] = []
        for draw in range(draws):
            order = np.random.default_rng(derive_seed("held out draw", target, draw)).permutation(len(pool))
            reference, rest = pool[order[:size]], statistics(pool[order[size:]])
            folds = [statistics(pool[order[size * k : size * (k + 1)]]) for k in range(len(seeds))]
            found = [[fid_estimate(reference, features, folds[0]) for features in of_method] for of_method in generated]
            rows.append(
                (
                    np.log2([[estimate.value for estimate in of_method] for of_method in found]),
                    np.log2([[fid(fold, of) for fold, of in zip(folds, of_method, strict=True)] for of_method in known]),
                    np.log2([[fid(rest, of) for of in of_method] for of_method in known]),
                    np.array([[estimate.replicates for estimate in of_method] for of_method in found]),
                    np.array([fid(folds[0], source) for source in sources]),
                )
            )
        names = ("named", "folds", "held_out", "replicates", "distances")
        with file.open("wb") as sink:
            np.savez(
                sink,
                size=size,
                images=len(pool) - size,
                **{n: np.stack(a) for n, a in zip(names, zip(*rows, strict=True), strict=True)},
            )
    with np.load(file) as arrays:
        return Measured(**{name: arrays[name] if arrays[name].ndim else int(arrays[name]) for name in arrays.files})


def p_values(named: NDArray[np.float64], replicates: NDArray[np.float32], to: int, *, before: bool) -> NDArray[np.float64]:
    """Return Holm-corrected p-values (methods,) of the difference of each method to one of them, NaN for itself.

    Welch's test of log2 FID (methods, seeds), with the variance over draws of the reference from the replicates
    (methods, seeds, B), whose degrees of freedom are B - 1. With `before`: Student's, seeds' variance pooled over methods.
    """
    seeds, count = named.shape[1], replicates.shape[2]
    variance_within = float(named.var(axis=1, ddof=1).mean())
    p = np.full(len(named), np.nan)
    for i in range(len(named)):
        if i == to:
            continue
        if before:
            variance, freedom = 2 * variance_within / seeds, float(len(named) * (seeds - 1))
        else:
            terms = [named[i].var(ddof=1) / seeds, named[to].var(ddof=1) / seeds, log_variance(replicates[i], replicates[to])]
            variance = sum(terms)
            freedom = variance**2 / sum(t**2 / f for t, f in zip(terms, (seeds - 1, seeds - 1, count - 1), strict=True))
        p[i] = 2 * stats.t.sf(abs(named[i].mean() - named[to].mean()) / np.sqrt(variance), freedom)
    return holm(pd.Series(p)).to_numpy()


def judge(measured: Measured, winners: NDArray[np.intp], draws: int) -> dict[str, NDArray[np.float64]]:
    """Return by draw whether a winner is the best on the held-out images, near it, close to it, and the regret (log2)."""
    truth, seeds = measured.held_out[:draws].mean(2), measured.held_out.shape[2]
    best, each = truth.argmin(1), np.arange(draws)
    regret = truth[each, winners] - truth[each, best]
    of_seeds = 2 * float(measured.held_out.mean(0).var(axis=1, ddof=1).mean()) / seeds
    shares = measured.size / measured.images
    of_images = [
        shares * log_variance(measured.replicates[i, winners[i]], measured.replicates[i, best[i]]) if regret[i] else 0.0
        for i in each
    ]
    near = regret <= 1.96 * np.sqrt(of_seeds + np.array(of_images))
    return {"best": regret == 0, "near": near, "close": regret <= np.log2(CLOSE), "regret": regret}


def tested(measured: Measured, winners: NDArray[np.intp], *, before: bool) -> dict[str, NDArray[np.float64]]:
    """Return by draw the columns that need a test; `wrong` has an entry for each difference from scratch that is told apart."""
    columns: dict[str, list[Any]] = {"told": [], "wrong": [], "contains": [], "apart": []}
    truth = measured.held_out.mean(2)
    for draw, winner in enumerate(winners):
        named, replicates = measured.named[draw], measured.replicates[draw]
        from_scratch, from_winner = (p_values(named, replicates, to, before=before) < LEVEL for to in (SCRATCH, winner))
        means = named.mean(1)
        signs = np.sign(means - means[SCRATCH]) == np.sign(truth[draw] - truth[draw][SCRATCH])
        columns["told"].append(from_scratch[winner])
        columns["wrong"] += list(~signs[from_scratch])
        columns["contains"].append(not from_winner[truth[draw].argmin()])
        columns["apart"].append(from_winner.sum() / (len(METHODS) - 1))
    return {name: np.array(values, float) for name, values in columns.items()}


def winners_of(values: NDArray[np.float64], *, before: bool) -> NDArray[np.intp]:
    """Return the method with the lowest mean FID (`before`) or mean log2 FID by draw, from log2 FID (draws, methods, seeds)."""
    return (np.exp2(values).mean(2) if before else values.mean(2)).argmin(1)


def recommended(measured: Mapping[str, Measured], target: str, draw: int) -> int:
    """Return the method that `recommend` ranks first for a target from the gains on the other targets."""
    common = {
        "cells": 1,
        "seeds": 1,
        "trials": 1,
        "images": np.nan,
        "estimated": 0,
        "step": 1,
    }  # the prediction does not depend on them
    rows = [
        {
            **common, "strategy": strategy, "source": source, "source_label": source, "target": other,
            "gain": float(of.named[draw, SCRATCH].mean() - of.named[draw, i].mean()),
            "distance": of.distances[draw, list(SOURCES).index(source)],
            "own_fid": np.nan,
        }
        for other, of in measured.items()
        for i, (strategy, source) in enumerate(METHODS)
        if source is not None and other != target
    ]  # fmt: skip
    distances = dict(zip(SOURCES, measured[target].distances[draw], strict=True))
    first = recommender.ranked(pd.DataFrame(rows), distances).iloc[0]
    return METHODS.index((first["strategy"], first["source"]))


def table(out: Path, seeds: Sequence[int], draws: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table for the targets whose trials are all there, and rows by target for the present rule."""
    present = [
        t for t in TARGETS if all((out / Job(t, SIZE, *method, seed).name).exists() for method in METHODS for seed in seeds)
    ]
    few = min(draws, RECOMMENDED)
    for size in REFERENCES:
        measured = {target: measure(out, target, seeds, size, draws) for target in present}
        named = {name: [] for name in ("before", "after", "recommend", "folds", "random")}
        by_target: list[dict[str, Any]] = []
        for target, of in measured.items():
            for rule, before in (("before", True), ("after", False)):
                winners = winners_of(of.named, before=before)
                named[rule].append(judge(of, winners, draws) | tested(of, winners, before=before))
            named["folds"].append(judge(of, winners_of(of.folds, before=False), draws))
            if len(measured) > recommender.FEWEST_TARGETS:
                first = np.array([recommended(measured, target, draw) for draw in range(few)])
                named["recommend"].append(judge(of, first, few))
            one_by_one = [judge(of, np.full(draws, i), draws) for i in range(len(METHODS))]
            named["random"].append({name: np.mean([each[name] for each in one_by_one], 0) for name in one_by_one[0]})
            by_target.append({"target": target, "held_out": of.images, **_means([named["after"][-1]])})
        for rule, judged in named.items():
            if judged:
                reference = f"{len(seeds)} x {size}" if rule == "folds" else str(size)
                yield {"reference": reference, "rule": rule, "targets": len(judged), "seeds": len(seeds), **_means(judged)}
        for row in by_target:
            yield {"reference": str(size), "rule": "after", "seeds": len(seeds), **row}


def _means(judged: Sequence[Mapping[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Return the mean of each column, targets having equal weights except in `wrong`; the regret is a ratio."""
    row = {}
    for name in judged[0]:
        columns = [each[name] for each in judged]
        if name == "wrong":
            columns = [np.concatenate(columns)]
        row[name] = float(np.mean([column.mean() for column in columns])) if all(map(len, columns)) else float("nan")
    return {**row, "regret": float(np.exp2(row["regret"]))}


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.held_out",
        description="Compare the named winner with the best on held-out real images.",
        epilog="Example: python -m tests.benchmarks.held_out --data images --out /tmp/held-out --json",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of the archives that are the targets and sources"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for trained sources and features")
    parser.add_argument("--seeds", type=positive, default=len(SEEDS), help="trials of each method (%(default)s), 2 or more")
    parser.add_argument("--draws", type=positive, default=100, help="draws of reference images (%(default)s)")
    parser.add_argument("--processes", type=positive, default=2, help="trials at a time, one thread each (%(default)s)")
    parser.add_argument("--measure-only", action="store_true", help="train nothing; leave out targets that lack trials")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    arguments = parser.parse_args()
    seeds = tuple(range(arguments.seeds))
    torch.set_num_threads(1)
    with threadpool_limits(1):
        try:
            for line in [] if arguments.measure_only else train_all(
                arguments.data, arguments.out, list(jobs(seeds)), arguments.processes
            ):  # fmt: skip
                print(line, file=sys.stderr, flush=True)
        except UserError as error:
            sys.exit(f"error: {error}")
        show(((row, _text(row)) for row in table(arguments.out, seeds, arguments.draws)), arguments.json)


def _text(row: Mapping[str, Any]) -> str:
    columns = {name: row[name] for name in ("best", "near", "close", "told", "wrong", "contains", "apart") if name in row}
    shares = "  ".join(f"{name} {value:4.0%}" for name, value in columns.items() if value == value)
    over = f"{row['target']}, {row['held_out']:,} held out" if "target" in row else f"{row['targets']} targets"
    return f"{row['reference']:>7}  {row['rule']:9}  {over:26}  regret x{row['regret']:.3f}  {shares}"


if __name__ == "__main__":
    main()
