"""The decisions of `transfergan init` by made-up times, and the text of its file."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from bench.costs.measured import Measured
from bench.design.fitting import (
    FEWEST,
    GRIDS,
    MOST,
    NETWORKS,
    WORTHWHILE,
    Fit,
    Grid,
    Networks,
    Question,
    fit,
    grids_for,
    planned,
    rate,
    seconds,
    settings,
)
from bench.design.from_images import AROUND, PLANNED, Design, Machine, chosen, networks_for
from bench.design.precision import Precision, gradient_error
from bench.design.sweep_file import Decision, new_file, question, sweep_file
from bench.sweeps.loading import load_spec
from bench.sweeps.spec import SweepSpec
from tests.support.images import pictures
from trainers.common.errors import UserError
from trainers.config.settings import GanConfig, TrainingConfig
from trainers.domains import get

QUESTION = Question("q", {}, "digits", 300, ("letters", "numerals", "shapes", "textures"))

#: Seconds of a step by networks: about those of one core.
STEPS: Mapping[Networks, float] = dict(zip(NETWORKS, (0.04, 0.15, 0.6, 1.8, 6.0, 20.0), strict=True))


def measured(networks: Networks, speed: float = 1.0) -> Measured:
    """Return times as of a machine that is `speed` times as fast: set-up 1 s, evaluations 0.5 s, 0.1 s more for the last."""
    trial = planned(QUESTION, networks, GRIDS[-1], MOST).of_kind("adapt")[0]
    legs = ((10, False, 10 * STEPS[networks] + 0.5), (0, False, 0.5), (0, True, 0.6))
    return Measured(trial, "cpu", False, 1.0 / speed, tuple((steps, end, time / speed) for steps, end, time in legs))


@pytest.mark.parametrize(("speed", "error", "name"), [
    (1.3, 0.005, "bf16"), (1.05, 0.005, "float32"), (0.5, 0.005, "float32"), (2.0, 0.02, "float32"),
])  # fmt: skip
def test_the_low_precision_is_taken_if_it_is_faster_and_keeps_the_gradients(speed: float, error: float, name: str):
    grid, precision = Grid(2, 4, 2, 2), Precision(speed, error)
    made = Design(
        QUESTION, Fit(NETWORKS[1], grid, 400, 60.0), Machine(2, False), 100.0, precision, {"letters": 1.0}, (), (), None
    )
    assert SweepSpec.model_validate(made.settings).training.precision == name
    assert ("precision" in made.settings["training"]) == (name == "bf16")
    assert f"{speed:.2f} times" in precision.reason


def test_the_error_of_a_gradient_is_that_of_its_precision():
    from trainers.core.gan import Gan

    def error(precision: str, loss: str = "wgan-gp") -> float:
        training = TrainingConfig.model_validate({"batch": 8, "precision": precision, "loss": loss})
        return gradient_error(Gan(GanConfig(resolution=8, width=8), training, classes=0, seed=0))

    assert 0 < error("float32") < 1e-5
    assert 1e-4 < error("bf16") < 1e-2
    assert 1e-4 < error("bf16", "non-saturating") < 1e-2


def choose(minutes: float, slots: int = 2, speed: float = 1.0, asked: Question = QUESTION) -> tuple[Fit, Networks | None]:
    best, larger = chosen(asked, NETWORKS, lambda networks: measured(networks, speed), Machine(slots, False), 60 * minutes)
    return best, None if larger is None else larger[0]


def test_the_time_of_a_plan_is_that_of_its_trials_one_after_the_other_or_side_by_side():
    grid, timings = Grid(1, 2, 2, 1), [measured(NETWORKS[0])]
    plan = planned(QUESTION, NETWORKS[0], grid, 80)
    source, adaptation = 1 + 160 * 0.04 + 4 * 0.5 + 0.1, 1 + 80 * 0.04 + 3 * 0.5 + 0.1
    assert seconds(plan, timings, 1) == pytest.approx(source + 4 * adaptation)
    assert seconds(plan, timings, 2) == pytest.approx(max(source + adaptation, 2 * adaptation) + adaptation, rel=0.2)
    assert seconds(plan, timings, 100) == pytest.approx(source + adaptation)


@pytest.mark.parametrize("minutes", [4, 10, 60])
def test_the_steps_that_fit_end_in_time_and_more_would_not(minutes: float):
    timings, available = [measured(NETWORKS[0])], 60.0 * minutes
    best = fit(QUESTION, NETWORKS[0], timings, 2, available)
    assert best is not None
    assert 0.97 * available < best.seconds <= available
    more = planned(QUESTION, NETWORKS[0], best.grid, round(1.04 * best.steps / 8) * 8)
    assert seconds(more, timings, 2) > available
    assert best.steps >= NETWORKS[0].steps


@pytest.mark.parametrize(("minutes", "slots", "networks", "grid"), [
    (2, 2, (8, 16), (1, 2, 2, 1)),
    (2.5, 2, (8, 16), (2, 2, 2, 1)),
    (6, 2, (8, 16), (3, 4, 2, 2)),
    (30, 2, (16, 16), (3, 4, 2, 2)),
    (30, 16, (16, 16), (3, 4, 3, 3)),  # a source of 32 pixels and its adaptation alone take longer
    (480, 2, (32, 32), (2, 4, 2, 2)),
])  # fmt: skip
def test_more_time_gives_larger_networks_then_a_larger_grid(
    minutes: float, slots: int, networks: tuple[int, int], grid: tuple[int, ...]
):  # fmt: skip
    best, larger = choose(minutes, slots)
    assert (best.networks, best.grid) == (Networks(*networks), Grid(*grid))
    assert best.seconds <= PLANNED * 60 * minutes - AROUND
    assert larger == NETWORKS[NETWORKS.index(best.networks) + 1]


def test_what_the_next_larger_networks_would_need_is_enough_for_them():
    best, larger = chosen(QUESTION, NETWORKS, measured, Machine(2, False), 60 * 30)
    assert larger is not None
    networks, needed = larger
    assert needed > 60 * 30
    assert best.networks != networks
    assert choose(needed / 60 * 1.001)[0].networks == networks


def test_a_fast_machine_has_the_largest_networks_and_no_more_steps_than_the_paper():
    best, larger = choose(480, 8, speed=1000)
    assert (best.networks, best.grid, larger) == (NETWORKS[-1], GRIDS[0], None)
    assert 0.98 * MOST < best.steps <= MOST


def test_a_time_too_short_for_a_sweep_is_refused_with_one_that_is_long_enough():
    with pytest.raises(UserError, match=r"1.2 minutes are too short .*; set --minutes (\d+) or more") as refused:
        choose(1.2, 1)
    enough = float(str(refused.value).split("--minutes ")[1].split()[0])
    best, _ = choose(enough, 1)
    assert (best.networks, best.grid) == (NETWORKS[0], GRIDS[-1])
    assert FEWEST <= best.steps < NETWORKS[0].steps


def test_grids_have_no_more_sources_than_there_are():
    assert grids_for(1) == [Grid(1, 4, 3, 3), Grid(1, 4, 2, 2), Grid(1, 4, 2, 1), Grid(1, 2, 2, 1)]
    one = Question("q", {}, "digits", 300, ("letters",))
    best, _ = choose(30, asked=one)
    assert best.grid.sources == 1
    assert set(WORTHWHILE) < set(GRIDS)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("networks", "steps"), [(NETWORKS[0], FEWEST), (NETWORKS[1], 1600), (NETWORKS[-1], MOST)])
@pytest.mark.parametrize("gpu", [False, True])
def test_every_sweep_is_valid_and_has_sensible_settings(grid: Grid, networks: Networks, steps: int, gpu: bool):
    asked = Question("q", {}, "digits", 300, QUESTION.sources, gpu)
    spec = SweepSpec.model_validate(settings(asked, networks, grid, steps))
    plan = planned(asked, networks, grid, steps)
    assert spec.pretrain.steps >= spec.training.steps
    assert len(spec.seeds) >= 2
    assert spec.resources.gpus == gpu
    adaptation = plan.of_kind("adapt")[0]
    assert 3 <= len(adaptation.rungs) <= 4
    assert adaptation.rungs[-2] * 2 == adaptation.rungs[-1]
    assert {trial.parent for trial in plan.of_kind("adapt")} - {None} == {trial.key for trial in plan.of_kind("pretrain")}


def test_the_rate_falls_with_the_steps():
    rates = [rate(steps) for steps in range(10, MOST, 100)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert {*rates} == {0.002, 0.001, 0.0005, 0.0002, 0.0001}


def test_networks_are_not_much_larger_than_the_images():
    digits = get("digits")
    assert networks_for(digits, 5) == [NETWORKS[0]]
    assert networks_for(digits, 28) == [*NETWORKS[:4]]
    assert networks_for(digits, None) == [*NETWORKS]


def test_domains_in_files_get_names_and_the_target_is_no_source():
    asked = question("folder:photos/My cats", ["folder:old/My cats", "letters", "letters", "zip:digits.zip", "folder:1999"])
    assert asked.domains == {
        "My-cats": "folder:photos/My cats", "My-cats-2": "folder:old/My cats", "my-digits": "zip:digits.zip",
        "images-1999": "folder:1999",
    }  # fmt: skip
    assert (asked.name, asked.target) == ("My-cats", "My-cats")
    assert asked.sources == ("My-cats-2", "letters", "my-digits", "images-1999")
    assert asked.domain("My-cats-2") == "folder:old/My cats"
    few = settings(replace(asked, size=30), NETWORKS[0], Grid(1, 2, 2, 1), 100)
    assert few["domains"].keys() == {few["targets"][0], *few["sources"]}, "a name that nothing uses would be refused"
    SweepSpec.model_validate(few)
    assert question("digits", []).sources == ("letters", "numerals", "shapes", "textures")


@pytest.mark.parametrize("path", ["photos", "photos/ä: 'x' #1 \U0001f600", 'a "quoted" \\ name'])
def test_the_file_reads_as_the_settings_and_has_every_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str):
    monkeypatch.chdir(tmp_path)
    pictures(Path(path), 4)
    asked = replace(question(f"folder:{path}", ["letters", "shapes[classes=2]"]), size=300)
    made = settings(asked, NETWORKS[1], Grid(2, 4, 2, 2), 400)
    reasons = [Decision("sizes", "300", "all of them"), Decision("gan", "16 pixels", "a reason " * 30)]
    text = sweep_file(made, reasons, ["Written by a test."])
    Path("sweep.yaml").write_text(text)
    assert yaml.safe_load(text) == made
    assert load_spec("sweep.yaml") == SweepSpec.model_validate(made)
    assert text.startswith("# Written by a test.\nname: ")
    assert "\n# 300: all of them\nsizes: [" in text
    assert max(map(len, text.splitlines())) <= 128


@pytest.mark.parametrize(("name", "message"), [
    ("there.yaml", "exists"), ("none/x.yaml", "there is no folder 'none'"), ("x.txt", "must end in .yaml"),
])  # fmt: skip
def test_a_file_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").touch()
    with pytest.raises(UserError, match=message):
        new_file(Path(name))
    assert new_file(Path("new.yaml")) == Path("new.yaml")
