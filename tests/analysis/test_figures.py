"""The traces, colours and names in the figures."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis import figures
from analysis.figures.direct_labels import spread
from analysis.figures.learning_curves import points_of
from analysis.frames import Frames, load
from analysis.report.content import panels, paper_panels
from analysis.transfer.transferability import transfer_gain
from tests.support.synthetic import SOURCES, build


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return load(build(tmp_path_factory.mktemp("store"), faults=True))


def cell(frames: Frames, label: str = "digits, 50 images") -> pd.DataFrame:
    return frames.curves[frames.curves["cell_label"] == label]


def named(figure: go.Figure, name: str) -> go.Scatter:
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def test_colours_are_fixed_and_distinct(frames: Frames) -> None:
    style = figures.Style.of(frames.trials)
    assert style.strategies == ("scratch", "finetune", "finetune-d", "finetune-g")
    assert len({style.color(s) for s in style.strategies}) == 4
    assert len({style.symbol(s) for s in style.sources}) == len(SOURCES)
    many = figures.Style(("scratch", *(f"s{k:02}" for k in range(21))), ())
    looks = {(many.color(s), many.dash(s)) for s in many.strategies}
    assert len(looks) == 22, "a palette that repeats does so with another dash"


def test_learning_curves_draw_every_method_and_mark_early_ends(frames: Frames) -> None:
    style = figures.Style.of(frames.trials)
    figure = figures.learning_curves(cell(frames), style)
    scratch = named(figure, "scratch")
    assert figure.data[-1].name == "scratch", "scratch lies on top"
    assert scratch.line.color == figures.NEUTRAL
    assert scratch.line.width > named(figure, "finetune from letters").line.width
    assert len(scratch.x) == 4
    assert list(figure.layout.xaxis.ticktext) == ["0", "50", "100", "200"]
    assert figure.layout.yaxis.type == "log"
    marks = {trace.marker.symbol for trace in figure.data if trace.mode == "markers"}
    assert marks == set(figures.ENDS.values())


def test_seeds_become_a_mean_and_a_band(tmp_path: Path) -> None:
    frames = load(build(tmp_path, seeds=(0, 1, 2), keep=1.0, sizes=(50,)))
    figure = figures.learning_curves(frames.curves, figures.Style.of(frames.trials))
    method = [t for t in figure.data if t.meta == {"strategy": "finetune", "source": "letters"}]
    assert sorted(trace.mode for trace in method) == ["lines", "lines", "lines+markers"], "the seeds share a trace"
    assert sum(trace.fill == "toself" for trace in method) == 1
    mean = named(figure, "finetune from letters")
    rows = frames.curves[(frames.curves["strategy"] == "finetune") & (frames.curves["source"] == "letters")]
    last = rows[(rows["step"] == 200) & (rows["metric"] == "fid")]["value"]
    assert mean.y[-1] == pytest.approx(last.mean())
    assert "mean of 3 seeds" in mean.hovertext[-1]


def test_seeds_that_share_no_rung_are_drawn_without_a_mean(tmp_path: Path) -> None:
    frames = load(build(tmp_path, seeds=(0, 1), keep=1.0, sizes=(50,)))
    even = frames.curves["step"].map({0: 0, 50: 1, 100: 0, 200: 1}) == frames.curves["seed"]
    figure = figures.learning_curves(frames.curves[even], figures.Style.of(frames.trials))
    method = [t for t in figure.data if t.meta == {"strategy": "finetune", "source": "letters"}]
    assert [sum(y is not None for y in trace.y) for trace in method] == [0, 4, 0], "the band, the seeds and the mean"


def test_negative_kid_is_drawn_on_a_linear_axis(frames: Frames) -> None:
    rows = cell(frames).assign(value=lambda f: f["value"] - 1000)
    figure = figures.learning_curves(rows, figures.Style.of(frames.trials), metric="kid")
    assert figure.layout.yaxis.type is None


def test_fid_by_size(frames: Frames) -> None:
    rows = pd.DataFrame({"strategy": ["scratch", "scratch", "finetune"], "size": [50, 500, 50], "value": [90.0, 60.0, 20.0]})
    figure = figures.fid_by_size(rows.assign(note="from <b>"), figures.Style.of(frames.trials))
    assert [trace.name for trace in figure.data] == ["finetune", "scratch"]
    assert list(figure.layout.xaxis.ticktext) == ["50", "500"]
    assert "from &lt;b&gt;" in figure.data[0].hovertext[0]


def test_the_floor_is_a_line_within_the_axis(frames: Frames) -> None:
    curves = frames.curves[(frames.curves["cell"] == frames.curves["cell"].dropna().iloc[0])]
    lowest = curves.loc[curves["metric"] == "fid", "value"].min()
    for floor, drawn in ((lowest / 2, [lowest / 2]), (lowest / 4, [])):
        figure = figures.learning_curves(curves, figures.Style.of(frames.trials), "fid", floor)
        assert [shape.y0 for shape in figure.layout.shapes if shape.type == "line" and shape.y0 == shape.y1] == drawn
        assert figure.layout.yaxis.type == "log"
        low, high = figure.layout.yaxis.range
        assert all(low < math.log10(y) < high for y in drawn)


def test_heat_map_shows_ratios_and_leaves_gaps(frames: Frames) -> None:
    row = {"cell_label": "digits, 50 images", "source_label": "near", "gain": 1.0, "step": 2500, "seeds": 1}
    row["strategy"] = "finetune"
    figure = figures.heat_map(
        pd.DataFrame([row]), 2.0, cells=pd.DataFrame({"cell_label": ["digits, 50 images"]}), sources=["near", "far"]
    )
    (heat,) = figure.data
    assert [list(line) for line in heat.z] == [[1.0, None]]
    assert [list(line) for line in heat.text] == [["2.0×", ""]]
    assert (heat.zmin, heat.zmax) == (-2.0, 2.0)
    assert list(figure.layout.yaxis.ticktext) == ["digits<br>50 images"]


def test_fid_by_class_has_no_colour_where_a_value_is_not_finite() -> None:
    values = {"scratch": (8.0, math.inf, 4.0, 0.0), "finetune": (2.0, 3.0, math.inf, math.nan)}
    rows = [(name, None, str(number), value) for name in values for number, value in enumerate(values[name])]
    figure = figures.fid_by_class(pd.DataFrame(rows, columns=["strategy", "source_label", "class", "value"]))
    assert [list(line) for line in figure.data[0].z] == [[0, 0, 0, 0], [2, 0, 0, 0]]


def test_the_papers_numbers_are_labelled_grey_and_of_no_strategy(frames: Frames) -> None:
    rows = pd.DataFrame(
        {"strategy": "finetune", "size": [50, 500], "gain": [2.0, 1.0], "source_label": "<b>", "target_label": "t"}
    )
    figure = figures.gain_by_size(rows, paper_panels.size_gains(), figures.Style.of(frames.trials))
    theirs, ours = figure.data
    assert list(theirs.x)[:2] == [1_000, 5_000]
    assert 2 ** theirs.y[0] == pytest.approx(256.1 / 93.4)
    assert (theirs.line.color, theirs.meta) == (figures.NEUTRAL, {"paper": figures.PAPER})
    assert "&lt;b&gt;" in ours.hovertext[0]
    (by_distance,) = paper_panels.gain_by_distance()
    assert "Table 5 (recalled; its digits are not confirmed)" in by_distance.caption


def test_gain_by_distance_has_points_fits_and_labels(frames: Frames) -> None:
    gains = transfer_gain(frames.curves)
    rows = gains[(gains["cell_label"] == "digits, 500 images") & (gains["at"] == "first")]
    points = rows.assign(distance=rows["source"].map(SOURCES), name=rows["source_label"])
    figure = figures.gain_by_distance(points, figures.Style.of(frames.trials))
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == 12
    assert sum(trace.mode == "lines" for trace in figure.data) == 3
    names, lines = [[a for a in figure.layout.annotations if (a.xref == "paper") == paper] for paper in (False, True)]
    assert {a.text for a in names} == set(SOURCES)
    assert [a.text.rpartition(" ")[2] for a in lines] == ["finetune-g", "finetune-d", "finetune"], "named at their ends"
    long = points.assign(
        name=points["name"].map(lambda name: name if name == "shapes" else f"{name} → a target of a very long name")
    )
    drawn = figures.gain_by_distance(long, figures.Style.of(frames.trials)).layout
    assert [a.text for a in drawn.annotations][:-3] == ["shapes"], "a name that is wider than the figure is left out"
    assert len(drawn.meta["labels"]) == 4
    two = points[points["source"].isin(["letters", "shapes"])]
    assert not any(t.mode == "lines" for t in figures.gain_by_distance(two, figures.Style.of(frames.trials)).data)


def test_a_source_with_more_strategies_than_colours_has_several_figures(frames: Frames) -> None:
    rows = cell(frames)
    one = rows[(rows["strategy"] == "finetune") & (rows["source"] == "letters")]
    many = [one.assign(strategy=f"s{number}", trial=f"t{number}", value=one["value"] + 100 * number) for number in range(7)]
    both = pd.concat([*many, rows[rows["strategy"] == "scratch"]])
    points = points_of(both[both["metric"] == "fid"])
    drawn = [*panels._by_source(points, figures.Style.of(both), None, {})]
    assert [panel.title for panel in drawn] == ["from letters (1 of 2)", "from letters (2 of 2)"]
    for panel, number in zip(drawn, (3, 4), strict=True):
        lines = [trace for trace in json.loads(panel.figure)["data"] if trace["mode"] == "lines+markers"]
        assert len({trace["line"]["color"] for trace in lines}) == len(lines) == number + 1, "and scratch"
    first, second = (json.loads(panel.figure)["layout"]["yaxis"]["range"] for panel in drawn)
    assert first == second, "figures side by side share their axes"
    assert 10 ** first[1] > max(many[-1].loc[many[-1]["metric"] == "fid", "value"]), "which hold the curves of all"


def test_lines_are_named_at_their_ends_without_overlap(frames: Frames) -> None:
    figure = figures.learning_curves(cell(frames, "digits, 500 images"), figures.Style.of(frames.trials))
    labels = figure.layout.annotations
    assert {label.text.rpartition(" ")[2] for label in labels} == {"scratch", "finetune", "finetune-d", "finetune-g"}
    places = [label.y for label in labels]
    assert all(later - earlier > 0.08 for earlier, later in pairwise(places)), "a line of text is 14 of 170 pixels high"
    assert len(figure.layout.meta["labels"]) == len(labels), "the page hides a name with its line"
    assert spread([0.1, 0.1, 0.9, 1.0], 0.2) == pytest.approx([0.1, 0.3, 0.8, 1.0])


@pytest.mark.parametrize(("gain", "words"), [(0.0, "1.0×"), (1.0, "2.0×"), (-2.0, "0.25×"), (7.0, "128×")])
def test_gains_as_ratios(gain: float, words: str) -> None:
    assert figures.ratio(gain) == words


@pytest.mark.parametrize(("bound", "end"), [("", "line-ns-open"), ("at least", "triangle-right"), ("at most", "triangle-left")])
def test_data_multiplier_is_a_line_to_the_equivalent_size(frames: Frames, bound: str, end: str) -> None:
    rows = pd.DataFrame({"strategy": ["scratch", "scratch", "finetune"], "size": [50, 500, 50], "value": [90.0, 60.0, 70.0]})
    row = {"strategy": "finetune", "size": 50, "value": 70.0, "equivalent": 232.0, "bound": bound, "words": "<b> 4.6×"}
    figure = figures.fid_by_size(rows.assign(note=""), figures.Style.of(frames.trials), saved=pd.DataFrame([row]))
    (line,) = [trace for trace in figure.data if trace.line.dash == "2px,3px"]
    assert (list(line.x), list(line.y)) == ([50, 232.0], [70.0, 70.0])
    assert line.marker.symbol[1] == end
    assert line.hovertext == "&lt;b&gt; 4.6×"
    assert line.meta == {"strategy": "finetune", "source": None, "size": 50}
