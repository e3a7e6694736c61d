"""The study of few images: its statistics on data whose truth is known, and its document."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.studies.few_shot import __main__ as command
from analysis.studies.few_shot.figure import draw
from analysis.studies.few_shot.photographs import __main__ as photographs
from analysis.studies.few_shot.ranking import blocks, compared, gains, pairs, views
from analysis.studies.few_shot.results import Results, from_store, kept
from bench.sweeps.loading import load_spec
from tests.support import synthetic

FOLDER = Path(command.__file__).parent


def made(gains: dict[str, float], seed: int, noise: float = 0.05) -> pd.DataFrame:
    """Return curves in which strategies have gains (log2) over scratch, on top of effects of the size and of the seed."""
    random = np.random.default_rng(seed)
    rows = []
    of_seed = random.normal(0, 1, 3)
    for (strategy, gain), augmentation, size, run in itertools.product(gains.items(), ("none", "apa"), (10, 50), range(3)):
        for source, step in itertools.product([None] if "scratch" in strategy else ["near", "far"], (120, 240)):
            if augmentation == "apa" and strategy not in ("scratch", "finetune"):
                continue
            log_fid = 8 - np.log2(size) - step / 120 - gain + of_seed[run] + random.normal(0, noise)
            rows.append({
                "strategy": strategy, "augmentation": augmentation, "source": source, "size": size, "seed": run, "step": step,
                "fid": 2**log_fid, "lost": False,
            })  # fmt: skip
    return pd.DataFrame(rows)


def test_methods_are_ranked_by_their_gains_and_told_apart_by_tukeys_test():
    curves = made({"scratch": 0.0, "finetune": 1.0, "ewc": 0.95, "lora": -2.0}, seed=1)
    results = Results(curves, pd.DataFrame())
    (whole,), parts, (augmented,) = views(results)
    table = blocks(whole)
    assert table.shape == (4, 3)
    one = curves[(curves["strategy"] == "lora") & (curves["step"] == 240) & (curves["seed"] == 2)]
    assert table.loc["lora", 2] == pytest.approx(np.log2(one["fid"]).mean())
    ranked = compared(whole)
    assert ranked["method"].tolist()[2:] == ["scratch", "lora"]
    assert ranked["outcome"].tolist() == ["not testable", "not told apart", "told apart", "told apart"]
    # p-values and intervals are those of SciPy's studentized range for a randomised complete block design.
    values = table.to_numpy()
    residuals = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    error, freedom = np.sqrt((residuals**2).sum() / 6 / 3), 6
    for row in pairs(whole).to_dict("records"):
        ratio = table.loc[row["second"]].mean() - table.loc[row["first"]].mean()
        assert row["ratio"] == pytest.approx(ratio)
        assert row["p"] == pytest.approx(stats.studentized_range.sf(ratio / error, 4, freedom), rel=1e-3, abs=1e-8)
        assert row["high"] - row["ratio"] == pytest.approx(stats.studentized_range.isf(0.05, 4, freedom) * error, rel=1e-3)
    against_scratch = gains(results).set_index("method")
    assert against_scratch.loc["lora", "ratio"] == pytest.approx(2.0, abs=0.15)
    assert [view.name for view in parts] == ["10 images", "50 images", "from far", "from near"]
    assert sorted(blocks(augmented).index) == ["finetune + apa", "finetune + none", "scratch + apa", "scratch + none"]
    assert len(draw(results).to_dict()["data"]) == 2


def test_a_method_with_a_lost_trial_is_last_and_not_tested():
    curves = made({"scratch": 0.0, "finetune": 1.0, "ewc": 0.5}, seed=2)
    lost = (curves["strategy"] == "finetune") & (curves["seed"] == 1) & (curves["size"] == 10) & (curves["source"] == "far")
    curves = curves[~(lost & (curves["step"] == 240))].assign(lost=lost)
    ranked = compared(views(Results(curves, pd.DataFrame()))[0][0])
    assert ranked["method"].tolist() == ["ewc", "scratch", "finetune"]
    assert ranked["fid"].isna().tolist() == [False, False, True]
    assert ranked["outcome"].tolist()[1:] == ["told apart", "not testable"]


def test_no_pair_is_told_apart_where_there_is_no_difference():
    same = dict.fromkeys(("scratch", "finetune", "ewc", "lora", "cdc"), 0.0)
    wrong = sum(
        (pairs(views(Results(made(same, seed), pd.DataFrame()))[0][0])["outcome"] == "told apart").any() for seed in range(40)
    )
    assert wrong <= 6, "5 % of the studies, and a margin of three standard errors"


def test_results_are_those_of_a_store(tmp_path: Path):
    store = synthetic.build(tmp_path, targets=("digits",), seeds=(0, 1), keep=1.0, images=False)
    results = from_store(store, ["quickstart"], "quickstart")
    results.write(tmp_path)
    assert len(pd.read_csv(tmp_path / "curves.csv")) == len(results.curves)
    fid = (
        store.read("measurements")
        .query("metric == 'fid' and step > 0")
        .merge(store.read("trials"), left_on="trial", right_on="key")
    )
    assert sorted(results.curves["fid"].dropna()) == sorted(fid[fid["kind"] == "adapt"]["value"])
    assert {"kind", "rho", "p"} <= set(results.predictors)


def test_the_document_has_the_tables_of_the_kept_results():
    document = (FOLDER / "README.md").read_text()
    for line in command.tables(kept()):
        assert line in document


def test_the_document_of_the_photographs_has_the_kept_table():
    document = (FOLDER / "photographs/README.md").read_text()
    table = photographs.table(photographs.kept())
    for line in table:
        assert line in document
    values = photographs.kept().query("embedding == 'mobilenet_v2'").assign(log_fid=lambda rows: np.log2(rows["fid"]))
    (of_fast, of_style) = (
        values.loc[(values["family"] == family) & (values["strategy"] == strategy), "log_fid"]
        for family, strategy in (("fast", "scratch"), ("style", "finetune"))
    )
    assert any(f"×{2 ** (of_fast.mean() - of_style.mean()):.2f} (" in line for line in table if "fast scratch" in line)
    specs = [load_spec(str(FOLDER / f"photographs/{family}.yaml"), plan_only=True) for family in photographs.SWEEPS]
    assert [spec.name for spec in specs] == [*photographs.SWEEPS.values()]
    assert len({str(spec.evaluation.embedding) for spec in specs}) == 1


def test_the_sweep_files_share_their_search_and_their_networks():
    specs = [load_spec(str(path)) for path in sorted(FOLDER.glob("*.yaml"))]
    assert [spec.name for spec in specs] == ["few-shot-augmentations", "few-shot-predictors", "few-shot-study"]
    assert len({(str(spec.gan), str(spec.training), str(spec.tuning), str(spec.pretrain)) for spec in specs}) == 1
    preset = load_spec("few-shot", ["evaluation.embedding=builtin"])
    plain = {name.removesuffix("[rate=1]") for name in preset.strategies}
    assert plain == set(specs[2].strategies)


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["few_shot", "--json"])
    command.main()
    printed = json.loads(capsys.readouterr().out)
    methods = len(compared(views(kept())[0][0]))
    assert len(printed["pairs"]["all"]) == methods * (methods - 1) // 2
    assert {row["kind"] for row in printed["predictors"]} >= {"fid", "recall", "projection", "critic", "probe"}
