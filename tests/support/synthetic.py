"""Realistic stores without training: FIDs from a power law, with trials stopped by halving within cells.

Written with the API of `bench.store`. All values are pure functions of the arguments, so tests can assert numbers.
"""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.store import Store, open_store
from trainers.config.settings import TRAIN

EMBEDDING = "builtin:1a2b3c4d5e6f"
SOURCES = {"letters": 42.0, "numerals": 18.0, "shapes": 95.0, "textures": 160.0}
STRATEGIES = ("scratch", "finetune", "finetune-g", "finetune-d")
_HEAD_START = {"scratch": 0.0, "finetune": 1.6, "finetune-g": 0.25, "finetune-d": 0.9}


def digest(*parts: object) -> str:
    """Return a content hash of the parts, like a trial key."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def uniform(*parts: object) -> float:
    """Return a number in [0, 1) that depends only on the arguments."""
    return int(digest(*parts), 16) / 16**16


def fid(strategy: str, distance: float, size: int, step: int, noise: float = 0.0) -> float:
    """Return a plausible FID: transfer lowers the start, near sources more so; few images raise the limit."""
    near = np.exp(-distance / 80)
    start = 420 / (1 + 3 * _HEAD_START.get(strategy, 1.2) * near)
    floor = (10 + 240 / size**0.5) * (1 - 0.35 * _HEAD_START.get(strategy, 1.2) / 1.6 * near)
    return float((floor + (start - floor) * (1 + step / 25) ** -0.9) * (1 + 0.12 * (noise - 0.5)))


@cache
def grid(resolution: int, seed: int, sharpness: float) -> bytes:
    """Return a PNG of 8x4 images: bright rings on a dark background, mixed with noise the less sharp they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:resolution, 0:resolution] / resolution
    rows = []
    for _ in range(4):
        row = []
        for _ in range(8):
            (cy, cx), radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.3)
            ring = np.exp(-(((np.hypot(y - cy, x - cx) - radius) / 0.08) ** 2))
            image = sharpness * ring[..., None] * rng.uniform(0.5, 1, 3) + (1 - sharpness) * rng.uniform(0, 1, (*ring.shape, 3))
            row.append((255 * image).astype(np.uint8))
        rows.append(np.concatenate(row, axis=1))
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(stream, "PNG")
    return stream.getvalue()


