"""The table of all figures judges what the benchmarks print; `test_benchmark` checks that it finds each figure there."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.figures import profiles
from tests.benchmarks.figures.__main__ import main
from tests.benchmarks.figures.goals import GROUPS, Figure, Group
from tests.benchmarks.figures.table import Row, judged

pytestmark = pytest.mark.slow


def test_a_table_names_each_figure_that_misses_its_goal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """A command that fails costs its own figures only."""
    monkeypatch.setitem(GROUPS, "read", Group("harness --read --rows 40 --per-part 20 --rounds {rounds}", (
        Figure("rows", "rows", {"store": "compacted"}, before=50.0, least=40.0, ratio="parts"),
        Figure("parts", "parts", {"store": "as written"}, before="rows", most=1.0), Figure("s", "seconds"),
    )))  # fmt: skip
    monkeypatch.setitem(GROUPS, "plan", Group("harness --plan --trials 0", (Figure("plan", "seconds", most=1.0),)))
    monkeypatch.setattr("sys.argv", ["benchmark", "--only", "plan", "read", "--rounds", "1", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    output = capfd.readouterr()
    assert "argument --trials: 0 is less than 1" in output.err
    assert "misses its goal: plan\nmisses its goal: parts\nleft out:" in output.err
    rows = [json.loads(line) for line in output.out.splitlines()]
    assert [row.pop("holds") for row in rows] == [False, True, False, None]
    assert [(row["before"], row["now"], row["ratio"]) for row in rows[1:3]] == [(50, 40, 1), (40, 2, None)]
    command = "python -m tests.benchmarks.harness --read --rows 40 --per-part 20 --rounds 1 --json"
    assert Row(**rows[1]).text.split() == ["rows", "50", "40", "at", "least", "40", "holds", "1.00x", *command.split()]


def test_a_figure_may_have_the_range_of_a_peer_as_its_goal():
    group = Group("training", (Figure("fid", "fid", {"mode": "fast"}, least="low", most="high"),))
    for fid, holds in ((0.9, False), (1.5, True), (2.1, False)):
        rows = [{"mode": "plain", "fid": 9.0}, {"mode": "fast", "fid": fid, "low": 1.0, "high": 2.0}]
        (row,) = judged(group, 1, rows)
        assert (row.holds, "1 to 2" in row.text) == (holds, True)


@pytest.mark.endurance(only=True)
def test_what_takes_the_time_is_written_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["benchmark", "--profile", str(tmp_path)])
    main()
    texts = {file.stem: file.read_text() for file in tmp_path.iterdir()}
    assert texts.keys() == profiles.PROFILES.keys()
    assert "aten::convolution_backward" in texts["step"]
    assert "page.py" in texts["page"]
    assert "expansion.py" in texts["plan"]
    assert "loop.py" in texts["driver"]
    assert "bench.cli" in texts["verbs"]
