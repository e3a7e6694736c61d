"""A mistake on the command line gives one line with the mistake and its fix, and writes no file."""

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.store import SCHEMA_VERSION, open_store
from tests.support.command_line import tree
from tests.support.images import files, write

#: Arguments and a part of the message. They run in a folder with the file `f`, the empty folder `empty`, the folder `few` with
#: three images, the folder `others` with one file, the store `newer` with a newer schema, the store `torn` with a truncated
#: plan, and the sweep files `broken.yaml`, `list.yaml` and `folder.yaml` (a folder). {store} is a finished store, {key} one of
#: its trials, {prefix} the start of several keys.
MISTAKES = [
    ("ruin", "No such command 'ruin'. Did you mean 'run'? (see transfergan --help)"),
    ("domains bogus", "No such command 'bogus' (see transfergan domains --help)"),
    ("run --cpu 2", "No such option: --cpu"),
    ("plan --bogus", "No such option: --bogus (see transfergan plan --help)"),
    ("plan --price", "Option '--price' requires an argument"),
    ("run --cpus 0", "Invalid value for '--cpus': Input should be greater than or equal to 1 (see transfergan run --help)"),
    ("run --cpus many", "Invalid value for '--cpus': Input should be a valid integer"),
    ("run --retry all", "Invalid value for '--retry': 'all' is not one of 'failed'"),
    ("run quickstart extra", "unexpected extra argument(s) (extra)"),
    ("status store", "unexpected extra argument(s) (store)"),
    ("generate --out x", "Missing option '--trial'"),
    ("generate --trial a --out x -n 0", "Invalid value for '-n'"),
    ("generate --trial a --out x --seed -1", "Invalid value for '--seed'"),
    ("export --trial a --out x", "Missing option '--format'"),
    ("export --trial a --out x --format pickle", "'pickle' is not one of 'torchscript', 'onnx', 'safetensors'"),
    ("domains preview digits", "Missing option '--out'"),
    ("domains preview --out x.png", "Missing argument 'name'"),
    ("domains preview digits --out x.png --resolution 3", "Invalid value for '--resolution'"),
    ("domains preview digits --out x.png --resolution 65", "--resolution: domain 'digits' is available at 8 to 64 pixels"),
    ("domains preview digits --out x.docx", "--out 'x.docx' must end in .png"),
    ("domains prepare digits --resolution 65", "--resolution: domain 'digits' is available at 8 to 64 pixels, not at 65"),
    ("run quickstar", "unknown preset 'quickstar'; did you mean quickstart"),
    ("show quickstar", "unknown preset 'quickstar'; did you mean quickstart"),
    ("show", "Missing argument 'PRESET'"),
    (f"run {'long' * 80}.yaml", "File name too long"),
    (f"report --store {'long' * 80}", "File name too long"),
    ("run none.yaml", "there is no sweep file 'none.yaml' (presets: "),
    ("run brokn.yaml", "there is no sweep file 'brokn.yaml'; did you mean broken.yaml?"),
    ("run list.yml", "there is no sweep file 'list.yml'; did you mean list.yaml?"),
    ("run broken", "the name of a sweep file ends in .yaml; did you mean broken.yaml?"),
    ("run folder.yaml", "sweep file 'folder.yaml' cannot be read"),
    ("run broken.yaml", "broken.yaml: line 3 is not YAML"),
    ("run list.yaml", "list.yaml: a sweep file is a mapping"),
    ("run --set training.stepps=3", "unknown key 'training.stepps'; did you mean training.steps"),
    ("run --set training.steps", "--set 'training.steps' does not have the form key=value"),
    ("run --set targets=[digitz]", "quickstart: targets.0: unknown domain 'digitz'; did you mean digits"),
    ("run --set targets=[folder:none]", "none': there is no such folder"),
    ("run --set sources=[folder:empty]", "empty' contains no images"),
    ("run --set sources=[folder:f]", "f' is a file; name the folder"),
    ("run --set sources=[]", "sources: the list is empty"),
    ("run --store f", "store 'f' is a file; name a directory"),
    ("run --store f/below", "store 'f/below' cannot be"),
    ("run --store /proc/transfergan", "store '/proc/transfergan' cannot be"),
    ("run --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("run --store others", "store 'others' is a directory with other files"),
    ("run --store gopher://host/store", "store 'gopher://host/store' cannot be opened"),
    ("simulate --gpus 1,0", "--gpus: '1,0' is not a list of whole numbers from 1; write e.g. --gpus 1,8,64"),
    ("plan --json --set sizes=[0]", "preset quickstart: sizes.0: must be greater than or equal to 1, got 0"),
    ("plan --store f", "store 'f' is a file"),
    ("run --max-cost 5", "--max-cost needs --price, the price of one hour"),
    ("run --price 5", "--price needs --max-cost; or give --max-hours alone"),
    ("plan --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("plan --store others", "there is no store at 'others'"),
    ("init", "Missing option '--target'"),
    ("init --target digits --minutes 3 --hours 1", "--minutes and --hours are both the time of the run"),
    ("init --target digits --minutes 0.5", "0.5 minutes are too short for a sweep that tells anything on this machine"),
    ("init --target digits --minutes 0", "0 minutes are too short"),
    ("init --target digits --hours inf", "--hours inf is no time; give a number, such as --hours 8"),
    ("init --target digitz", "'digitz' is neither a folder here nor a domain; did you mean digits?"),
    ("init --target empty", "empty' contains no images"),
    ("init --target f", "f' is a file; name the folder that contains the images"),
    ("init --target few", "few has 3 images, and each split needs 10: add images"),
    ("init --target digits --source empty", "empty' contains no images"),
    ("init --target digits --source digits", "--source digits: it is the target too"),
    ("init --target digits --source few", "few has 3 images, and each split needs 10"),
    ("init --target digits --gpus 1000", "--gpus 1000: this machine has"),
    ("init --target digits --out list.yaml", "'list.yaml' exists, and may have changes of yours; --out names another file"),
    ("init --target digits --out f", "--out 'f' must end in .yaml"),
    ("init --target digits --out none/x.yaml", "there is no folder 'none'; make it first"),
    ("status --store none", "there is no store at 'none'; `transfergan run` makes one, --store names another"),
    ("status --store newer", f"this transfergan reads schema {SCHEMA_VERSION}; upgrade"),
    ("status --store {store} --sweep quickstat", "unknown sweep 'quickstat'; did you mean quickstart"),
    ("report --store none", "there is no store at 'none'"),
    ("report --store f", "store 'f' is a file"),
    ("report --store empty", "there is no store at 'empty'"),
    ("report --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("report --store {store} --sweep quickstat", "unknown sweep 'quickstat'; did you mean quickstart"),
    ("report --store {store} --out f/below/page.html", "report 'f/below/page.html' cannot be written"),
    ("generate --store none --trial a --out images", "there is no store at 'none'"),
    ("generate --store {store} --trial zz --out images", "--trial 'zz': no key matches in store"),
    ("generate --store {store} --trial {prefix} --out images", "--trial '{prefix}': {several} keys match, e.g. {prefix}"),
    ("generate --store {store} --trial {key} --out images", "trial {key} has no generator yet"),
    ("export --store none --trial a --format onnx --out model", "there is no store at 'none'"),
    ("export --store {store} --trial zz --format safetensors --out model", "--trial 'zz': no key matches in store"),
    ("export --store {store} --trial {key} --format safetensors --out model", "trial {key} has no generator yet"),
    ("export --store {store} --trial best --format safetensors --out model", "has no finished trial with a FID and"),
    ("export --store {store} --trial {key} --format torchscript --out others", "--out 'others' is not empty; name"),
    ("run --set evaluation.embedding=custom:none.pt", "none.pt': there is no file"),
    ("run --set evaluation.embedding=inception:none.pt", "needs its weights, and there is no file"),
    ("plan --set evaluation.embedding=inceptoin", "unknown embedding 'inceptoin'; did you mean inception"),
    ("distances --set evaluation.embedding=clip:none.pt", "needs its weights"),
    ("distances --store f", "store 'f' is a file"),
    ("strategies quickstar", "unknown preset 'quickstar'; did you mean quickstart"),
    ("plan --set strategies=['freeze-d[blocks=9]']", "blocks is 9, and the critic of gan.family resnet at 8 pixels has 1"),
    ("plan --set strategies=['freeze-g[blocks=3]']", "blocks is 3, and the generator of gan.family resnet at 8 pixels has 1"),
    ("plan --set strategies=['freeze-low[critic=3]']", "critic is 3, and the critic of gan.family resnet at 8 pixels has 1"),
    ("plan --set strategies=['freeze-d[blocks=two]']", "blocks must be a whole number, 1 or more, got 'two'"),
    ("plan --set strategies=['freeze-d[block=2]']", "unknown option 'block'; did you mean blocks"),
    ("plan --set strategies=['lora[rank=64]']", "rank is 64, and no convolution has more than 16 channels"),
    ("plan --set strategies=['ewc[weight=-1]']", "weight must be a number, 0 or more, got '-1'"),
    ("plan --set strategies=['mine[share=1.5]']", "share must be a number, 0 to 1, got '1.5'"),
    ("plan --set augmentation=[adda]", "unknown augmentation 'adda'; did you mean ada"),
    ("plan --set augmentation=['ada[target=2]']", "target must be a number, 0 to 1, got '2'"),
    ("plan --set augmentation=[]", "augmentation: must have at least one entry"),
    ("plan --set strategies=['l2-sp[weight]']", "'weight' is not of the form option=value"),
    ("evaluate --images none --against digits", "none': there is no such folder"),
    ("evaluate --images empty --against digits", "transfergan: --images: domain 'folder:"),
    ("evaluate --images empty --against digitz", "unknown domain 'digitz'; did you mean digits"),
    ("evaluate --images empty --against digits --resolution 65", "--resolution: domain 'digits' is available at 8"),
    ("evaluate --images empty --against digits --metrics fidd", "unknown metric 'fidd'; did you mean fid"),
    ("evaluate --images empty --against digits --metrics iw --resolution 48", "--metrics iw: its critic needs a --resolution"),
    ("evaluate --images empty --against digits --embedding inception --weights none.pt", "place inception-2015-12-05.pt there"),
    ("evaluate --images empty --against digits --weights f", "--weights goes with --embedding inception, dinov2-vitl14,"),
    ("embeddings fetch dinov3", "unknown embedding to fetch 'dinov3'; did you mean dinov2"),
    ("embeddings fetch builtin", "embedding 'builtin' is part of this package; there is nothing to fetch"),
    ("evaluate --images empty --against digits --embedding custom:f", "must end in .pt (TorchScript)"),
    ("replay --store none", "there is no store at 'none'"),
    ("replay --store {store}", "there is no cell to replay"),
    ("replay --store {store} --keep 0", "--keep: must be greater than 0"),
    ("replay --store {store} --metric iou", "--metric: unknown metric to stop by 'iou'"),
    ("replay --store {store} --set stopping.keep=0", "--set: stopping.keep: must be greater than 0"),
    ("replay --store {store} --set stopping.platau=2", "--set: unknown key 'stopping.platau'; did you mean stopping.plateau"),
    ("replay --store {store} --set training.steps=2", "--set: unknown key 'training'; did you mean stopping"),
    ("recommend --store none --target digits", "there is no store at 'none'"),
    ("recommend --store {store} --target digitz", "unknown domain 'digitz'; did you mean digits"),
    ("recommend --store {store} --target few", "unknown domain 'few'; if it has your images, write folder:few"),
    ("recommend --store {store} --target folder:none", "none': there is no such folder"),
    ("recommend --store {store} --target folder:empty", "empty' contains no images"),
    ("store check --store none", "there is no store at 'none'"),
    ("store check --store f", "store 'f' is a file"),
    ("store check --store newer --json", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("compare none {store}", "there is no store at 'none'"),
    ("compare {store} f", "store 'f' is a file"),
    ("store merge none --store {store}", "there is no store at 'none'"),
    ("store merge {store} --store f", "store 'f' is a file"),
    ("store merge {store} --store others", "store 'others' is a directory with other files"),
    ("store merge newer --store {store}", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("store compact --store none", "there is no store at 'none'"),
    ("store compact --store others", "there is no store at 'others'"),
    ("store compact --store newer", f"store 'newer' has schema {SCHEMA_VERSION + 1}"),
    ("replay --store torn", "there is no cell to replay in store 'torn'"),
    ("generate --store torn --trial a --out images", "--trial 'a': no key matches in store 'torn'"),
    ("domains preview digitz --out d.png", "unknown domain 'digitz'; did you mean digits"),
    ("domains preview folder:none --out d.png", "none': there is no such folder"),
    ("domains preview folder:empty --out d.png", "empty' contains no images"),
    ("domains preview zip:f --out d.png", "f is not a complete zip archive"),
    ("domains preview tar:none*.tar --out d.png", "there is no such file"),
    ("domains preview parquet:f --out d.png", "f is not a complete Parquet file"),
    ("plan --set targets=['folder:empty']", "empty' contains no images"),
    ("plan --set sources=[[letters,letters]]", "sources.0: a mixture names domain 'letters' twice; name it once"),
    ("plan --set sources=[letters->]", "sources.0: source 'letters->' lacks a domain"),
    ("plan --set sources=[letters->numeralz]", "unknown domain 'numeralz'; did you mean numerals"),
    ("domains preview folder: --out d.png", "domain 'folder:' has no path"),
    ("domains preview digits --resolution 65 --out d.png", "'digits' is available at 8 to 64 pixels, not at 65"),
    ("report --out p.txt", "--out 'p.txt' must end in .html or .pdf or .md"),
    ("report --out p.html --format pdf", "--out 'p.html' must end in .pdf, as --format says"),
    ("domains preview digits --out f/below/d.png", "'f/below/d.png' cannot be written"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[arguments[:60] for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_status_2_and_leaves_nothing_behind(
    tmp_path: Path, quickstart: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str,
    message: str,
):  # fmt: skip
    (tmp_path / "f").touch()
    (tmp_path / "broken.yaml").write_text("name: t\nsizes: [1\n  x: 2")
    (tmp_path / "list.yaml").write_text("- name: t\n")
    open_store(str(tmp_path / "torn"), create=True).write_file("sweeps/small.json", b'{"spec": {')
    for folder in ("empty", "others", "newer", "folder.yaml"):
        (tmp_path / folder).mkdir()
    (tmp_path / "others" / "thesis.tex").touch()
    (tmp_path / "newer" / "store.json").write_text(json.dumps({"schema": SCHEMA_VERSION + 1}))
    write(tmp_path / "few", files(3))
    keys = sorted(row["key"] for row in open_store(str(quickstart)).read_sweeps()["quickstart"]["trials"])
    first = next(key[0] for key, after in zip(keys, keys[1:], strict=False) if key[0] == after[0])
    several = sum(key.startswith(first) for key in keys)
    names = {"store": quickstart, "key": keys[0], "prefix": first, "several": several}
    before = tree(tmp_path), tree(quickstart)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["transfergan", *arguments.format(**names).split()])
    with pytest.raises(SystemExit) as ended:  # in this process, which saves two seconds each
        main()

    done = capsys.readouterr()
    assert ended.value.code == 2, done
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("transfergan: ")
    assert message.format(**names) in line
    assert (tree(tmp_path), tree(quickstart)) == before


@pytest.mark.parametrize(("options", "lines"), [
    (["sizes=[0]", "seeds=[-1]"], ["2 problems:", "preset quickstart: sizes.0: ", "preset quickstart: seeds.0: "]),
    (["targets=[digitz,digits]", "sources=[leters]"],
     ["2 problems:", "quickstart: sources.0: unknown domain 'leters'", "quickstart: targets.0: unknown domain 'digitz'"]),
    (["sources=[folder:few,letters]", "targets=[folder:few2]", "gan.resolution=64"],
     ["2 problems:", "quickstart: domain 'folder:{here}/few' has 1 ref", "quickstart: domain 'folder:{here}/few2' has 1 ref"]),
])  # fmt: skip
def test_several_mistakes_are_a_line_each_after_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], lines: list[str]
):
    for name in ("few", "few2"):
        write(tmp_path / name, files(3))
    monkeypatch.chdir(tmp_path)
    words = [word for option in options for word in ("--set", option)]
    monkeypatch.setattr("sys.argv", ["transfergan", "run", "quickstart", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err.splitlines()
    said = [line for line in said if not line.startswith(("preparing ", "prepared "))]
    begin = [f"transfergan: {line.format(here=tmp_path)}" for line in lines]
    assert [line[: len(start)] for line, start in zip(said, begin, strict=True)] == begin
    assert not (tmp_path / "store").exists()
