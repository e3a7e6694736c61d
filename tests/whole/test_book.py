"""The pages of documentation: their commands and examples run, and their links lead somewhere.

Three things are checked elsewhere: `run`, `tune` and `distances` train nothing here (see test_sweep); `make` only prints its
commands; and commands for a cluster are only parsed (see test_launch, test_deploy and test_jobs).
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from bench.cli import app
from bench.store import open_store
from bench.sweeps.expansion import make_plan
from bench.sweeps.spec import SweepSpec
from tests.analysis.test_pdf import need_a_browser
from tests.support import datasets, images, stylegan2, tiny
from tests.trainers.test_embeddings import Inception, script
from trainers.config.settings import GanConfig
from trainers.networks import make_critic, make_generator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "bench").rglob("*.md"), *ROOT.glob("*/README.md")]
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)  # as .venv and pytest's cache
)
BLOCKS = [
    (page, language, text) for page in dict.fromkeys(PAGES) for language, text in
    re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]  # fmt: skip


def blocks(language: str) -> list[str]:
    return [text for _, each, text in BLOCKS if each == language]


def commands() -> list[str]:
    """Return the commands of all shell blocks, without comments; the parts of an && separately."""
    lines = [re.sub(r"\s+#.*", "", line) for text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(part.strip() for line in lines for part in line.split("&&") if part.strip()))


def example(word: str) -> str:
    """Return the only Python example that contains a word."""
    (text,) = (text for text in blocks("python") if word in text)
    return text


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, finished_once: Path) -> Iterator[Path]:
    """The working directory: a folder with everything that the commands name; training is turned off."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("photos/flowers", "photos/landscapes", "faces", "samples"):
        images.write(folder / name, images.files(40))
    for name in ("store", "other-store"):
        shutil.copytree(finished_once, folder / name)
    (sweep,) = (text for text in blocks("yaml") if "name: flowers" in text and "resources" not in text)
    (folder / "flowers.yaml").write_text(sweep)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**tiny.SPEC, **tiny.SMALL}))
    gan = GanConfig(**tiny.SPEC["gan"])
    networks = {"generator": make_generator(gan, 0), "critic": make_critic(gan, 0)}
    state = {f"{net}.{name}": t.contiguous() for net, each in networks.items() for name, t in each.state_dict().items()}
    save_file({f"G/{name}": tensor for name, tensor in state.items()}, folder / "faces.safetensors")
    published = stylegan2.checkpoint([8, 4], latent=8, mapping=2)
    parts = {
        part: {k.removeprefix(f"{part}."): torch.from_numpy(v) for k, v in published.items() if k.startswith(part)}
        for part in ("g_ema", "d")
    }
    torch.save(parts, folder / "550000.pt")
    styles = {"family": "style", "resolution": 8, "width": 4, "latent": 8, "mapping": 2}
    (folder / "faces.yaml").write_text(yaml.safe_dump({**tiny.SPEC, "gan": styles, "training": {"loss": "hinge", "steps": 4}}))
    (folder / "names.json").write_text(json.dumps({f"G/{name}": name for name in state}))
    (folder / "weights").mkdir()
    script(Inception(), folder / "weights/inception.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(datasets.LABELS, "reference", (*datasets.LABELS["reference"], 0))  # the fewest that a sweep needs
        for name in ("cifar10", "svhn"):
            (folder / "data" / name).mkdir(parents=True)
            getattr(datasets, name)(folder / "data" / name)
        patch.chdir(folder)
        patch.setenv("TRANSFERGAN_DATA", str(folder / "data"))
        patch.setenv("COLUMNS", "200")
        for module in ("timing", "precision"):
            patch.setattr(f"bench.design.{module}.SECONDS", 0.1)
        patch.setattr("bench.run.sweep.run_sweep", lambda *_, **__: ([], False))
        for name in ("run_distances", "measure_anew"):
            patch.setattr(f"bench.run.sweep.{name}", lambda *_, **__: [])
        yield folder


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("transfergan ")])
def test_a_command_does_what_the_page_says(workplace: Path, command: str):
    if command.endswith("--format pdf"):
        need_a_browser()
    trials = open_store("store").read("trials")
    key = trials.loc[trials["kind"] == "adapt", "key"].iloc[0]
    sweep = Path("flowers.yaml").read_text()
    if command.startswith("transfergan init "):
        Path("flowers.yaml").unlink()
    result = CliRunner().invoke(app, shlex.split(command.replace("3f2a", key).replace("--sweep flowers", "--sweep small"))[1:])
    Path("flowers.yaml").write_text(sweep)  # the pages' own for the other commands
    trains = command.startswith(("transfergan run", "transfergan continue"))
    untrained = trains and " sweep.yaml" not in command
    assert result.exit_code == (130 if untrained else 0), result.output + repr(result.exception)
    assert result.stdout


