"""Whether the network that is measured is the one that is kept: at every rung, and the average of the generator."""

from collections.abc import Iterator

from bench.sweeps.expansion import make_plan
from bench.sweeps.loading import load_spec
from tests.benchmarks.science.table import Row
from trainers.domains import get
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.references import references
from trainers.trial import checkpoints
from trainers.trial.images import training_images
from trainers.trial.run import run
from trainers.trial.rung import Rung, measure_again

_SETTINGS = (
    "sources=[]", "strategies=[scratch]", "seeds=[0]", "sizes=[20]", "gan.width=4", "training.steps=40",
    "evaluation.samples=200", "evaluation.first_rung=5",
)  # fmt: skip


def study(quick: bool) -> Iterator[Row]:
    """Yield the share of a trial's rungs whose kept generator has the very FID that was reported."""
    del quick  # it takes seconds anyway
    (trial,) = make_plan(load_spec("quickstart", [*_SETTINGS]), find=get).of_kind("adapt")
    evaluate = Evaluator(trial, training_images(trial), references, "cpu")
    rungs = [rung for rung in run(trial) if isinstance(rung, Rung)]
    kept = sum(_again(evaluate, rung) == _fid(rung) for rung in rungs)
    last = checkpoints.load(rungs[-1].checkpoint or b"", "the last checkpoint")
    average, raw = (checkpoints.generator(last, "cpu", raw=raw)[0].state_dict() for raw in (False, True))
    differ = any((average[name] != raw[name]).any() for name in average)
    yield Row(
        "rungs whose reported FID is that of a generator that is kept", f"0 of {len(rungs)}: the raw one of the last rung",
        f"{kept} of {len(rungs)}", "all, with an average other than the raw one", kept == len(rungs) and differ,
    )  # fmt: skip


def _fid(rung: Rung) -> float | None:
    return next(each.value for each in rung.measurements if each.metric == "fid")


def _again(evaluate: Evaluator, rung: Rung) -> float | None:
    """Return the FID of the generator that a rung keeps."""
    assert rung.generator is not None
    return _fid(measure_again(evaluate, checkpoints.load(rung.generator, "a rung's generator"), finished=False))
