"""Settings proposed by Ray Tune's random search: the same for every strategy and on every machine."""

import numpy as np
from ray import tune
from ray.tune.search.variant_generator import generate_variants

from bench.sweeps.spec import TuningConfig
from trainers.common.seeds import derive_seed
from trainers.config.settings import TrainingConfig


def settings(tuning: TuningConfig, training: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """Return the settings that a search tries, first those of the sweep, so that on its target tuning is never worse.

    Learning rates have three digits; the ratio of the critic's to the generator's is that of `training`.
    """
    low, high = tuning.learning_rate
    space = {"learning_rate": tune.loguniform(low, high), "steps": tune.choice(list(tuning.steps or [training.steps]))}
    random = np.random.RandomState(derive_seed("tuning", tuning.seed) % 2**32)  # a stream that NumPy keeps unchanged
    proposals = [training]
    for _ in range(tuning.trials - 1):
        ((_, drawn),) = generate_variants(space, random_state=random)
        rate = _rounded(drawn["learning_rate"])
        rates = {"generator_lr": rate, "critic_lr": _rounded(rate * training.critic_lr / training.generator_lr)}
        proposals.append(training.model_copy(update={**rates, "steps": int(drawn["steps"])}))
    return tuple(dict.fromkeys(proposals))


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
