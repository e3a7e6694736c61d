"""What is said of the strategies: those of the registry, and those of a sweep that bear options."""

from collections.abc import Iterator
from typing import Any

from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError
from trainers.config.strategies import STRATEGIES, get_strategy


def inventories(spec: SweepSpec) -> Iterator[dict[str, Any]]:
    """Yield what each strategy does to a sweep's networks; of one that does not fit them "name", "about" and why, "misfit"."""
    from trainers.adaptation.describe import inventory

    for name in dict.fromkeys((*STRATEGIES, *(get_strategy(each).name for each in spec.strategies))):
        strategy = get_strategy(name)
        try:
            yield inventory(strategy, spec.gan)
        except UserError as error:
            yield {"name": name, "about": strategy.about(), "misfit": str(error)}
