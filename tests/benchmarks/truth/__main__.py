"""Whether the report's claims are true: ``python -m tests.benchmarks.truth``; ``--quick``, ``--json``.

Exits 1, naming each row that misses its goal.
"""

import argparse
import json
import sys

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
    table = list(rows(list(measure(chosen))))
    for row in table:
        print(json.dumps(row.as_data()) if arguments.json else row.text)
    missed = [row.name for row in table if not row.holds]
    for name in missed:
        print(f"misses its goal: {name}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
