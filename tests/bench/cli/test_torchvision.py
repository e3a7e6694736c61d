"""`transfergan domains` with torchvision's data sets, offline."""

from pathlib import Path
from urllib.error import URLError

import pytest
from typer.testing import CliRunner, Result

from bench.cli import app
from tests.support import datasets
from tests.support.images import encoded, picture, write
from tests.trainers.test_torchvision import FEW, absent, copy
from trainers.domains import torchvision_names


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSFERGAN_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, arguments)


def test_domains_lists_official_counts_and_the_counts_of_present_data_sets():
    copy("svhn")
    (copy("mnist").path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"")
    result = call("domains")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 110
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line[0] != " "}
    assert set(torchvision_names()) < set(rows)
    assert rows["svhn"][:4] == ["4", "3", "10", "ready"]
    assert rows["mnist"][:4] == ["60,000", "10,000", "10", "damaged"]
    assert rows["dtd"][:4] == ["1,880", "1,880", "47", "missing"]


@pytest.mark.parametrize("name", [*FEW, "digits"])
def test_show_describes_a_domain(name: str, root: Path):
    result = call("domains", "show", name)
    assert result.exit_code == 0
    if name != "digits":
        entry = absent(name).entry
        for text in (entry.splits, entry.source, entry.licence, entry.files, str(root), "lacks", f"{entry.train:,}"):
            assert text in result.stdout


def test_prepare_reports_which_domains_are_ready(root: Path):
    domain = copy("svhn")
    result = call("domains", "prepare", "svhn", "digits", "lfw", "mnist")
    assert result.exit_code == 2
    assert f"svhn: ready, 4 images to train on, 3 for reference; {domain.fingerprint}\n" in result.stdout
    assert "digits: ready, 1,000" in result.stdout
    lfw, mnist = result.stderr.splitlines()
    assert str(root / "lfw") in lfw
    assert "prepare mnist --download" in mnist
    assert not (root / "mnist").exists()


def test_prepare_without_a_network_fails_in_one_line_each(root: Path, monkeypatch: pytest.MonkeyPatch):
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    result = call("domains", "prepare", "mnist", "svhn", "imagenet", "nosuch", "--download")
    assert result.exit_code == 2
    mnist, svhn, imagenet, unknown = result.stderr.splitlines()
    for line, name in ((mnist, "mnist"), (svhn, "svhn")):
        assert "no network" in line
        assert str(root / name) in line
    assert "cannot be downloaded by torchvision" in imagenet
    assert "unknown domain" in unknown


def test_prepare_downloads_through_torchvision(monkeypatch: pytest.MonkeyPatch):
    urls = []

    def fetch(url: str, root: str, filename: str | None = None, md5: str | None = None) -> None:
        urls.append(url)
        datasets.svhn(Path(root))

    monkeypatch.setattr("torchvision.datasets.svhn.download_url", fetch)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    result = call("domains", "prepare", "svhn", "--download")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [url.rpartition("/")[2] for url in urls] == ["train_32x32.mat", "test_32x32.mat"]
    assert call("domains", "prepare", "svhn", "--download").exit_code == 0
    assert len(urls) == 2


def test_prepare_decodes_verifies_and_counts_near_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFERGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    contents = {f"train/{i}.png": encoded(picture(i)) for i in range(20)}
    contents |= {f"test/{i}.png": encoded(picture(17 + i)) for i in range(10)} | {"test/broken.png": b""}
    write(tmp_path / "photos", contents)
    first = call("domains", "prepare", "folder:photos", "svhn", "--resolution", "16")
    assert first.exit_code == 2
    assert "prepared folder:" in first.stderr
    assert ": 31 files, " in first.stderr
    ready = "ready at 16 pixels, 20 images to train on, 10 for reference, 1 skipped (1 empty: test/broken.png)"
    assert f"folder:photos: {ready}; 3 of 10 reference images have near-duplicates in the train split; files/2:" in first.stdout
    (data,) = (tmp_path / "cache" / "images").rglob("reference-16.u8")
    data.write_bytes(bytes(data.stat().st_size))
    second = call("domains", "prepare", "folder:photos", "--resolution", "16")
    assert second.exit_code == 0
    assert "its prepared reference split is damaged and will be prepared again" in second.stderr
    assert data.read_bytes() != bytes(data.stat().st_size)
    third = call("domains", "prepare", "folder:photos", "--resolution", "16")
    assert (third.stdout, third.stderr) == (second.stdout, "")
    assert "skipped   1 of 31; 1 empty: test/broken.png" in call("domains", "show", "folder:photos").stdout
