"""A sweep designed for a target and a time on this machine: what is measured for it, and what is decided."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from joblib import cpu_count  # type: ignore[import-untyped]
from rich.console import Console

from bench.costs.measured import Measured
from bench.design import fitting
from bench.design.fitting import FEWEST, GRIDS, MOST, NETWORKS, WORTHWHILE, Fit, Grid, Networks, Question, grids_for
from bench.design.precision import Precision, measured_precision
from bench.design.survey import Survey, check_count
from bench.design.timing import gpu_count, timed
from bench.images.domains import make_ready
from bench.images.recommend import distances_to
from bench.sweeps.expansion import check_measurable
from trainers.common.counts import counted
from trainers.common.errors import UserError
from trainers.config.trial import TrialConfig
from trainers.domains import Domain, get

if TYPE_CHECKING:
    from trainers.evaluation.references import References

#: Share of the time that is planned with: the steps of a trial that is timed for seconds may take longer in a run of minutes.
PLANNED = 0.8

#: Seconds of a run before its first trial and after its last: Ray, the processes, the distances, the report.
AROUND = 40.0

#: How much larger than the images the networks' may be, in height.
ENLARGED = 1.5


@dataclass(frozen=True)
class Machine:
    """What trials run on.

    Attributes:
        slots: trials that run at the same time.
        gpu: whether each of them has a GPU, else a CPU core.
    """

    slots: int
    gpu: bool

    def __str__(self) -> str:
        return f"{self.slots} {'GPU' if self.gpu else 'CPU core'}{'s'[: self.slots > 1]}"


@dataclass(frozen=True)
class Design:
    """A sweep that fits a time.

    Attributes:
        question: its sources are in the order of their distances.
        seconds: that a run takes at most, by the times that were measured, in float32.
        precision: what bf16 is worth with these networks.
        distances: FID to the target in the built-in embedding, by source, ascending.
        left_out: for each source that cannot be measured, one line with the reason.
        timings: what was measured on this machine.
        larger: the next larger networks, and the seconds that a run with them needs; None if the images are too small for
            them, or there are none.
    """

    question: Question
    fit: Fit
    machine: Machine
    seconds: float
    precision: Precision
    distances: Mapping[str, float]
    left_out: Sequence[str]
    timings: Sequence[Measured]
    larger: tuple[Networks, float] | None

    @property
    def settings(self) -> dict[str, Any]:
        """The keys and values of the sweep file."""
        settings = fitting.settings(self.question, self.fit.networks, self.fit.grid, self.fit.steps)
        if self.precision.name != "float32":
            settings["training"] |= {"precision": self.precision.name}
        return settings


def this_machine(gpus: int | None) -> Machine:
    """Return this machine with a number of its GPUs, by default all. Raises UserError if it has fewer."""
    here = gpu_count()
    if gpus is not None and gpus > here:
        raise UserError(
            f"--gpus {gpus}: this machine has {here} that PyTorch can use, and steps are timed where the sweep will run; "
            "call init there, or set --gpus lower"
        )
    gpus = here if gpus is None else gpus
    return Machine(gpus or cpu_count(), gpu=gpus > 0)


def check_time(time: float) -> None:
    """Raise UserError if a time, in seconds, is too short for any sweep on any machine."""
    if PLANNED * time <= AROUND:
        raise _too_short(time, 2 * AROUND / PLANNED)


def check_sources(target: Domain, sources: Sequence[str], console: Console) -> None:
    """Raise UserError if one of the sources, given as domains, is unknown, has too few images, or is the target.

    What is known without decoding an image is checked first, of the target too.
    """
    check_count(target)
    domains = [get(source) for source in sources]
    for source, domain in zip(sources, domains, strict=True):
        if domain.name == target.name:
            raise UserError(f"--source {source}: it is the target too, and no trial starts from its target; name another one")
        check_count(domain)
    console.print("looking at the images; nothing is trained", soft_wrap=True)
    for domain in domains:
        make_ready(domain, NETWORKS[0].resolution, console)
        check_measurable(domain, NETWORKS[0].resolution)


def designed(question: Question, survey: Survey, machine: Machine, time: float, console: Console) -> Design:
    """Time networks of rising size on this machine until a sweep of them no longer fits; return the largest that does.

    Args:
        question: its sources in any order.
        survey: of its target.
        time: seconds from the start of a run to its end.
        console: for a line on what is being done.

    Raises:
        UserError: no sweep fits the time, or a domain cannot be used.
    """
    from trainers.evaluation.references import references

    target = get(question.domain(question.target))

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True)

    timings: list[Measured] = []

    def trial(networks: Networks) -> TrialConfig:
        return fitting.planned(question, networks, GRIDS[-1], MOST).of_kind("adapt")[0]

    def measure(networks: Networks) -> Measured:
        tell(f"measuring networks of {networks} on this machine")
        make_ready(target, networks.resolution, console)
        timings.append(timed(trial(networks), references, gpu=machine.gpu, graphs=machine.gpu))
        return timings[-1]

    fit, larger = chosen(question, networks_for(target, survey.side), measure, machine, time)
    precision = measured_precision(trial(fit.networks), gpu=machine.gpu, graphs=machine.gpu)
    distances, left_out = _distances(question, fit.networks.resolution, references, tell)
    question = replace(question, sources=tuple(distances))
    return Design(question, fit, machine, fit.seconds + AROUND, precision, distances, left_out, timings, larger)


def chosen(
    question: Question, candidates: Sequence[Networks], measure: Callable[[Networks], Measured], machine: Machine, time: float
) -> tuple[Fit, tuple[Networks, float] | None]:
    """Return the largest of some networks, from the smallest, of which a worthwhile sweep fits, and what the next would need.

    Args:
        question, machine, time: as in `designed`.
        measure: returns the times of a trial with these networks; it is not called for networks after the first too large.

    Raises:
        UserError: not even a small sweep of the smallest networks fits.
    """
    timings: list[Measured] = []
    best = None
    for networks in candidates:
        timings.append(measure(networks))
        fit = fitting.fit(question, networks, timings, machine.slots, PLANNED * time - AROUND, WORTHWHILE)
        if fit is None and best is not None:
            grid = grids_for(len(question.sources), WORTHWHILE)[-1]
            return best, (networks, _needed(question, networks, grid, networks.steps, timings, machine))
        best = fit or _smallest(question, networks, timings, machine, time)
    assert best is not None
    return best, None


def networks_for(target: Domain, side: int | None) -> list[Networks]:
    """Return the networks for a target whose images have a shorter side of `side` pixels, the smallest first."""
    return [
        networks
        for i, networks in enumerate(NETWORKS)
        if (side is None or i == 0 or networks.resolution <= ENLARGED * side) and _offers(target, networks.resolution)
    ]


def _offers(domain: Domain, resolution: int) -> bool:
    try:
        domain.check_resolution(resolution)
    except UserError:
        return False
    return True


def _smallest(question: Question, networks: Networks, timings: Sequence[Measured], machine: Machine, time: float) -> Fit:
    """Return the best fit of the smallest networks, with a small grid or few steps. Raises UserError if none fits."""
    available = PLANNED * time - AROUND
    fit = fitting.fit(question, networks, timings, machine.slots, available)
    fit = fit or fitting.fit(question, networks, timings, machine.slots, available, GRIDS[-1:], FEWEST)
    if fit is None:
        raise _too_short(time, _needed(question, networks, GRIDS[-1], FEWEST, timings, machine))
    return fit


def _needed(
    question: Question, networks: Networks, grid: Grid, steps: int, timings: Sequence[Measured], machine: Machine
) -> float:  # fmt: skip
    """Return the seconds of time that a sweep needs in order to fit."""
    plan = fitting.planned(question, networks, grid, steps)
    return (fitting.seconds(plan, timings, machine.slots) + AROUND) / PLANNED


def _too_short(time: float, needed: float) -> UserError:
    return UserError(
        f"{counted(time / 60, 'minute is', 'minutes are')} too short for a sweep that tells anything on this machine: the "
        f"smallest takes about {needed / 60:.1f}; set --minutes {math.ceil(needed / 60)} or more"
    )


def _distances(
    question: Question, resolution: int, references: "References", tell: Callable[[str], None]
) -> tuple[dict[str, float], list[str]]:
    """Return FID from each source of a question to its target, ascending, and a line for each that cannot be measured."""
    names = {get(question.domain(name)).name: name for name in question.sources}
    target = get(question.domain(question.target)).name
    measured, left_out = distances_to(target, names, references, "builtin", resolution, tell)
    if not measured:
        raise UserError(f"no source can be used. {' '.join(left_out)}")
    return {names[source]: measured[source] for source in sorted(measured, key=measured.__getitem__)}, left_out
