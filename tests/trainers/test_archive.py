"""Domains in zip and tar archives: the same as a folder with the same files; damaged archives."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, files, picture, write
from trainers.common.errors import UserError
from trainers.domains import get
from trainers.domains.base import SPLITS, Skipped


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
    assert {file.name: file.reason for file in domain.skipped} == {
        "a/empty.png": "empty",
        "a/text.png": "not an image, or in a format that Pillow does not read",
        "b/00001.png": "damaged in the archive",
    }
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


def member(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_links_in_a_tar_archive_are_followed_only_inside_it(tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(99)))
    path = tarred(tmp_path / "a.tar", files(4))
    with tarfile.open(path, "a:") as archive:
        archive.addfile(member("a/hard.png", tarfile.LNKTYPE, "b/00001.png"))
        archive.addfile(member("a/soft.png", tarfile.SYMTYPE, "../b/00003.png"))
        archive.addfile(member("a/out.png", tarfile.SYMTYPE, str(secret)))
        archive.addfile(member("a/up.png", tarfile.SYMTYPE, "../../secret.png"))
        archive.addfile(member("a/gone.png", tarfile.LNKTYPE, "a/nothing.png"))
    contents = files(4)
    contents |= {"a/hard.png": contents["b/00001.png"], "a/soft.png": contents["b/00003.png"]}
    domain = get(f"tar:{path}")
    assert domain.fingerprint == get(f"folder:{write(tmp_path / 'same', contents)}").fingerprint
    assert [file.name for file in domain.skipped] == ["a/gone.png", "a/out.png", "a/up.png"]
    assert {file.reason for file in domain.skipped} == {"a link to a file that is not in the archive"}


def test_what_follows_a_damaged_header_is_read_and_the_damage_named(tmp_path: Path):
    path = tarred(tmp_path / "a.tar", files(20))
    with tarfile.open(path) as archive:
        at = archive.getmember("b/00007.png").offset
    data = bytearray(path.read_bytes())
    data[at : at + 512] = bytes(range(256)) * 2
    path.write_bytes(data)
    domain = get(f"tar:{path}")
    assert domain.count("train") + domain.count("reference") == 19
    assert [str(file) for file in domain.skipped] == [
        f"Skipped(name='a.tar from byte {at:,}', reason='a damaged header, and the file after it')"
    ]


def test_joined_tar_archives_are_read_to_the_end(tmp_path: Path):
    contents = files(8)
    for half in range(2):
        tarred(tmp_path / f"{half}.tar", {name: data for i, (name, data) in enumerate(contents.items()) if i // 4 == half})
    (tmp_path / "both.tar").write_bytes((tmp_path / "0.tar").read_bytes() + (tmp_path / "1.tar").read_bytes())
    domain = get(f"tar:{tmp_path}/both.tar")
    assert domain.skipped == ()
    assert domain.fingerprint == get(f"folder:{write(tmp_path / 'photos', contents)}").fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=posix"], ["--format=posix", "--sparse-version=0.0"]])
def test_sparse_members_of_a_tar_archive_are_read_whole(tmp_path: Path, options: list[str]):
    holes = np.zeros((300, 300, 3), np.uint8)
    holes[250:] = np.random.default_rng(0).integers(0, 256, (50, 300, 3), np.uint8)
    contents = {f"{i}.bmp": encoded(Image.fromarray(np.roll(holes, i, 1)), "BMP") for i in range(4)}
    folder = write(tmp_path / "photos", contents)
    for name, data in contents.items():  # written so that the file system leaves out the zeros
        with (folder / name).open("wb") as file:
            for start in range(0, len(data), 4096):
                if block := data[start : start + 4096].strip(b"\0") and data[start : start + 4096]:
                    file.seek(start)
                    file.write(block)
            file.truncate(len(data))
    subprocess.run(["tar", "-C", folder, "-S", *options, "-cf", tmp_path / "a.tar", "."], check=True)
    with tarfile.open(tmp_path / "a.tar") as archive:
        if not any(info.issparse() for info in archive):
            pytest.skip("this file system has no sparse files")
    domain, expected = get(f"tar:{tmp_path}/a.tar"), get(f"folder:{folder}")
    assert domain.fingerprint == expected.fingerprint
    for split in SPLITS:
        np.testing.assert_array_equal(domain.load(split, 16).images, expected.load(split, 16).images)


@pytest.mark.parametrize("kind", ["backslashes", "dots", "root"])
def test_names_in_a_zip_archive_are_as_after_unpacking(tmp_path: Path, kind: str):
    names = [f"set/{split}/{label}/{i}.png" for split in ("train", "val") for label in "ab" for i in range(3)]
    contents = {name: encoded(picture(i)) for i, name in enumerate(names)}
    stored = {"backslashes": lambda name: name.replace("/", "\\"), "dots": "./{}".format, "root": "/{}".format}[kind]
    domain = get(f"zip:{zipped(tmp_path / 'a.zip', {stored(name): data for name, data in contents.items()})}")
    assert domain.fingerprint == get(f"folder:{write(tmp_path / 'photos', contents)}").fingerprint
    assert (domain.count("train"), domain.count("reference"), domain.classes) == (6, 6, ("a", "b"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_two_members_with_one_name_the_later_is_used(tmp_path: Path, kind: str):
    contents = files(6)
    path = {"zip": zipped, "tar": tarred}[kind](tmp_path / f"a.{kind}", contents)
    later = {"a/00000.png": encoded(picture(99))}
    if kind == "zip":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(*next(iter(later.items())))
    else:
        info = tarfile.TarInfo("./a/00000.png")
        info.size = len(later["a/00000.png"])
        with tarfile.open(path, "a:") as tar:
            tar.addfile(info, io.BytesIO(later["a/00000.png"]))
    domain = get(f"{kind}:{path}")
    assert domain.fingerprint == get(f"folder:{write(tmp_path / 'photos', contents | later)}").fingerprint
    assert domain.skipped == (Skipped("a/00000.png", "replaced by a later member of this name"),)


def test_a_zip_archive_before_another_is_named(tmp_path: Path):
    first, second = (
        zipped(tmp_path / "1.zip", files(4)),
        zipped(tmp_path / "2.zip", {"c/1.png": encoded(picture(9)), **files(4)}),
    )
    (tmp_path / "both.zip").write_bytes(first.read_bytes() + second.read_bytes())
    domain = get(f"zip:{tmp_path}/both.zip")
    assert domain.count("train") + domain.count("reference") == 5
    assert [file.name for file in domain.skipped] == ["both.zip"]
