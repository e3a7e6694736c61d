"""Settings of a sweep that do not fit together."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

from bench.sweeps.grid_size import check_grid, check_search
from trainers.common.errors import Problems, within
from trainers.config.metrics import RAW, SELECTION
from trainers.config.settings import check_crop, check_evaluations, check_penalty
from trainers.config.strategies import get_strategy

#: The lists whose product is the grid.
AXES = ("targets", "sizes", "conditional", "augmentation", "strategies", "sources", "seeds")


def misfits(spec: Any, wrong: Collection[str] = ()) -> list[str]:
    """Return a line for each combination of settings that cannot be.

    Args:
        spec: a `bench.sweeps.spec.SweepSpec`, which imports this file, whose single keys are right.
        wrong: keys such as "gan.width" whose values in the file are wrong, so that `spec` has others. What depends on them is
            unknown, and not in the result.
    """
    problems = Problems()
    for keys, check in _checks(spec):
        if not any(_overlap(key, other) for key in keys for other in wrong):
            with problems.collected(ValueError):
                check()
    return problems.lines


def _checks(spec: Any) -> Iterator[tuple[Collection[str], Callable[[], object]]]:
    """Yield the keys that each check depends on, and the check, which raises ValueError."""
    yield AXES, lambda: check_grid({axis: len(getattr(spec, axis)) for axis in AXES})
    penalties = ("gan.family", "training.loss", "training.gradient_penalty", "training.path_length")
    yield penalties, lambda: check_penalty(spec.gan, spec.training)
    yield ("gan.resolution", "training.crop"), lambda: check_crop(spec.gan, spec.training)
    yield ("pretrain",), lambda: check_evaluations(spec.pretrain.until, spec.pretrain.steps)
    for name in dict.fromkeys(spec.strategies):
        place = f"strategies.{spec.strategies.index(name)}"
        yield ("gan",), _at(place, get_strategy(name).check, spec.gan)
        yield ("training",), _at(place, get_strategy(name).check_loss, spec.training)
    yield ("stopping.metric", "evaluation.raw", "evaluation.selection"), lambda: chosen_by(spec)
    yield ("tuning", "strategies"), lambda: _check_search(spec)
    yield ("tuning", "targets"), lambda: _check_held_out(spec)
    yield ("tuning", "training.steps", "training.images"), lambda: _check_budgets(spec)


def _at(place: str, check: Callable[[Any], object], settings: Any) -> Callable[[], None]:
    """Return a check of some settings whose error names the place of what does not fit them."""

    def named() -> None:
        with within(place):
            check(settings)

    return named


def _overlap(key: str, other: str) -> bool:
    """Return whether two keys are equal, or one is a section that has the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def chosen_by(spec: Any) -> str:
    """Return the metric by which trials stop: of images set apart for choices, if there are any. Raises ValueError."""
    metric, evaluation = str(spec.stopping.metric), spec.evaluation
    what = f"stopping.metric: {metric}"
    if metric.endswith(RAW) and not evaluation.raw:
        raise ValueError(f"{what} is measured only on request: set evaluation.raw to true")
    if metric.endswith(SELECTION) and not evaluation.selection:
        raise ValueError(f"{what} needs images that are set apart: set evaluation.selection, e.g. 0.3")
    if metric.endswith(RAW) and evaluation.selection:
        raise ValueError(f"{what} is not measured on the images of evaluation.selection; use fid or kid")
    return metric + SELECTION if evaluation.selection and not metric.endswith(SELECTION) else metric


def _check_search(spec: Any) -> None:
    if spec.tuning:
        check_search(spec.tuning.trials * len(spec.tuning.seeds) * len(spec.strategies))


def _check_held_out(spec: Any) -> None:
    if spec.tuning and spec.tuning.target in spec.targets:
        raise ValueError(held_out(spec.tuning.target))


def held_out(target: str) -> str:
    """Return why a search for settings may not be on one of the sweep's targets."""
    return (
        f"tuning.target: {target!r} is one of the sweep's targets; name a domain that is held out, on which no strategy is "
        "compared"
    )


def _check_budgets(spec: Any) -> None:
    longest = max(spec.tuning.steps, default=0) if spec.tuning else 0
    if longest > spec.training.steps:
        fix = "remove it, or increase training.steps"
        raise ValueError(f"tuning.steps: {longest} exceeds training.steps {spec.training.steps}; {fix}")
