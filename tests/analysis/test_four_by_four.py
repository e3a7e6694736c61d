"""The study of four data sets: its statistics on data whose truth is known, and its document."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.studies.four_by_four import __main__ as command
from analysis.studies.four_by_four.claims import findings, gain, means, source_effects, speed_up
from analysis.studies.four_by_four.figure import draw
from analysis.studies.four_by_four.results import Results, from_store, kept
from tests.support import synthetic

NAMES = ("a", "b", "c", "d")
FOLDER = Path(command.__file__).parent


def made(gains: dict[str, float], seed: int | None = None, slower: float = 0.0) -> Results:
    """Return results in which scratch halves its FID with each doubling of the steps, and a strategy has a gain (log2).

    The gain of `finetune` at size 50 is that of its name plus `slower`; distances are such that nearer sources come first in
    the alphabet. With a seed, every value of an adaptation has noise.
    """
    noise = np.random.default_rng(seed)
    rows = []
    for target, size in itertools.product(NAMES, (50, 500)):
        methods = [("scratch", None), *itertools.product(gains, (name for name in NAMES if name != target))]
        for (strategy, source), of_seed, step in itertools.product(methods, (0, 1), (60, 120, 240, 480)):
            better = gains.get(strategy, 0.0) + (slower if strategy == "finetune" and size == 50 else 0.0)
            log_fid = 6 - np.log2(step / 60) - better + (0.0 if seed is None else noise.normal(0, 0.1))
            rows.append({
                "kind": "adapt", "source": source, "target": target, "size": size, "strategy": strategy, "seed": of_seed,
                "training": None if source is None else of_seed, "step": step, "fid": 2**log_fid, "standard_error": 0.01,
            })  # fmt: skip
    for name, training, step in itertools.product(NAMES, (0, 1), (60, 120)):
        rows.append({"kind": "pretrain", "source": name, "training": training, "step": step, "fid": 100 / step})
    far = [
        {"source": s, "target": t, "training": None, "kind": "fid", "value": 10.0 * (1 + NAMES.index(s)), "low": 0, "high": 99}
        for s, t in itertools.permutations(NAMES, 2)
    ]
    figures = [{"domain": n, "figure": "diversity", "value": 1.0 + NAMES.index(n), "low": 0.0, "high": 9.0} for n in NAMES]
    return Results(pd.DataFrame(rows), pd.DataFrame(far), pd.DataFrame(figures))


def test_findings_recover_what_the_data_were_made_from():
    results = made({"finetune": 1.0, "finetune-g": 0.25, "finetune-d": 0.75}, seed=1, slower=0.5)
    table = findings(results)
    assert table["claim"].tolist() == [1, 1, 1, 2, 3, 3, 5]
    np.testing.assert_allclose(table["value"][:6], [1.25, 1.25, 1.25, 0.5, 0.5, 0.5], atol=0.12)
    assert table["verdict"].tolist() == ["supported"] * 6 + ["open"]
    opposite = findings(made({"finetune": -1.0, "finetune-g": 0.75, "finetune-d": 0.25}, seed=1, slower=-0.5))
    assert opposite["verdict"].tolist()[3:6] == ["contradicted"] * 3


def test_nothing_is_claimed_where_there_is_nothing():
    verdicts = [
        findings(made({"finetune": 0.0, "finetune-g": 0.0, "finetune-d": 0.0}, seed=seed))["verdict"] for seed in range(40)
    ]
    wrong = sum((verdict != "open").any() for verdict in verdicts)
    assert wrong <= 6, "5 % of sweeps, and a margin of three standard errors"


@pytest.mark.parametrize(("better", "expected"), [(0.0, 0.0), (1.0, 1.0), (1.5, 1.5), (5.0, 3.0), (-1.0, 0.0)])
def test_the_speed_up_is_the_ratio_of_steps_within_the_rungs(better: float, expected: float):
    fast = speed_up(means(made({"finetune": better}).curves))
    np.testing.assert_allclose(fast["speed_up"], expected, atol=1e-9)
    assert len(fast) == 24


def test_source_effects_are_those_of_a_diallel_without_selfs():
    """The least squares of y = source + target without the diagonal have a closed form (Griffing 1956, method 3)."""
    results = made({"finetune": 0.5}, seed=3)
    rows = gain(means(results.curves))
    cells = rows[rows["step"] == 480].groupby(["source", "target"])["gain"].mean().unstack().fillna(0.0)
    n, of_source, of_target, total = 4, cells.sum(axis=1), cells.sum(), cells.to_numpy().sum()
    source = ((n - 1) * of_source + of_target - total) / (n * (n - 2))
    target = ((n - 1) * of_target + of_source - total) / (n * (n - 2))
    fitted = total / (n * (n - 1)) + source.to_numpy()[:, None] + target.to_numpy()
    squares = np.sum((cells.to_numpy() - fitted)[~np.eye(n, dtype=bool)] ** 2)
    margin = stats.t.ppf(0.975, 5) * np.sqrt(squares / 5 * (n - 1) ** 2 / (n**2 * (n - 2)))
    effects = source_effects(results).set_index("source")
    for name in NAMES:
        assert effects["gain"][name] == pytest.approx(source[name])
        assert effects["high"][name] - source[name] == pytest.approx(margin)
        assert source[name] - effects["low"][name] == pytest.approx(margin)
    assert effects["own_fid"].tolist() == pytest.approx([100 / 120] * 4)


def test_nearness_is_tested_by_all_permutations_of_the_sources():
    results = made({"finetune": 0.0, "finetune-g": 0.0, "finetune-d": 0.0}, seed=5)
    curves = results.curves
    near = curves["source"].map({name: 2.0 * (3 - number) for number, name in enumerate(NAMES)}).fillna(0)
    curves.loc[curves["strategy"] == "finetune", "fid"] /= 2 ** near[curves["strategy"] == "finetune"]
    last = findings(results).iloc[-1]
    assert (last["claim"], last["value"]) == (5, pytest.approx(1.0))
    assert last["p"] == pytest.approx(2 / 6**4), "all of the 3! orders in each of 4 targets; two of them are as extreme"


def test_results_are_those_of_a_store(tmp_path: Path):
    store = synthetic.build(tmp_path, targets=("digits", "faces"), seeds=(0, 1), keep=1.0, images=False)
    results = from_store(store, "quickstart")
    results.write(tmp_path)
    assert len(pd.read_csv(tmp_path / "curves.csv")) == len(results.curves)
    assert set(results.distances["source"]) == set(results.curves["source"].dropna())
    trials = store.read("trials")
    measured = store.read("measurements").query("metric == 'fid'").merge(trials, left_on="trial", right_on="key")
    for row in results.curves.sample(20, random_state=0).itertuples():
        same = measured[
            (measured["step"] == row.step) & (measured["strategy"] == row.strategy) & (measured["seed"] == row.seed)
        ]
        same = same[(same["target"] == row.target) & (same["size"] == row.size)]
        same = same[same["source"].isna() if pd.isna(row.source) else same["source"] == row.source]
        assert same["value"].tolist() == [row.fid]


def test_the_document_has_the_findings_of_the_kept_results():
    document = (FOLDER / "README.md").read_text()
    for line in command.tables(kept()):
        assert line in document
    assert draw(kept()).to_dict()["data"]


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["four_by_four", "--json"])
    command.main()
    printed = json.loads(capsys.readouterr().out)
    assert [row["claim"] for row in printed["findings"]] == [1, 1, 1, 2, 3, 3, 5]
    assert {row["source"] for row in printed["sources"]} == set(kept().curves["target"].dropna())
