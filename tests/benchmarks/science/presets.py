"""Whether the paper's presets train as its authors did, and measure what its tables hold."""

from collections.abc import Iterator

from bench.sweeps.loading import load_spec
from tests.benchmarks.science.table import Row
from trainers.config.strategies import get_strategy

PRESETS = ("paper-t1", "paper-t2", "paper-t4", "paper-conditional")

#: The tables of the first three hold IW beside FID.
WITH_IW = PRESETS[:3]

#: Critic's learning rate and batch of the authors' code: of a source, from scratch, and fine-tuning.
PUBLISHED = "0.0001 and 64, 0.0001 and 16, 1e-05 and 16"

#: Generator steps at which table 6 holds FID.
TABLE_6 = (250, 2500, 25000)


def study(quick: bool) -> Iterator[Row]:
    """Yield the rates and batches of the presets, the steps of table 6, and the tables with IW."""
    del quick  # nothing is trained
    specs = {name: load_spec(name, ["evaluation.embedding=builtin"]) for name in PRESETS}
    settings = set()
    for spec in specs.values():
        source, rate, batch = spec.pretrain.training(spec.training), spec.training.critic_lr, spec.training.batch
        factors = {get_strategy(name).rate_factor("critic") for name in spec.strategies if not name.startswith("scratch")}
        scratch = get_strategy("scratch").rate_factor("critic")
        settings |= {
            f"{source.critic_lr:g} and {source.batch}, {scratch * rate:g} and {batch}, {factor * rate:g} and {batch}"
            for factor in factors
        }
    yield Row(
        "paper presets: rate and batch of sources, from scratch, fine-tuning",
        "1e-05 and 16 for all",
        "; ".join(sorted(settings)),
        f"only {PUBLISHED}",
        settings == {PUBLISHED},
    )
    rungs = tuple(specs["paper-conditional"].evaluation.rungs(TABLE_6[-1]))
    measured = sum(bool(specs[name].evaluation.iw_steps) for name in WITH_IW)
    yield Row(
        "paper presets: steps of table 6 with FID; tables 1, 2 and 4 with IW", "25000 alone; 0 of 3",
        f"{', '.join(map(str, rungs))}; {measured} of {len(WITH_IW)}", f"{', '.join(map(str, TABLE_6))}; all",
        rungs == TABLE_6 and measured == len(WITH_IW),
    )  # fmt: skip
