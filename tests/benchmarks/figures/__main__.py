"""All figures of speed, memory and size in one table: ``python -m tests.benchmarks.figures``; ``--only``, ``--profile``.

Each figure is measured by the command that stands beside it, one after another, so the machine should do nothing else. Figures
are medians over the rounds, and ratios to peers are of the same run; those of the driver are of one round, and FID after equal
steps is the mean over five seeds. Exits 1, naming each figure that misses its goal. With five rounds it takes about a quarter
of an hour.
"""

import sys
from pathlib import Path

from tests.benchmarks.command import judge, make_parser
from tests.benchmarks.figures.goals import GROUPS
from tests.benchmarks.figures.profiles import PROFILES, write
from tests.benchmarks.figures.table import table

#: What has no benchmark.
LEFT_OUT = "left out: the seconds of the tests, which `make test` prints; CUDA graphs, which need a GPU (tests.benchmarks.gpu)"


def main() -> None:
    """Print the table and exit 1 if a figure misses its goal, or write the profiles."""
    parser = make_parser("figures", "Measure all figures, compared with those of before.", "--only verbs plan", rounds=5)
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="NAME", help=f"some of {', '.join(GROUPS)}"
    )
    names.add_argument("--profile", type=Path, metavar="DIR", help=f"write profiles instead: {', '.join(PROFILES)}")
    arguments = parser.parse_args()
    if arguments.profile:
        for file in write(arguments.profile):
            print(file, flush=True)
        return
    status = judge(table(arguments.only, arguments.rounds), arguments.json)
    print(LEFT_OUT, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
