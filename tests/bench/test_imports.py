"""Imports: networks trained elsewhere are read, matched, measured and used as a source; invalid files are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save, save_file
from torch import Tensor

from analysis.frames import load
from analysis.report.page import write_report
from bench.cli import main
from bench.driver.ledger import Ledger
from bench.images.imports import imported
from bench.store import Store, open_store
from bench.store.trial_files import last_checkpoint
from bench.sweeps.expansion import make_plan
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec
from bench.upkeep.check import check
from bench.worker import distances
from tests.support import tiny
from tests.support.command_line import call
from tests.support.pages import trials_of
from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.domains import get
from trainers.networks import make_critic, make_generator
from trainers.trial import checkpoints
from trainers.trial.imports import fit, read, read_names
from trainers.trial.run import run

GAN = GanConfig(**tiny.SPEC["gan"])
SOURCE = "numerals[classes=3,per_class=20]"


def networks(classes: int = 0) -> dict[str, Tensor]:
    """Return the tensors of both networks, by our names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pair = {"generator": make_generator(GAN, classes), "critic": make_critic(GAN, classes)}
        state = {f"{name}.{key}": t.contiguous() for name, network in pair.items() for key, t in network.state_dict().items()}
        return {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in state.items()}  # no two rows are equal


def theirs() -> tuple[dict[str, Tensor], dict[str, str | None]]:
    """Return tensors in half precision under other names, as trained elsewhere, and the map from those names to ours."""
    names: dict[str, str | None] = {f"model/{ours}": ours for ours in networks()}
    tensors = {f"model/{ours}": tensor.half() for ours, tensor in networks().items()}
    return {**tensors, "generator.step": torch.tensor(7), "optimizer.m": torch.ones(3)}, {**names, "generator.step": None}


