"""The embeddings with weights in files: clean-fid's Inception, and network files of the user's."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainers.common.errors import UserError
from trainers.config.embeddings import PUBLISHED, check_embedding, embedding_identity
from trainers.config.trial import DomainRef, TrialConfig
from trainers.domains import get
from trainers.evaluation.comparison import METRICS
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.metrics.fid import statistics
from trainers.evaluation.references import Reference
from trainers.trial.run import run

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Keep cached files of one test from being used in the next."""
    yield
    embedding_identity.cache_clear()
    load_embedding.cache_clear()


def images(n: int = 7, side: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def script(network: nn.Module, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of TorchScript's end
        torch.jit.save(torch.jit.script(network), str(file))
    return file


# -- Inception ----------------------------------------------------------------------------------------------------------


class Inception(nn.Module):
    """A smaller network than in clean-fid's file: layers that take normalised images (N, 3, 299, 299), with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(4)
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        pool = nn.AdaptiveAvgPool2d(2)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 7, 16), norm, nn.ReLU(), pool, nn.Flatten(), nn.Linear(16, 2048))

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        return self.layers(x)


@pytest.fixture
def inception(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return f"inception:{script(Inception(), tmp_path / 'inception-2015-12-05.pt')}"


def test_inceptions_features_are_those_that_clean_fid_computes_of_files(inception: str, tmp_path: Path):
    from cleanfid.fid import get_folder_features
    from cleanfid.inception_torchscript import InceptionV3W

    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(images()):
        Image.fromarray(image).save(folder / f"{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        network = InceptionV3W(str(tmp_path), download=False).eval()
    with torch.no_grad():
        theirs = get_folder_features(
            str(folder), network, num_workers=0, batch_size=3, device=torch.device("cpu"), mode="clean", verbose=False
        )
    ours = load_embedding(inception)(images())
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_inceptions_weights_may_have_any_name(inception: str, tmp_path: Path):
    torch.manual_seed(1)
    other = f"inception:{script(Inception(), tmp_path / 'mine.pt')}"  # beside the one of the usual name
    assert np.abs(load_embedding(other)(images()) - load_embedding(inception)(images())).max() > 1e-3


@pytest.mark.slow
def test_inception_is_in_eval_mode_and_no_image_knows_of_its_batch(inception: str):
    embed = load_embedding(inception)
    some = images(60)
    together = embed(some)
    alone = np.concatenate([embed(some[i : i + 1]) for i in (0, 30, 59)])
    np.testing.assert_allclose(alone, together[[0, 30, 59]], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(embed(some[::-1])[::-1], together, rtol=1e-5, atol=1e-5)
    embed._network.train()  # type: ignore[attr-defined]
    assert np.abs(embed(some) - together).max() > 1e-2, "this test would not have noticed"


@pytest.mark.slow
def test_a_trial_is_measured_in_inceptions_features(inception: str):
    domain = DomainRef(name="digits", fingerprint=get("digits").fingerprint)
    settings = {"gan": {"resolution": 8, "width": 4, "latent": 8}, "training": {"steps": 2, "batch": 8, "critic_steps": 1}}
    evaluation = {"embedding": inception, "samples": 64, "first_rung": 2}
    trial = TrialConfig.model_validate({"kind": "pretrain", "domain": domain, "size": 20, "evaluation": evaluation, **settings})
    embed = load_embedding(inception)
    features = embed(get("digits").load("reference", 8).images[:50])
    few = Reference(features, None, statistics(features))
    first, last = run(trial, references=lambda *_: few)
    assert first.view == last.view == f"{embed.identity}/64"
    found = {measured.metric: measured.value for measured in last.measurements}
    assert set(found) == set(METRICS)
    assert all(np.isfinite(value) for value in found.values())


def test_inceptions_identity_is_its_weights_not_where_they_lie(inception: str, tmp_path: Path):
    moved = tmp_path / "moved.pt"
    Path(inception.partition(":")[2]).rename(moved)
    (moved.parent / "inception-2015-12-05.pt").write_bytes(moved.read_bytes())
    assert embedding_identity(f"inception:{moved}") == embedding_identity(inception)
    assert embedding_identity(inception).startswith("inception:")


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_missing_weights_are_named_with_the_place_and_the_way(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network = replace(PUBLISHED[kind], folder=lambda: tmp_path / "nowhere")
    monkeypatch.setitem(cast(dict, PUBLISHED), kind, network)
    mine = tmp_path / "mine.pt"
    for name, file, way in (
        (kind, network.file, f"run `transfergan embeddings fetch {kind}`, or "),
        (f"{kind}:{mine}", mine, ""),
    ):
        for function in (check_embedding, load_embedding):
            with pytest.raises(UserError, match="needs its weights") as error:
                function(name)
            place = (
                f"place {network.file.name} there, from {network.address}, or give its path ({kind}:PATH, or --weights PATH)"
            )
            assert str(error.value).endswith(f"there is no file {str(file)!r}; {way}{place}")


@pytest.mark.parametrize("content", [b"not a network", None])
def test_a_file_that_is_not_inception_is_named(tmp_path: Path, content: bytes | None):
    file = tmp_path / "inception-2015-12-05.pt"
    if content is None:
        script(nn.Sequential(nn.Conv2d(3, 2, 3)), file)
    else:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"is not clean-fid's inception-2015-12-05\.pt, or it is damaged"):
        load_embedding(f"inception:{file}")


# -- custom -------------------------------------------------------------------------------------------------------------


class Colours(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


class Wrong(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "flat":
            return x.float().mean((1, 2, 3))
        if self.how == "few":
            return x.float().mean((2, 3))[1:]
        if self.how == "nan":
            return x.float().mean((2, 3)) / 0.0 * 0.0
        if self.how == "whole":
            return x.sum((2, 3))
        return x[:, :, 0, 0].float().view(4, -1)


def export(network: nn.Module, file: Path) -> Path:
    n, height, width = (torch.export.Dim(name, min=2, max=4096) for name in ("n", "height", "width"))
    example = torch.zeros(3, 3, 16, 18, dtype=torch.uint8)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=({0: n, 2: height, 3: width},)), file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_network_of_ones_own_sees_the_images_as_they_are(tmp_path: Path, suffix: str):
    file = (script if suffix == ".pt" else export)(Colours(), tmp_path / f"colours{suffix}")
    embed = load_embedding(f"custom:{file}")
    some = images(230, 12)
    np.testing.assert_allclose(embed(some), some.mean((1, 2)), rtol=1e-5)
    assert embed(some).dtype == np.float32
    assert embed.identity == embedding_identity(f"custom:{file}")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real networks are not beside this checkout")
@pytest.mark.parametrize(("name", "dimensions"), [("cifar_resnet56", 64), ("mobilenet_v2", 1280)])
def test_real_networks_tell_one_domain_from_another(name: str, dimensions: int):
    embed = load_embedding(f"custom:{REAL / name}.pt")
    digits, letters, shapes = (
        embed(get(domain).load("reference", 32).images[:40]) for domain in ("digits", "letters", "shapes")
    )
    assert digits.shape == (40, dimensions)
    assert np.linalg.norm(digits.mean(0) - letters.mean(0)) < np.linalg.norm(digits.mean(0) - shapes.mean(0))


@pytest.mark.parametrize(("how", "said"), [
    ("flat", r"returns torch.float32 \(5,\) and must return features float \(5, D\)"),
    ("few", r"returns torch.float32 \(4, 3\)"),
    ("whole", r"returns torch.int64 \(5, 3\)"),
    ("nan", "not finite"),
    ("size", r"given images uint8 \(5, 3, 8, 8\), fails: .*"),
])  # fmt: skip
def test_a_network_that_does_not_embed_is_named(tmp_path: Path, how: str, said: str):
    file = script(Wrong(how), tmp_path / "wrong.pt")
    with pytest.raises(UserError, match=said) as error:
        load_embedding(f"custom:{file}")(images(5, 8))
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "said"), [
    ("custom:", "lacks its path"),
    ("inception:", "lacks its path"),
    ("custom:nowhere.pt", "there is no file"),
    ("custom:weights.safetensors", r"must end in \.pt \(TorchScript\) or \.pt2"),
    ("custm:nowhere.pt", "did you mean custom:PATH"),
    ("builtin:x", "unknown embedding"),
])  # fmt: skip
def test_a_wrong_name_is_one_line(name: str, said: str):
    with pytest.raises(UserError, match=said):
        check_embedding(name)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]):
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(b"PK not really")
    with pytest.raises(UserError, match="cannot be read as") as error:
        load_embedding(f"custom:{file}")
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script(Colours(), tmp_path / "colours.pt")
    monkeypatch.chdir(tmp_path)
    assert check_embedding("custom:colours.pt") == f"custom:{tmp_path / 'colours.pt'}"
    assert check_embedding("builtin") == "builtin"


class Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_nothing_in_an_exported_program_is_unpickled(tmp_path: Path):
    """Replace a weight's bytes by a pickle that would create a file."""
    good, bad, trace = export(nn.Sequential(Weighted()), tmp_path / "good.pt2"), tmp_path / "bad.pt2", tmp_path / "trace"
    stream = io.BytesIO()
    torch.save(Payload(trace), stream)
    hit = 0
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("weights_config.json"):
                data = data.replace(b'"use_pickle":false', b'"use_pickle":true').replace(
                    b'"use_pickle": false', b'"use_pickle": true'
                )
                assert b"true" in data
            elif "/weights/" in name:
                data, hit = stream.getvalue(), hit + 1
            target.writestr(name, data)
    assert hit == 1
    with pytest.raises(UserError, match="cannot be read as an exported program"):
        load_embedding(f"custom:{bad}")
    assert not trace.exists()
    with suppress(Exception):  # what it has unpickled is not a weight
        torch.export.load(bad)
    assert trace.exists(), "this test would not have noticed"


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3)) * self.weight
