"""What a design decided, in words, with the reasons: printed by `transfergan init`, and the comments of its file."""

from bench.design.fitting import GRIDS, MOST, NETWORKS, PRETRAIN
from bench.design.from_images import AROUND, PLANNED, Design
from bench.design.precision import ERROR, FASTER
from bench.design.survey import Survey
from bench.design.sweep_file import Decision
from trainers.common.counts import counted


def header(design: Design, survey: Survey, command: str, time: float) -> list[str]:
    """Return the lines at the top of the file; `time` is in seconds, and `command` is what was called."""
    run = f"A run takes an estimated {duration(design.seconds)} at most on {design.machine}"
    around = f"of which {AROUND:.0f} seconds are for its start, the distances and the report"
    reserve = f"{duration(time)} were given: steps may take {1 / PLANNED:.3g} times as long as those that were timed here"
    return [
        f"Written by `{command}`.",
        f"{run}, {around}. {reserve}.",
        f"{design.question.target}: {'; '.join(survey.lines())}.",
    ]


def decisions(design: Design, survey: Survey) -> list[Decision]:
    """Return the decisions by the keys of the sweep file, in its order."""
    settings, grid, fit = design.settings, design.fit.grid, design.fit
    training, evaluation, size = settings["training"], settings["evaluation"], design.question.size
    critic, gpu = training["critic_steps"], design.machine.gpu
    rungs = [evaluation["first_rung"] * 2**i for i in range((training["steps"] // evaluation["first_rung"]).bit_length())]
    return [
        Decision("sources", ", ".join(settings["sources"]), _why_sources(design)),
        Decision("sizes", f"{size:,}", "all training images; a second, smaller size shows how much data a source saves"),
        Decision(
            "strategies", ", ".join(settings["strategies"]),
            "the paper's four: nothing, both networks, the generator, the critic" if grid.strategies == 4 else
            "what everything is compared with, and the usual transfer; the time is too short for more",
        ),
        Decision("seeds", f"{grid.seeds}", _why_seeds(grid.seeds, grid.trainings)),
        Decision("gan", str(fit.networks), _why_networks(design, survey)),
        Decision(
            "training", f"{counted(fit.steps, 'step')} of batch {training['batch']} at rate {training['generator_lr']:g}",
            f"{_why_steps(design)}; the rate falls with their number, as in the presets; "
            + (f"{critic} critic steps are the paper's" if gpu else f"{critic} critic steps, not the paper's 5, save time"),
        ),
        Decision("training", f"{design.precision.name} gradients", _why_precision(design)),
        Decision(
            "pretrain", f"{counted(settings['pretrain']['steps'], 'step')}",
            f"{PRETRAIN} times those of an adaptation, so that a source is trained well before it is judged",
        ),
        Decision(
            "evaluation", f"{evaluation['samples']:,} samples at steps {', '.join(f'{rung:,}' for rung in rungs)}",
            "the curves show whether the order still changes; the built-in embedding needs no download, and its FID compares "
            "only with values in the same report",
        ),
        Decision("stopping", settings["stopping"]["rule"], _why_stopping(design)),
        Decision(
            "resources", f"one {'GPU' if gpu else 'CPU core'} for each trial, {design.machine.slots} at a time",
            "a trial's steps are replayed as CUDA graphs" if gpu else
            "two trials with one thread each are faster than one with two",
        ),
    ]  # fmt: skip


def _why_sources(design: Design) -> str:
    count = len(design.settings["sources"])
    by_distance = ", ".join(f"{name} {distance:.3g}" for name, distance in design.distances.items())
    what = "all that there are" if count == len(design.distances) else f"the nearest of {len(design.distances)}"
    what += ", as many as the time allows" if count < min(GRIDS[0].sources, len(design.distances)) else ""
    lacking = f". {' '.join(design.left_out)}" if design.left_out else ""
    return f"{what}, by FID to the target in the built-in embedding ({by_distance}){lacking}"


def _why_seeds(seeds: int, trainings: int) -> str:
    most = "as many as the time allows with enough steps" if seeds > 2 else "the fewest that show a spread"
    if trainings == 1:
        return f"{most}; each source is trained once, so what is found of a source is about one training of it"
    return f"{most}; each starts from another training of its source"


def _why_networks(design: Design, survey: Survey) -> str:
    if design.larger is not None:
        larger, seconds = design.larger
        return f"the largest whose sweep fits the time; {larger} would need about {duration(seconds)}"
    if survey.side is not None and survey.side < NETWORKS[-1].resolution:
        return f"enough for images of {survey.side} pixels; larger networks would only learn how these are enlarged"
    return "the largest that are planned with"


def _why_steps(design: Design) -> str:
    steps = design.fit.steps
    if steps > MOST - 250:
        return "as many as the paper has"
    enough = design.fit.networks.steps
    return "as many as fit the time" + (f", though {enough} or more would tell more" if steps < enough else "")


def _why_precision(design: Design) -> str:
    if design.precision.name == "float32":
        return f"{design.precision.reason}: {FASTER:g} times and {ERROR:.0%} are wanted"
    return f"{design.precision.reason}; the time is that of float32, so the rest is a reserve"


def _why_stopping(design: Design) -> str:
    if design.settings["stopping"]["rule"] == "none":
        return "few starts are compared, so all run to the end and are compared there"
    return (
        "at each measurement the poorer half of the starts stops, scratch never; the estimated time counts all as if none did"
    )


def duration(seconds: float) -> str:
    """Return seconds in words."""
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours >= 2 else f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
