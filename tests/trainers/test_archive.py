"""Domains in zip and tar archives: the same as a folder with the same files; damaged archives."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.images import encoded, files, picture, write
from trainers.common.errors import UserError
from trainers.domains import get
from trainers.domains.base import SPLITS


def zipped(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, contents: dict[str, bytes], mode: str = "w:") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def refused(name: str) -> str:
    with pytest.raises(UserError) as error:
        get(name).prepare(8)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["stored", "deflated", "tar", "wrapped", "shards"])
def test_an_archive_is_the_same_domain_as_its_folder(tmp_path: Path, kind: str):
    contents = files(40)
    folder = get(f"folder:{write(tmp_path / 'photos', contents)}")
    if kind == "tar":
        domain = get(f"tar:{tarred(tmp_path / 'photos.tar', {f'./{name}': data for name, data in contents.items()})}")
    elif kind == "shards":
        (tmp_path / "shards").mkdir()
        for half in range(2):
            part = {name: data for i, (name, data) in enumerate(contents.items()) if i // 20 == half}
            tarred(tmp_path / "shards" / f"{half}.tar", part)
        domain = get(f"tar:{tmp_path}/shards/*.tar")
    else:
        packed = {f"photos/{name}" if kind == "wrapped" else name: data for name, data in contents.items()}
        method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        domain = get(f"zip:{zipped(tmp_path / 'photos.zip', {'__MACOSX/a/._1.png': b'', **packed}, method)}")
    assert domain.fingerprint == folder.fingerprint
    assert domain.classes == ("a", "b")
    for split in SPLITS:
        data, expected = domain.load(split, 16), folder.load(split, 16)
        np.testing.assert_array_equal(data.images, expected.images)
        assert data.labels is not None
        np.testing.assert_array_equal(data.labels, expected.labels)


def test_folders_for_splits_are_used(tmp_path: Path):
    names = [
        f"set/{split}/{kind}/{i}.png" for split in ("train", "val") for kind in "ab" for i in range(2 + (split == "train"))
    ]
    domain = get(f"zip:{zipped(tmp_path / 'a.zip', {name: encoded(picture(i)) for i, name in enumerate(names)})}")
    assert (domain.count("train"), domain.count("reference"), domain.classes) == (6, 4, ("a", "b"))


def test_shards_may_contain_the_same_name(tmp_path: Path):
    for shard in range(3):
        tarred(tmp_path / f"{shard}.tar", {f"{i}.png": encoded(picture(10 * shard + i)) for i in range(5)})
    domain = get(f"tar:{tmp_path}/*.tar")
    assert domain.count("train") + domain.count("reference") == 15
    images = np.concatenate([domain.load(split, 8).images for split in SPLITS])
    assert len({image.tobytes() for image in images}) == 15


def test_unreadable_members_are_reported(tmp_path: Path):
    contents = files(6)
    path = zipped(tmp_path / "a.zip", {**contents, "a/empty.png": b"", "a/text.png": b"no image"})
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("b/00001.png").header_offset
    data = bytearray(path.read_bytes())
    data[at + 60] ^= 255
    path.write_bytes(data)
    domain = get(f"zip:{path}")
    assert domain.skipped == ("a/empty.png", "a/text.png", "b/00001.png")
    assert domain.count("train") + domain.count("reference") == 5


def test_a_truncated_tar_archive_is_refused(tmp_path: Path):
    path = tarred(tmp_path / "a.tar", {f"{i}.png": encoded(picture(i, 60)) for i in range(6)})
    with tarfile.open(path) as archive:
        last = archive.getmember("5.png")
    with path.open("r+b") as file:
        file.truncate(last.offset_data + last.size // 2)
    assert "a.tar is not a complete uncompressed tar archive" in refused(f"tar:{path}")


def test_an_unusable_archive_is_refused_in_one_line(tmp_path: Path):
    whole = zipped(tmp_path / "whole.zip", files(4))
    (tmp_path / "half.zip").write_bytes(whole.read_bytes()[:500])
    assert "half.zip is not a complete zip archive" in refused(f"zip:{tmp_path}/half.zip")
    assert "there is no such file" in refused(f"zip:{tmp_path}/missing.zip")
    assert "there is no such file" in refused(f"tar:{tmp_path}/*.tar")
    assert "is a folder; name a file, or PATH/*" in refused(f"zip:{tmp_path}")
    assert "has no path; write zip:PATH, e.g. zip:photos/cats.zip" in refused("zip:")
    tarred(tmp_path / "a.tar.gz", files(4), "w:gz")
    assert "not a complete uncompressed tar archive" in refused(f"tar:{tmp_path}/a.tar.gz")
    zipped(tmp_path / "words.zip", {"read.txt": b"me"})
    assert "contains no images" in refused(f"zip:{tmp_path}/words.zip")
    zipped(tmp_path / "one.zip", files(1))
    assert "has 1 readable images and needs two or more" in refused(f"zip:{tmp_path}/one.zip")


def test_links_in_a_tar_archive_are_not_followed(tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(99)))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files(4).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    domain = get(f"tar:{path}")
    assert domain.count("train") + domain.count("reference") == 4