def planned(store: Store, **changes: object) -> Plan:
    spec = {**tiny.SPEC, **tiny.SMALL, "evaluation": {"samples": 64, "first_rung": 8}, **changes}
    return make_plan(SweepSpec.model_validate(spec), imported(store))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a store with an import, which tests must not change, and the output of the command."""
    folder = tmp_path_factory.mktemp("import")
    tensors, names = theirs()
    save_file(tensors, folder / "net.safetensors")
    (folder / "names.json").write_text(json.dumps(names))
    spec = {**tiny.SPEC, **tiny.SMALL, "evaluation": {"samples": 64, "first_rung": 8}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(spec))
    result = call(
        "import", folder / "net.safetensors", "--domain", SOURCE, "--name", "theirs", "--map", folder / "names.json",
        "--for", folder / "sweep.yaml", "--store", folder / "store",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder / "store", result.stdout


@pytest.fixture
def store(once: tuple[Path, str], tmp_path: Path) -> Store:
    shutil.copytree(once[0], tmp_path / "store")
    return open_store(str(tmp_path / "store"))


@pytest.mark.slow
def test_an_import_is_matched_measured_and_recorded(store: Store, once: tuple[Path, str]):
    ours = networks()
    generator, critic = (sum(name.startswith(prefix) for name in ours) for prefix in ("generator.", "critic."))
    *lines, last = once[1].splitlines()
    assert lines == [
        f"generator: {generator} of {generator} tensors matched", f"critic: {critic} of {critic} tensors matched",
        "ignored: 'generator.step' ()", "ignored: 'optimizer.m' (3,)",
    ]  # fmt: skip
    (((name, conditional), trial),) = imported(store).items()
    assert (name, conditional) == ("import:theirs", False)
    assert last.startswith(f"import:theirs: trial {trial.key}, FID ")
    assert check(store) == []
    newest = last_checkpoint(store, trial.key)
    assert newest is not None
    stored = checkpoints.load(newest[1], newest[0])
    assert all(torch.equal(stored.tensors[key], tensor.half().float()) for key, tensor in ours.items())
    assert not stored.resumable
    values = store.read("measurements").set_index("metric")["value"]
    assert f"FID {values['fid']:.1f} on " in last


def test_a_sweep_and_a_chain_start_from_an_import(store: Store, tmp_path: Path):
    chain = "import:theirs -> shapes[classes=2,per_class=20]"
    plan = planned(store, sources=["import:theirs", chain])
    source, second = plan.of_kind("pretrain")
    assert second.parent == source.key
    assert [trial.source and trial.source.name for trial in plan.of_kind("adapt")] == [None, "import:theirs", chain]
    assert tiny.run_here(plan, store) == []
    assert set(tiny.outcomes(store)["status"]) == {"done"}
    assert check(store) == []
    assert tiny.run_here(plan, store) == []
    ledger = Ledger.open(plan, store)
    ends = [(name, key) for name, key, _ in distances.missing(plan, ledger, store)]
    assert ends == [(chain, None), ("import:theirs", source.key), (chain, second.key)]
    distances.measure(store.address, "small", "builtin", 8, 64, "import:theirs", source.key, ("digits",))
    assert load(store).domains["import:theirs"] == "import:theirs"
    page = write_report(store, tmp_path / "page.html").read_text()
    assert "import:theirs" in page
    assert "It was imported: no step of it was run here." in json.dumps(trials_of(page))


def test_a_trial_from_an_import_starts_with_its_tensors(store: Store):
    plan = planned(store, sources=["import:theirs"])
    (source,) = plan.of_kind("pretrain")
    newest = last_checkpoint(store, source.key)
    assert newest is not None
    first = next(run(plan.of_kind("adapt")[1], parent=checkpoints.load(newest[1], newest[0]))).checkpoint
    assert first is not None
    start = checkpoints.load(first, "here").tensors
    assert all(torch.equal(start[key], tensor.half().float()) for key, tensor in networks().items())


def test_an_import_without_its_checkpoint_must_be_imported_again(store: Store):
    plan = planned(store, sources=["import:theirs"])
    shutil.rmtree(Path(store.root) / "checkpoints")
    with pytest.raises(UserError, match="'import:theirs' is an import whose checkpoint the store lacks; import it again"):
        tiny.run_here(plan, store)


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "message"), [
    ({"sources": ["import:thiers"]}, "no unconditional source 'import:thiers'; see transfergan import --help"),
    ({"conditional": [True]}, "no conditional source 'import:theirs'; it is unconditional"),
    ({"gan": {**tiny.SPEC["gan"], "width": 8}}, "gan.width: source 'import:theirs' was imported with 4, and the sweep has 8"),
    ({"sources": ["shapes -> import:theirs"]}, "'import:theirs' is imported, so it can only be the first link of chain"),
    ({"sources": [["shapes", "import:theirs"]]}, "unknown domain 'import:theirs'"),
], ids=str)  # fmt: skip
def test_a_sweep_that_names_an_import_wrongly_is_refused(store: Store, changes: dict[str, object], message: str):
    with pytest.raises(UserError) as caught:
        planned(store, **{"sources": ["import:theirs"], **changes})
    assert message in str(caught.value)


def test_a_default_of_the_sweep_differs_too_from_what_was_imported(store: Store):
    ((name, trial),) = imported(store).items()
    other = trial.model_copy(update={"gan": trial.gan.model_copy(update={"mapping": 4})})
    spec = SweepSpec.model_validate({**tiny.SPEC, **tiny.SMALL, "sources": ["import:theirs"]})
    with pytest.raises(UserError, match=r"gan\.mapping: .* was imported with 4, and the sweep has 8"):
        make_plan(spec, {name: other})


@pytest.mark.slow
def test_a_conditional_import_has_its_domains_classes(tmp_path: Path):
    save_file(networks(3), tmp_path / "net")
    small = [word for key, value in tiny.SPEC["gan"].items() for word in ("--set", f"gan.{key}={value}")]
    arguments = ("--domain", SOURCE, "--name", "labelled", "--set", "evaluation.samples=64", *small, "--conditional")
    assert call("import", tmp_path / "net", "--store", tmp_path / "store", *arguments).exit_code == 0
    store = open_store(str(tmp_path / "store"))
    plan = planned(store, sources=["import:labelled"], conditional=[True])
    (source,) = plan.of_kind("pretrain")
    assert source.domain.classes == get(SOURCE).classes
    newest = last_checkpoint(store, source.key)
    assert newest is not None
    first = next(run(plan.of_kind("adapt")[1], parent=checkpoints.load(newest[1], newest[0]))).checkpoint
    assert first is not None
    start, ours = checkpoints.load(first, "here"), networks(3)
    assert "norm.scale" in start.matches["generator"].remapped
    for row, name in enumerate(source.domain.classes):
        assert torch.equal(start.tensors["generator.norm.scale"][int(name)], ours["generator.norm.scale"][row])
    assert fit(networks(3), {}, GAN, 3).matches["critic"].unmatched == ()
    with pytest.raises(UserError, match="without a counterpart"):
        fit(networks(3), {}, GAN, 0).check("it")


def test_the_report_names_tensors_without_a_counterpart():
    tensors = networks()
    bias = tensors.pop("critic.score.bias")
    tensors |= {"generator.output.bias": torch.zeros(4), "critic.extra": bias, "critic.input.bias": torch.zeros(4).long()}
    fitting = fit(tensors, {}, GAN, 0)
    assert fitting.matches["critic"].missing == ("score.bias",)
    assert fitting.matches["critic"].unexpected == ("extra",)
    assert fitting.matches["critic"].mismatched == ("input.bias",), "integers are not weights"
    assert fitting.matches["generator"].mismatched == ("output.bias",)
    assert "  mismatched 'generator.output.bias': ours (3,), theirs (4,)" in fitting.lines
    assert "  missing    'critic.score.bias': ours (1,)" in fitting.lines
    assert "  unexpected 'critic.extra': theirs (1,)" in fitting.lines
    with pytest.raises(
        UserError, match=r"4 tensors without a counterpart .*, the first is mismatched 'generator.output.bias': ours"
    ):
        fitting.check("it")


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_a_tensor_of_our_shape_and_a_type_that_weights_do_not_have_is_named_with_its_type(kind: torch.dtype):
    tensors = networks()
    shape = tuple(tensors["generator.output.bias"].shape)
    with pytest.raises(UserError) as refused:
        fit(tensors | {"generator.output.bias": torch.zeros(shape, dtype=kind)}, {}, GAN, 0).check("it")
    line = f"mismatched 'generator.output.bias': ours {shape}, theirs {shape} of {str(kind).removeprefix('torch.')};"
    assert f"1 tensors without a counterpart of the same shape and of floating-point numbers, the first is {line}" in str(
        refused.value
    )


def test_the_fingerprint_does_not_depend_on_the_names_in_the_file():
    ours = {name: tensor.half().float() for name, tensor in networks().items()}
    assert fit(ours, {}, GAN, 0).fingerprint == fit(*theirs(), GAN, 0).fingerprint
    assert fit(networks(), {}, GAN, 0).fingerprint != fit(ours, {}, GAN, 0).fingerprint


def test_a_map_that_does_not_fit_the_file_is_refused():
    with pytest.raises(UserError, match="--map names tensor 'nowhere'"):
        fit(networks(), {"nowhere": "critic.input.bias"}, GAN, 0)
    with pytest.raises(UserError, match=r"two tensors of the checkpoint are named 'critic\.input\.bias'"):
        fit(networks(), {"critic.score.bias": "critic.input.bias"}, GAN, 0)


WHOLE = save(networks())


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (pytest.fail, ("unpickled",))


def pickled(path: Path) -> None:
    torch.save({"generator": Trap()}, path)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda path: path.write_bytes(WHOLE[:-9]), "is not a complete safetensors file"),
    (lambda path: path.write_bytes(WHOLE[:40]), "is not a complete safetensors file"),
    (lambda path: path.write_bytes(b""), "is not a complete safetensors file"),
    (lambda path: path.write_bytes(b"\xff" * 8 + WHOLE[8:]), "is not a complete safetensors file"),
    (lambda path: path.write_bytes(WHOLE.replace(b'"F32"', b'"F99"', 1)), "is not a complete safetensors file"),
    (pickled, "pickles are never opened"),
    (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    (lambda path: Path(f"{path}.index").touch(), "is a TensorFlow checkpoint, "),
    (lambda path: None, "cannot be read: No such file"),
    (lambda path: save_file({**networks(), "critic.score.bias": torch.tensor([torch.nan])}, path), "are not finite"),
    (lambda path: save_file({"\x1b[2J\n": torch.zeros(1)}, path), "does not fit"),
], ids=["end", "header", "empty", "length", "type", "pickle", "folder", "tensorflow", "absent", "nan", "names"])  # fmt: skip
def test_an_invalid_file_is_reported_in_one_line_with_status_2_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None],
    message: str,
):  # fmt: skip
    damage(tmp_path / "net")
    small = [word for key, value in tiny.SPEC["gan"].items() for word in ("--set", f"gan.{key}={value}")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["transfergan", "import", "net", "--domain", "digits", *small])
    with pytest.raises(SystemExit) as ended:
        main()
    done = capsys.readouterr()
    assert ended.value.code == 2
    (line,) = done.err.splitlines()
    assert message in line
    assert "\x1b" not in done.err + done.out
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("text", ["[", "[]", '{"a": 1}', "[" * 100_000, "\xff"], ids=["cut", "list", "number", "deep", "bytes"])
def test_a_map_is_a_json_object_of_names(tmp_path: Path, text: str):
    (tmp_path / "map.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="is not a JSON object of names") as caught:
        read_names(tmp_path / "map.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    (("--domain", "folder:a/b"), "--name 'folder:a/b': only letters, digits and . _ - are allowed"),
    (("--domain", "digitz"), "unknown domain 'digitz'"),
    (("--domain", "digits", "--set", "gan.resolution=128"), "not at 128"),
    (("--domain", "digits", "--map", "absent.json"), "--map 'absent.json' cannot be read"),
], ids=str)  # fmt: skip
def test_an_invalid_argument_is_reported(tmp_path: Path, arguments: tuple[str, ...], message: str):
    save_file(networks(), tmp_path / "net")
    assert read(tmp_path / "net").keys() == networks().keys()
    result = call("import", tmp_path / "net", "--store", tmp_path / "store", *arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
