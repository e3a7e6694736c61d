"""The first screen: three pictures of one cell and step, and the gains with their intervals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import figures
from analysis.claims import Outcome
from analysis.frames import Frames, load, records
from analysis.report.content.first_screen import FirstScreen, first_screen
from analysis.report.embedded_images import Album
from analysis.statistics import Analysis, analyse
from bench.store import Store
from tests.support.synthetic import EMBEDDING, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Frames, Analysis]:
    """A store with one cell, of three seeds."""
    store = build(tmp_path_factory.mktemp("one"), sizes=(50,), seeds=(0, 1, 2), keep=1.0)
    frames = load(store)
    return store, frames, analyse(frames, EMBEDDING)


def traces(screen: FirstScreen | None) -> list[dict[str, Any]]:
    assert screen is not None
    assert screen.panel is not None
    return [trace for trace in json.loads(screen.panel.figure)["data"] if trace["mode"] == "markers"]


def test_the_pictures_are_the_best_seeds_at_the_step_of_the_claim(one: tuple[Store, Frames, Analysis]) -> None:
    store, frames, analysis = one
    screen = first_screen(analysis, frames.trials)
    assert screen is not None
    real, scratch, start = screen.pictures
    (best,) = records(analysis.best)
    assert (real.name, scratch.name, start.name) == ("Real", "From scratch", f"{best['strategy']} from {best['source_label']}")
    assert start.words.endswith(", best of 3 seeds")
    rows = frames.curves[(frames.curves["metric"] == "fid") & (frames.curves["step"] == best["step"])]
    rows = rows[(rows["strategy"] == best["strategy"]) & (rows["source"] == best["source"])]
    assert start.path == f"samples/{rows.loc[rows['value'].idxmin(), 'trial']}-{best['step']:08d}.png"
    shown = screen.embed(Album(store, screen.paths, 10**6))
    assert all(picture.uri.startswith("data:image/png;base64,") for picture in shown.pictures)
    assert screen.embed(Album(store, [real.path or ""], 10**6)).pictures == (), "real images alone show nothing"


def test_the_figure_has_the_gains_of_an_only_cell_and_the_best_starts_of_several(
    one: tuple[Store, Frames, Analysis], tmp_path: Path
) -> None:
    _, frames, analysis = one
    gains = sorted(analysis.significance["gain"], reverse=True)
    points = traces(first_screen(analysis, frames.trials))
    assert [point["x"][0] for point in points] == pytest.approx(gains[:6], rel=1e-4)
    several = load(build(tmp_path, targets=("a", "b"), seeds=(0, 1), images=False))
    of_cells = analyse(several, EMBEDDING)
    screen = first_screen(of_cells, several.trials)
    assert len(traces(screen)) == len(of_cells.best) == 4
    assert screen is not None
    assert "each cell" in screen.panel.caption.lower() if screen.panel else False
    without = replace(of_cells, best=of_cells.best.iloc[:0])
    assert first_screen(without, several.trials) is None


def test_colour_and_ends_of_an_interval_say_what_is_known(one: tuple[Store, Frames, Analysis]) -> None:
    rows = one[2].significance.head(3).assign(
        name=["better", "open", "worse"], gain=[1.0, 0.2, -1.0], low=[0.5, -9.0, -1.5], high=[1.5, 9.0, -0.5],
        outcome=[Outcome.APART, Outcome.NOT_APART, Outcome.APART],
    )  # fmt: skip
    figure = figures.gain_intervals(rows)
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [point.marker.symbol for point in points] == ["circle", "circle-open", "circle"]
    assert len({point.marker.color for point in points}) == 3
    ends = [trace.marker.symbol for trace in figure.data if trace.mode == "lines+markers"]
    assert ends == [("line-ns-open",) * 2, ("triangle-left", "triangle-right"), ("line-ns-open",) * 2]
    unknown = figures.gain_intervals(rows.assign(low=float("nan"), high=float("nan")))
    assert all(trace.mode == "markers" for trace in unknown.data)