def test_other_commands_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    others = [shlex.split(line) for line in commands() if not line.startswith("transfergan ")]
    for words in others:
        if words[0] == "make":
            subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[1:2] == ["-m"]:
            monkeypatch.setattr(sys, "argv", [words[2], "--help"])
            module = import_module(words[2])
            module = module if hasattr(module, "main") else import_module(f"{words[2]}.__main__")
            with pytest.raises(SystemExit, match="0"):
                module.main()
            output = capsys.readouterr().out
            assert all(word in output for word in words[3:])
        else:
            assert words[0].startswith(".venv/bin/")
            assert all((ROOT / word).exists() for word in words[1:] if "/" in word)
    assert others


def inline() -> list[str]:
    text = "\n".join(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL) for page in PAGES)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks("console") for line in block.splitlines()]
    words = re.findall(r"`(transfergan [^`]*)`", text) + [line for line in lines if line.startswith("transfergan ")]
    return sorted({" ".join(command.split()) for command in words})


@pytest.mark.parametrize("command", inline())
def test_a_command_within_a_sentence_has_its_verb_and_options(command: str):
    command_or_group: Any = typer.main.get_command(app)
    for word in shlex.split(command)[1:]:
        if word.startswith("-"):
            assert word in {"--help", *(name for parameter in command_or_group.params for name in parameter.opts)}
        elif hasattr(command_or_group, "commands"):
            command_or_group = command_or_group.commands[word]


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: text.splitlines()[0])
def test_a_sweep_file_makes_a_plan(workplace: Path, text: str):
    base = {"name": "book", "targets": ["digits"], "sizes": [10], "strategies": ["scratch", "finetune"], "sources": ["letters"]}
    assert make_plan(SweepSpec.model_validate({**base, **yaml.safe_load(text)})).trials


def test_the_strategy_of_the_book_freezes_what_it_says():
    space: dict[str, Any] = {"__name__": __name__}
    exec(example("FreezeEnds"), space)
    gan = GanConfig(**tiny.SPEC["gan"])
    (phase,) = space["FreezeEnds"]().phases(gan)
    names = [name for name, _ in make_critic(gan, 0).named_parameters()]
    assert {name for name in names if not phase.critic.has(name)} == {
        "input.weight",
        "input.bias",
        "score.weight",
        "score.bias",
    }


def test_the_domain_of_the_book_is_one():
    space: dict[str, Any] = {}
    exec(example("render_discs"), space)
    small, large = (space["DISCS"].load("train", 16).images[i] for i in (0, 1))
    assert (large > 200).sum() > 2 * (small > 200).sum() > 0


def test_the_metric_of_the_book_agrees_with_its_definition():
    from trainers.evaluation import comparison
    from trainers.evaluation.metrics.fid import statistics
    from trainers.evaluation.references import Reference

    space: dict[str, Any] = {}
    exec(example("mean_shift"), space)
    rng = np.random.default_rng(0)
    real, made = (rng.normal(at, 1, (4000, 3)).astype(np.float32) for at in (0.0, 1.0))
    found = space["MEAN_SHIFT"].compute(comparison.Comparison(Reference(real, None, statistics(real)), made))
    assert found.value == pytest.approx(3**0.5, abs=4 * found.standard_error)
    assert found.standard_error == pytest.approx((2 / 4000) ** 0.5, rel=0.1)


def test_any_tool_reads_the_store(workplace: Path):
    space: dict[str, Any] = {}
    exec(example("read_parquet"), space)
    assert {"trial", "step", "metric", "value"} <= set(space["measurements"])


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!http)([^)]*)\)", page.read_text())):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences outside code and tables; what is in backticks is one word."""
    prose = re.sub(r"^```.*?^```$|^\|[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:- |\d+\. |#))", prose):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "X", " ".join(block.split())))
        yield from re.split(r"(?<=[.!?])[*)\"]*\s+(?=[A-Z*\[\"(])", words)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_sentence_has_at_most_25_words(page: Path):
    assert [sentence for sentence in sentences(page.read_text()) if len(sentence.split()) > 25] == []


def test_the_pages_mention_all_verbs_and_presets():
    text = "\n".join(page.read_text() for page in PAGES)
    verbs = set(getattr(typer.main.get_command(app), "commands", {}))
    presets = {path.stem for path in (ROOT / "bench/sweeps/presets").glob("*.yaml")}
    assert {verb for verb in verbs if f"transfergan {verb}" not in text} == set()
    assert {preset for preset in presets if preset not in text} == set()
