"""Counts the simulated runs of several drivers on one store that crash or differ from an undisturbed run.

    python -m tests.benchmarks.several_drivers --seeds 1000

See `tests.support.several_drivers`. Prints a line for each kind of run; exits with 1 if anything differs.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support.several_drivers import CROWDS, compare


def main() -> int:
    """Run the simulations, and return the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=100, help="runs of each kind")
    arguments.add_argument("--first", type=int, default=0, help="the first seed")
    arguments.add_argument("--folder", type=Path, help="where the stores are made, such as a disk in memory")
    given = arguments.parse_args()
    failed = False
    for crowd, plans in CROWDS.items():
        began = time.perf_counter()
        crashed, differing, examples = 0, 0, []
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            for seed in range(given.first, given.first + given.seeds):
                wrong = compare(Path(folder), seed, plans)
                crashed += any(line.startswith("crash") for line in wrong)
                differing += bool(wrong) and not any(line.startswith("crash") for line in wrong)
                examples += [f"  seed {seed}: {line}" for line in wrong[:1]]
        seconds = time.perf_counter() - began
        print(f"{crowd}: {given.seeds} runs, {crashed} crashed, {differing} others differ, {seconds:.0f} s", flush=True)
        print(*examples[:5], sep="\n", end="\n" if examples else "")
        failed |= bool(examples)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
