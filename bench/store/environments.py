"""Descriptions of the machines and software that trials ran on; each is recorded once per store."""

import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.store import Store
from trainers.config import plugins

PACKAGES = ("transfergan", "torch", "torchvision", "ray", "numpy", "pillow", "scikit-learn", "safetensors")


@cache
def machine_details(*, gpu: bool = False) -> dict[str, Any]:
    """Return package versions, platform, processor, device and git commit; with `gpu`, the GPU's name and memory (MiB)."""
    details: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "device": "cpu",
        "git_commit": _git_commit(),
        "packages": {name: _version(name) for name in PACKAGES} | plugins.packages(),
    }
    if gpu:
        import torch

        details["device"] = torch.cuda.get_device_name()
        details["memory_mib"] = torch.cuda.get_device_properties(0).total_memory / 2**20
    return details


def record_environment(store: Store, sweep: str, *, gpu: bool = False) -> str:
    """Record this machine in the store, unless it is recorded already, and return its content hash."""
    details = json.dumps(machine_details(gpu=gpu), sort_keys=True)
    key = hashlib.sha256(details.encode()).hexdigest()[:16]
    if key not in set(store.read("environments")["environment"]):
        store.append("environments", sweep, [{"environment": key, "details": details}])
    return key


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Return the commit of this checkout, with a "+" if files have changed since; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(  # noqa: S603 - a fixed command
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],  # noqa: S607
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
