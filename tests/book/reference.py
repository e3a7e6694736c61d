"""The reference pages of the book: strategies, metrics, the command line and the Python interface, from the code."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from bench.cli import app
from trainers.adaptation.describe import inventory
from trainers.config.metrics import Metric, metrics
from trainers.config.settings import GanConfig
from trainers.config.strategies import STRATEGIES
from trainers.config.strategy import NETWORKS, Strategy
from trainers.evaluation.comparison import METRICS

#: The modules of the Python interface by the title of their page.
MODULES = {
    "The store": ("bench.store", "bench.store.store", "bench.store.schema"),
    "Sweeps": ("bench.sweeps.spec", "bench.sweeps.plan", "bench.sweeps.expansion", "bench.driver.stopping"),
    "Trials": ("trainers.config.settings", "trainers.config.trial", "trainers.trial.run", "trainers.trial.rung"),
    "Domains": ("trainers.domains", "trainers.domains.base"),
    "Strategies": ("trainers.config.strategy", "trainers.config.options"),
    "The GAN core": ("trainers.core.gan", "trainers.core.losses", "trainers.core.sampling"),
    "Evaluation": (
        "trainers.config.metrics", "trainers.evaluation.comparison", "trainers.evaluation.metrics.estimate",
        "trainers.evaluation.metrics.fid", "trainers.evaluation.metrics.kid", "trainers.evaluation.metrics.prdc",
        "trainers.evaluation.metrics.diversity", "trainers.evaluation.metrics.memorisation",
    ),
    "Analysis": ("analysis.frames", "analysis.statistics", "analysis.claims"),
}  # fmt: skip

#: The networks on whose tensors a strategy is described.
GAN = GanConfig(resolution=64)


def pages() -> dict[str, str]:
    """Return the text of each page by its path."""
    strategies = {f"strategies/{name}.md": _strategy(strategy) for name, strategy in STRATEGIES.items()}
    measures = {f"metrics/{metric.name}.md": _metric(metric) for metric in metrics().values()}
    return {
        "strategies/index.md": _index("Strategies", {name: kind.about() for name, kind in STRATEGIES.items()}),
        **strategies,
        "metrics/index.md": _index("Metrics", {metric.name: metric.about for metric in metrics().values()}),
        **measures,
        "commands.md": _commands(),
        **{_python_page(title): _interface(title, names) for title, names in MODULES.items()},
    }


def contents() -> list[dict[str, Any]]:
    """Return the table of contents of these pages."""
    return [
        {"Strategies": ["strategies/index.md", *({name: f"strategies/{name}.md"} for name in STRATEGIES)]},
        {"Metrics": ["metrics/index.md", *({name: f"metrics/{name}.md"} for name in metrics())]},
        {"Command line": "commands.md"},
        {"Python": [{title: _python_page(title)} for title in MODULES]},
    ]


def _index(title: str, abouts: dict[str, str]) -> str:
    rows = [f"| [{name}]({name}.md) | {about} |" for name, about in abouts.items()]
    return "\n".join([f"# {title}", "", "| name | |", "|---|---|", *rows, ""])


def _strategy(kind: type[Strategy]) -> str:
    described = inventory(kind(), GAN)
    about, _, more = (kind.__doc__ or "").strip().partition("\n")
    text = [f"# {kind.key}", "", about, "", *(_formula(kind.formula) if kind.formula else [])]
    text += [line.strip() for line in more.strip().splitlines()]
    text += ["", "| network | copied | trained | frozen | learning rate |", "|---|---|---|---|---|"]
    for phase in described["phases"]:
        until = "" if phase["until"] == 1 else f" (up to {phase['until']:.0%} of the steps)"
        for name in NETWORKS:
            of = phase[name]
            text.append(
                f"| {name}{until} | {described['copied'][name]} | {of['trained']}: {of['parameters']:,} of "
                f"{described['parameters'][name]:,} parameters | {of['frozen']} | {_rate(described['rates'][name])} |"
            )
    text += ["", f"The numbers are those of networks for {GAN.resolution} pixels with width {GAN.width}.", ""]
    text += [f"Adds {described['adds']}.", ""] if described["adds"] else []
    text += [f"Penalty: {described['penalty']}.", ""] if described["penalty"] else []
    if described["options"]:
        rows = [f"| `{name}` | {meaning} |" for name, meaning in described["options"].items()]
        text += ["| option | |", "|---|---|", *rows, ""]
    return "\n".join(text)


def _rate(factor: float) -> str:
    return "the trial's" if factor == 1 else f"{factor:g} times the trial's"


def _formula(text: str) -> list[str]:
    """Return a formula as lines of a block of code, short enough for a phone."""
    return ["```text", *re.sub(r"([,;:]) ", r"\1\n", text).splitlines(), "```", ""]


def _metric(metric: Metric) -> str:
    better = "neither end is better" if metric.better is None else f"{metric.better} is better"
    times = "at the last rung" if metric.last_rung_only else "at every rung"
    facts = [f"In the report: {metric.label}; {better}; measured {times}."]
    if metric.training_images:
        facts.append(f"Measured of at most {metric.training_images:,} training images.")
    if metric.between_domains:
        facts.append("Also a distance between domains.")
    source = [f"Proposed by {metric.paper}.", ""] if metric.paper else []
    if metric.name in METRICS:
        source += [f"Function: `trainers.evaluation.comparison.METRICS[{metric.name!r}]`.", ""]
    about = metric.about[:1].upper() + metric.about[1:]
    return "\n".join([f"# {metric.name}", "", f"{about}.", "", *_formula(metric.formula), " ".join(facts), "", *source])


def _commands() -> str:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="transfergan")
    text = get_docs_for_click(obj=command, ctx=context, name="transfergan", title="Command line")
    return "".join(_escaped(text))


def _escaped(text: str) -> Iterator[str]:
    """Yield the parts of a text, with angle brackets outside code escaped: Markdown would take them for HTML."""
    for i, part in enumerate(re.split(r"(```.*?```|`[^`]*`)", text, flags=re.DOTALL)):
        yield part if i % 2 else part.replace("<", "&lt;")


def _python_page(title: str) -> str:
    return f"python/{title.lower().replace(' ', '-')}.md"


def _interface(title: str, modules: tuple[str, ...]) -> str:
    return "\n".join([f"# {title}", "", *(f"::: {name}\n" for name in modules)])
