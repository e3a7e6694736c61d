"""What the harness adds to training: ``python -m tests.benchmarks.overhead``.

A sweep of trials that take no time, with everything that is done for a real trial, is compared with a random search of Ray Tune
that writes nothing: time and growth of the driver's memory, for each 1,000 trials. Then training is compared with and without
the checkpoints between rungs. Compared runs alternate; medians over the rounds are reported.
"""

from collections.abc import Iterator
from typing import Any

from tests.benchmarks.command import make_parser, positive, show
from tests.benchmarks.overhead import checkpoints, sweeps

#: Pairs of trainings, with and without checkpoints.
PAIRS = 5


def main() -> None:
    """Run the benchmark and print a row per 1,000 trials, one for all of them, and one for a checkpoint."""
    parser = make_parser(
        "overhead",
        "Measure the driver's time and memory per 1,000 trials beside plain Ray Tune, and what a checkpoint costs.",
        "--trials 20000 --rounds 1 --json",
        rounds=1,
    )
    parser.add_argument("--trials", type=positive, default=2000, help="trials of a sweep; 20000 take an hour (%(default)s)")
    arguments = parser.parse_args()
    show(rows(arguments.trials, arguments.rounds), arguments.json)


def rows(trials: int, rounds: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row and its text."""
    text = "trials {from:6,} to {to:6,}: {harness_ms:5.1f} ms each ({harness_cpu_ms:.1f} ms of the driver's processor), "
    text += "plain {plain_ms:5.1f} ms ({plain_cpu_ms:.1f} ms): {times_plain:.2f}x; "
    text += "driver {harness_mib:+6.1f} MiB, plain {plain_mib:+6.1f} MiB; growth of the time {growth:.2f}x"
    for row in sweeps.measure(trials, rounds):
        yield row, text.format(**row) + (f"; {row['harness_kib']:.1f} KiB a trial" if "harness_kib" in row else "")
    row = checkpoints.measure(PAIRS)
    text = "a checkpoint costs {checkpoint_ms:.1f} ms of training (a step {step_ms:.1f} ms): "
    text += "{share:.3%} with one in {every_s:.0f} s"
    yield row, text.format(**row)


if __name__ == "__main__":
    main()
