"""Whether the report's claims are true: ``python -m tests.benchmarks.truth``; ``--quick``, ``--json``.

Exits 1, naming each row that misses its goal.
"""

import argparse
import sys

from tests.benchmarks.command import judge
from tests.benchmarks.truth.studies import cases, measure
from tests.benchmarks.truth.table import rows

#: Sweeps of each null world, in full and with ``--quick``.
SWEEPS, QUICK = 96, 1


def main() -> None:
    """Measure, print the table, and exit 1 if a row misses its goal."""
    command = "python -m tests.benchmarks.truth"
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=f"Example: {command} --quick --json")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} sweep of each world instead of {SWEEPS}")
    parser.add_argument("--json", action="store_true", help="print one JSON object per row")
    arguments = parser.parse_args()
    chosen = list(cases(QUICK if arguments.quick else SWEEPS))
    sys.exit(judge(rows(list(measure(chosen))), arguments.json))


if __name__ == "__main__":
    main()