def build(
    root: Path,
    *,
    sweep: str = "quickstart",
    sources: Mapping[str, float] | None = None,
    targets: Sequence[str] = ("digits",),
    sizes: Sequence[int] = (50, 500),
    strategies: Sequence[str] = STRATEGIES,
    seeds: Sequence[int] = (0,),
    conditional: Sequence[bool] = (False,),
    resolution: int = 16,
    embeddings: Sequence[str] = (EMBEDDING,),
    rungs: Sequence[int] = (50, 100, 200),
    keep: float = 0.5,
    faults: bool = False,
    images: bool = True,
    width: int = 16,
    classes: Sequence[str] = (),
    raw: bool = False,
    reference: str = "held-out",
) -> Store:
    """Write one sweep into the store at `root` and return the store.

    Args:
        sources: distance to the targets by source name.
        keep: share of a cell that passes a rung, apart from scratch, which always does; with 1 no trial stops.
        classes: classes of the conditional trials; the FID of class k is 1 + k / 10 times the total.
        reference: `evaluation.reference` of all trials.
        raw: whether the generator is also measured without its moving average, with 1.25 times the FID.
        faults: whether one trial diverges, one fails, one is blocked, one unfinished and one pending, in the order of the plan.
    """
    sources = dict(SOURCES if sources is None else sources)
    store = open_store(str(root), create=True)
    budget = rungs[-1]
    environment = digest("machine")
    gan = {"resolution": resolution, "base": 4, "width": width}

    def config(**own: Any) -> str:
        evaluation = {"samples": 1000, **({"reference": reference} if reference != "held-out" else {})}
        return json.dumps({"gan": gan, "training": {"steps": budget}, "evaluation": evaluation, **own})

    pretrain = {}
    for source in sources:
        key = digest("pretrain", source, gan)
        pretrain[source] = {
            "key": key, "kind": "pretrain", "source": source, "target": None, "size": 2000, "strategy": None, "seed": 0,
            "conditional": False, "cell": None, "parent": None, "resolution": resolution, "budget": budget,
            "config": config(kind="pretrain"),
        }  # fmt: skip
    adapt = []
    for target, size, cond, seed, strategy in product(targets, sizes, conditional, seeds, strategies):
        for source in [None] if strategy == "scratch" else sources:
            row = {
                "kind": "adapt", "source": source, "target": target, "size": size, "strategy": strategy, "seed": seed,
                "conditional": cond, "resolution": resolution, "budget": budget, "config": config(kind="adapt"),
            }  # fmt: skip
            row["cell"] = digest(target, size, cond, gan, budget)
            row["parent"] = pretrain[source]["key"] if source else None
            adapt.append({"key": digest(sorted(row.items(), key=str)), **row})
    store.write_sweep(sweep, {"spec": {"name": sweep}, "trials": [*pretrain.values(), *adapt]})

    odd: dict[str, str] = {}
    if faults:
        odd = dict(zip((r["key"] for r in adapt[2:]), ("diverged", "failed", "blocked", "unfinished", "pending"), strict=False))

    def curve(row: Mapping[str, Any], step: int) -> float:
        near = uniform("target", row["source"], row["target"]) * 8
        distance = sources[row["source"]] + near if row["source"] else 0.0
        harder = 1 + 0.4 * targets.index(row["target"])
        return harder * fid(row["strategy"], distance, row["size"], step, uniform(row["key"], step))

    suffix = TRAIN if reference == "train" else ""
    reached = _halve(adapt, rungs, keep, odd, curve)
    trials, measurements, files = [], [], {}
    for row in [*pretrain.values(), *adapt]:
        status, steps = ("done", budget) if row["kind"] == "pretrain" else reached[row["key"]]
        if row["kind"] == "adapt":
            for step, embedding in product([s for s in (0, *rungs) if s <= steps], embeddings):
                scale = 1 + embeddings.index(embedding)
                value = scale * curve(row, step)
                if status == "diverged" and step == steps:
                    value = float("nan")
                common = {
                    "trial": row["key"], "step": step, "embedding": embedding, "view": f"{embedding}/1000{suffix}",
                    "version": "1", "samples": 1000, "images_seen": step * 160, "seconds": 0.13 * step,
                }  # fmt: skip
                measurements.append({**common, "metric": "fid", "value": value})
                for number, name in enumerate(classes if row["conditional"] else ()):
                    by_class = {"metric": f"fid/{name}", "value": value * (1 + number / 10), "samples": 100}
                    measurements.append({**common, **by_class})
                if classes and row["conditional"]:
                    mean = value * (1 + (len(classes) - 1) / 20)
                    measurements.append({**common, "metric": "intra_fid", "value": mean})
                if raw:
                    measurements.append({**common, "metric": "fid_raw", "value": 1.25 * value})
                measurements.append({**common, "metric": "kid", "value": value / 900 - 0.002, "standard_error": 0.004})
                others = {"recall": 9 / (9 + value), "diversity": 1 - value / 400, "memorisation": 0.4}
                measurements += [{**common, "metric": name, "value": v, "standard_error": 0.01} for name, v in others.items()]
        if status in ("unfinished", "pending"):
            continue
        record = {
            **row, "status": status, "steps": steps, "seconds": 0.13 * steps, "environment": environment,
            "peak_memory_mib": 512.0, "images_per_second": 1200 + 90 * uniform(row["key"]), "error": _ERRORS.get(status),
        }  # fmt: skip
        if images and row["kind"] == "adapt" and status in ("done", "stopped"):
            for step in (rungs[0], steps):  # as if no grids in between had been kept
                record |= {"samples": f"samples/{row['key']}-{step:08d}.png", "real_samples": f"samples/real-{resolution}.png"}
                files[record["samples"]] = grid(resolution, 7, round(20 / (20 + curve(row, step)), 1))
            files[record["real_samples"]] = grid(resolution, 99, 1.0)
        trials.append(record)
    for name, data in files.items():
        store.write_file(name, data)
    store.append("trials", sweep, trials)
    store.append("measurements", sweep, measurements)
    store.append("distances", sweep, _distances(pretrain, sources, targets, embeddings, resolution))
    versions = {"python": "3.11.2", "torch": "2.11.0", "ray": "2.60.0"}
    details = {"versions": versions, "platform": "Linux", "device": "cpu", "git_commit": "d43787a0"}
    store.append("environments", sweep, [{"environment": environment, "details": json.dumps(details)}])
    return store


_ERRORS = {
    "diverged": "the critic's loss is not finite at step 50",
    "failed": "RuntimeError: out of memory while allocating 512 MiB",
    "blocked": "its parent failed: RuntimeError: out of memory",
}


def _halve(
    adapt: Sequence[Mapping[str, Any]], rungs: Sequence[int], keep: float, odd: Mapping[str, str], curve: Any
) -> dict[str, tuple[str, int]]:
    """Return the status and last step of each trial; the best share of a cell's transfer trials passes each rung."""
    reached = {}
    cells = defaultdict(list)
    for row in adapt:
        status = odd.get(row["key"])
        if status is None:
            cells[row["cell"]].append(row)
        else:
            steps = {"diverged": rungs[0], "failed": 0, "blocked": -1, "unfinished": rungs[0], "pending": -1}[status]
            reached[row["key"]] = (status, steps)
    for rows in cells.values():
        live = [row for row in rows if row["strategy"] != "scratch"]
        for rung in rungs[:-1]:
            live.sort(key=lambda row: curve(row, rung))
            cut = max(1, round(keep * len(live)))
            reached |= {row["key"]: ("stopped", rung) for row in live[cut:]}
            live = live[:cut]
        reached |= {row["key"]: ("done", rungs[-1]) for row in rows if row["key"] not in reached}
    return reached


def _distances(
    pretrain: Mapping[str, Mapping[str, Any]],
    sources: Mapping[str, float],
    targets: Sequence[str],
    embeddings: Sequence[str],
    resolution: int,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for (source, base), target, embedding in product(sources.items(), targets, embeddings):
        value = (base + uniform("target", source, target) * 8) * (1 + embeddings.index(embedding))
        both = {"source": source, "target": target, "resolution": resolution, "embedding": embedding}
        both |= {"source_samples": 1000, "target_samples": 500}
        rows.append({**both, "trial": None, "kind": "fid", "value": value})
        rows.append({**both, "trial": None, "kind": "kid", "value": value / 900, "low": value / 950, "high": value / 850})
        rows.append({**both, "trial": pretrain[source]["key"], "kind": "fid", "value": value * 1.15 + 12})
        rows.append({**both, "trial": None, "kind": "recall", "value": 9 / value, "low": 8 / value, "high": 10 / value})
    return rows
