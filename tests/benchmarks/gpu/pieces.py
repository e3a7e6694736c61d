"""The pieces of the benchmark of a GPU; each yields its rows as it goes. Without a GPU, the same at the smallest sizes."""

import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tests.benchmarks import packing, training

ROOT = Path(__file__).resolve().parents[3]

Row = dict[str, Any]

#: Side of the images whose features are computed, pixels.
SIDE = 64

#: Images per class in each split of the random domain; with ten classes, as many as the paper's LSUN has.
CLASSES, PER_CLASS = 10, {"train": 60, "val": 60}

#: The presets whose networks are trained: those of the paper's size, with and without labels, with the independent critic.
PRESETS = ("full-grid", "paper-conditional", "paper-t1")

#: Changes to a preset for a machine without a GPU.
SMALL: dict[str, Any] = {
    "gan": {"resolution": 8, "width": 4, "latent": 8},
    "training": {"batch": 4, "critic_steps": 1},
    "pretrain": {"batch": 4},
    "evaluation": {"embedding": "builtin", "samples": 64},
    "resources": {"gpus": 0},
}


def tests(device: str, seconds: float, out: Path) -> Iterator[Row]:
    """Run the tests that need a GPU, and yield the outcome of each."""
    report = out / "tests.xml"
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "tests/trainers/test_gpu.py"]
    subprocess.run(run, cwd=ROOT, stdout=sys.stderr, check=False)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        failure = next((child for child in case if child.tag in ("failure", "error")), None)
        skipped = any(child.tag == "skipped" for child in case)
        outcome = "passed" if failure is None and not skipped else "skipped" if skipped else "failed"
        why = {} if failure is None else {"why": (failure.get("message") or "").splitlines()[:1]}
        yield {"test": case.get("name"), "outcome": outcome, "seconds": float(case.get("time") or 0), **why}


def steps(device: str, seconds: float, out: Path) -> Iterator[Row]:
    """Measure training steps against a plain textbook step, in every precision and with CUDA graphs."""
    for size in training.SIZES[device][: 2 if device == "cuda" else 1]:
        yield from training.measure(size, device, rounds=5 if device == "cuda" else 1)


def features(device: str, seconds: float, out: Path) -> Iterator[Row]:
    """Measure the images per second of Inception, with random weights in clean-fid's format."""
    from trainers.evaluation.embeddings.loading import load_embedding

    with TemporaryDirectory() as folder:
        network = load_embedding(f"inception:{inception(Path(folder))}", device)
    count = 16
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    network(images)
    best, until = 0.0, time.perf_counter() + min(seconds / 2, 30 if device == "cuda" else 2)
    while time.perf_counter() < until:
        images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
        began = time.perf_counter()
        network(images)
        best = max(best, count / (time.perf_counter() - began))
        yield {"embedding": "inception", "resolution": SIDE, "images": count, "images_per_s": best}
        count *= 2


def trials(device: str, seconds: float, out: Path) -> Iterator[Row]:
    """Run short trials of the presets' networks on random images, into the store OUT/store; yield the times of each."""
    from bench.costs.measured import measured
    from bench.driver.ledger import Ledger
    from bench.driver.loop import Driver
    from bench.run import in_process
    from bench.store import open_store
    from bench.sweeps.expansion import make_plan
    from bench.sweeps.presets import preset_text
    from bench.sweeps.rows import record
    from bench.sweeps.spec import SweepSpec
    from bench.sweeps.spec_yaml import parse

    store = open_store(str(out / "store"), create=True)
    with TemporaryDirectory() as folder:
        domain = f"folder:{random_images(Path(folder) / 'images')}"
        embedding = f"inception:{inception(Path(folder))}" if device == "cuda" else "builtin"
        rung, known = 50 if device == "cuda" else 2, set[str]()
        for preset in PRESETS:
            data = parse(preset_text(preset))
            changes: dict[str, Any] = {} if device == "cuda" else SMALL
            for section, values in changes.items():
                data[section] = {**data.get(section, {}), **values}
            data |= {"name": f"measured-{preset}", "sources": [domain], "targets": [f"{domain}[fit=pad]"], "sizes": [100]}
            data |= {"strategies": [data["strategies"][0], data["strategies"][-1]], "seeds": [0], "stopping": {"rule": "none"}}
            data["training"] |= {"steps": 4 * rung}
            data["pretrain"] |= {"steps": 4 * rung, "seeds": [0]}
            data["evaluation"] |= {"embedding": embedding, "first_rung": rung, "rung_factor": 4}
            if device == "cpu" and "iw_steps" in data["evaluation"]:
                data["evaluation"]["iw_steps"] = 2
            plan = make_plan(SweepSpec.model_validate(data))
            store.write_sweep(plan.spec.name, record(plan))
            in_process.run_trials(Driver(Ledger.open(plan, store), store))
            of_preset = [timing for timing in measured(store) if timing.trial.key not in known]
            known |= {timing.trial.key for timing in of_preset}
            seconds_of = {"setup_s": [timing.setup_seconds for timing in of_preset], "s": sum(t.seconds for t in of_preset)}
            yield {"preset": preset, "trials": len(of_preset), **seconds_of}


def packed(device: str, seconds: float, out: Path) -> Iterator[Row]:
    """Measure the throughput of several trials at a time on the device."""
    counts = training.PACKED if device == "cuda" else training.PACKED[:2]
    size = training.SIZES[device][-1 if device == "cuda" else 0]
    yield from packing.measure(counts, size, 200, device, seconds / (2 * len(counts)) if device == "cuda" else 0.5)


#: Each piece and its share of the time.
PIECES: dict[str, tuple[Callable[[str, float, Path], Iterator[Row]], float]] = {
    "tests": (tests, 0.2),
    "steps": (steps, 0.2),
    "trials": (trials, 0.35),
    "features": (features, 0.1),
    "packed": (packed, 0.15),
}


class Wrapped(nn.Module):
    """A network as in clean-fid's file: its layers take normalised images (N, 3, 299, 299)."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        """Return the features (N, 2048)."""
        return self.layers(x)


def inception(folder: Path) -> Path:
    """Write Inception v3 in clean-fid's format, with random weights, and return the file."""
    from torchvision.models import inception_v3

    file = folder / "inception-2015-12-05.pt"
    torch.manual_seed(0)
    network = inception_v3(weights=None, aux_logits=False, init_weights=False, transform_input=False).eval()
    network.fc = nn.Identity()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        traced = torch.jit.trace(network, torch.zeros(2, 3, 299, 299), check_trace=False)
        torch.jit.save(torch.jit.script(Wrapped(traced)), str(file))
    return file


def random_images(folder: Path) -> Path:
    """Write random images in folders for splits and classes, and return the folder."""
    pixels = np.random.default_rng(0)
    for split, count in PER_CLASS.items():
        for label in range(CLASSES):
            (folder / split / f"{label}").mkdir(parents=True)
            for number in range(count):
                image = pixels.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(image).save(folder / split / f"{label}" / f"{number}.png", compress_level=0)
    return folder
