"""Whether the experiments are fair: ``python -m tests.benchmarks.science``; ``--quick``, ``--json``.

Exits 1, naming each row that misses its goal.
"""

import argparse
import sys
from collections.abc import Callable, Iterator

from tests.benchmarks.command import judge
from tests.benchmarks.science import ada, averages, independence, networks, presets, subsets
from tests.benchmarks.science.anchors import anchors
from tests.benchmarks.science.rates import rates
from tests.benchmarks.science.table import Row
from tests.benchmarks.science.trainings import trainings

#: Each study yields its rows; it is given whether to be quick, for the tests.
STUDIES: tuple[Callable[[bool], Iterator[Row]], ...] = (
    trainings, rates, anchors, subsets.study, independence.study, ada.study, presets.study,
    averages.study, networks.study,
)  # fmt: skip


def main() -> None:
    """Measure, print each row as soon as it is known, and exit 1 if one misses its goal."""
    command = "python -m tests.benchmarks.science"
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=f"Example: {command} --quick --json")
    parser.add_argument("--quick", action="store_true", help="fewer seeds and steps, as in the tests")
    parser.add_argument("--json", action="store_true", help="print one JSON object per row")
    arguments = parser.parse_args()
    sys.exit(judge((row for study in STUDIES for row in study(arguments.quick)), arguments.json))


if __name__ == "__main__":
    main()
