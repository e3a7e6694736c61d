"""Settings proposed by Ray Tune's random search: the same on every machine."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search.variant_generator import generate_variants

from bench.sweeps.spec import TuningConfig
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.config.strategies import get_strategy
from trainers.config.strategy import Strategy


def settings(tuning: TuningConfig, training: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """Return the `tuning.trials` settings that a search tries, the same for every strategy.

    The first are those of the sweep, so that on its target tuning is never worse. Learning rates have three digits.
    """
    steps = list(tuning.steps or [training.steps])
    space = {"learning_rate": tune.loguniform(*tuning.learning_rate), "steps": tune.choice(steps)}
    if tuning.ratio is not None:
        space["ratio"] = tune.loguniform(*tuning.ratio)
    held = training.critic_lr / training.generator_lr
    proposals = [training]
    for drawn in _draws(space, tuning.trials - 1, derive_seed("tuning", tuning.seed)):
        rate = _rounded(drawn["learning_rate"])
        rates = {"generator_lr": rate, "critic_lr": _rounded(rate * drawn.get("ratio", held))}
        proposals.append(training.model_copy(update={**rates, "steps": int(drawn["steps"])}))
    return tuple(proposals)


def options(tuning: TuningConfig, name: str, gan: GanConfig) -> tuple[str | None, ...]:
    """Return the names with options that a search tries for a strategy, one for each of `settings`; None: as it is named.

    The first is None. Searched are the options with a `search` (see `trainers.config.options.option`) that the name leaves at
    their defaults. Values in a list are left out if the networks `gan` do not allow them.
    """
    strategy = get_strategy(name)
    space = _space(strategy, gan)
    if not space:
        return (None,) * tuning.trials
    tried: list[str | None] = [None]
    for drawn in _draws(space, tuning.trials - 1, derive_seed("tuning", tuning.seed, name)):
        values: dict[str, Any] = {key: _rounded(value) if isinstance(value, float) else value for key, value in drawn.items()}
        variant = replace(strategy, **values)
        tried.append(None if variant == strategy else variant.name)
    return tuple(tried)


def _space(strategy: Strategy, gan: GanConfig) -> dict[str, Any]:
    """Return what each searched option of a strategy is drawn from, by the name of its field."""
    space: dict[str, Any] = {}
    for option in strategy.options().values():
        search = option.metadata["search"]
        if search is None or getattr(strategy, option.name) != option.default:
            continue
        if isinstance(search, tuple):
            space[option.name] = tune.loguniform(*search)
        elif allowed := [value for value in search if _fits(replace(strategy, **{option.name: value}), gan)]:
            space[option.name] = tune.choice(allowed)
    return space


def _fits(strategy: Strategy, gan: GanConfig) -> bool:
    try:
        strategy.check(gan)
    except UserError:
        return False
    return True


def _draws(space: Mapping[str, Any], number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield draws from a space of Ray Tune."""
    random = np.random.RandomState(seed % 2**32)  # a stream that NumPy keeps unchanged
    for _ in range(number):
        ((_, drawn),) = generate_variants(dict(space), random_state=random)
        yield drawn


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
