"""Measure a GPU in one command: ``python -m tests.benchmarks.gpu --minutes 8 --out DIR``.

Each piece (the tests that need a GPU, training steps, short trials of the presets' networks, features, packing) is a process
that is ended when its share of the time is over, so that one failure or hang costs no other piece. DIR/DEVICE.json has all
rows, and the times that `transfergan plan` and `simulate` read: ``transfergan plan full-grid --timings DIR/DEVICE.json``. Needs
neither Ray nor data nor weights. Without a GPU it measures the smallest sizes on the CPU.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.command import positive
from tests.benchmarks.gpu.pieces import PIECES, ROOT, Row

#: Seconds at the end that no piece gets: to end the last one, and to write the file.
MARGIN = 10.0

#: Lines of a failed piece's output that are kept.
KEPT = 5


def main() -> None:
    """Measure, print a table, write the file, and exit 1 naming each piece that failed or did not end."""
    command = "python -m tests.benchmarks.gpu"
    parser = argparse.ArgumentParser(
        prog=command, description=__doc__, epilog=f"Example: {command} --minutes 8 --out measured",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the file and of the store; made if it is missing")
    parser.add_argument("--pieces", nargs="+", choices=sorted(PIECES), default=list(PIECES), help="by default all")
    parser.add_argument("--piece", choices=sorted(PIECES), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=positive, default=60, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.piece:
        torch.set_num_threads(1)
        for row in PIECES[arguments.piece][0](device, arguments.seconds, arguments.out.resolve()):
            print(json.dumps(row), flush=True)
        return
    sys.exit(1 if measure(device, arguments.pieces, 60 * arguments.minutes, arguments.out) else 0)


def measure(device: str, pieces: list[str], seconds: float, out: Path) -> list[str]:
    """Run the pieces, write the file after each, and return the names of those that failed or did not end."""
    end = time.monotonic() + seconds - MARGIN
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    file = out / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "pieces": {}}
    failed = []
    for i, piece in enumerate(pieces):
        shares = [PIECES[later][1] for later in pieces[i:]]
        part = max(1.0, (end - time.monotonic()) * shares[0] / sum(shares))
        status, rows, why = run(piece, part, out)
        result["pieces"][piece] = {"status": status, "rows": rows, **({"why": why} if why else {})}
        print(f"{piece}: {status}", *lines(rows), *why, sep="\n  ", flush=True)
        if status != "done" or any(row.get("outcome") == "failed" for row in rows):
            failed.append(piece)
        file.write_text(json.dumps(result, indent=1))
    result["timings"] = timings(out / "store")
    file.write_text(json.dumps(result, indent=1))
    print(f"{file}" + (f"; not whole: {', '.join(failed)}" if failed else ""))
    return failed


def run(piece: str, seconds: float, out: Path) -> tuple[str, list[Row], list[str]]:
    """Run a piece in a process of its own for at most some seconds; return how it ended, its rows and its last messages."""
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--piece", piece]
    command += ["--seconds", str(max(1, int(seconds))), "--out", str(out.resolve())]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started
        output, errors = process.communicate()
        status = f"ended after {seconds:.0f} s"
    else:
        status = "failed" if process.returncode else "done"
    rows = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    return status, rows, errors.strip().splitlines()[-KEPT:] if status == "failed" else []


def timings(store: Path) -> dict[str, Any]:
    """Return the times of the trials in a store, as `bench.costs.timings` reads them, without paths of this machine."""
    from bench.costs.measured import measured
    from bench.costs.timings import as_data
    from bench.store import open_store

    if not store.exists():
        return as_data([])
    data = as_data(measured(open_store(str(store))))
    for trial in data["trials"]:
        config = trial["trial"]
        config["evaluation"]["embedding"] = config["evaluation"]["embedding"].partition(":")[0]
        for domain in (config["domain"], *([config["source"]] if config.get("source") else [])):
            domain["name"] = "random"
    return data


def lines(rows: list[Row]) -> list[str]:
    """Return a line per row, but of the tests only for those that failed, after one with the numbers."""
    outcomes = Counter(row["outcome"] for row in rows if "outcome" in row)
    shown = [row for row in rows if row.get("outcome", "failed") == "failed"]
    return [*([", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())] if outcomes else []), *map(text, shown)]


def text(row: Row) -> str:
    """Return a row as one line."""
    return "  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items())


if __name__ == "__main__":
    main()
