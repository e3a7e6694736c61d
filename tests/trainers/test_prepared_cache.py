"""The prepared cache: its content, reuse, repair, and resuming after a killed process."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, files, picture, write
from trainers.common.errors import UserError
from trainers.domains import Images, get
from trainers.domains.base import SPLITS
from trainers.domains.files import decode_all, prepared_cache
from trainers.domains.files.folder import Folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSFERGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def loaded(domain: Folder, resolution: int = 16) -> dict[str, Images]:
    return {split: domain.load(split, resolution) for split in SPLITS}


def stored(cache: Path, pattern: str) -> list[Path]:
    return sorted(path for path in (cache / "images").rglob(pattern))


def chunks(cache: Path) -> list[Path]:
    return sorted((cache / "partial").rglob("*.json"))


@pytest.mark.slow
def test_images_are_resized_as_by_pillow(cache: Path, tmp_path: Path):
    """There are enough images for several processes; rows and labels are in the order of the names."""
    folder = write(tmp_path / "photos", files(decode_all.SINGLE_PROCESS + decode_all.CHUNK + 7))
    seen, deaf = list[tuple[int, int]](), set[bool]()

    def look(done: int, total: int) -> None:
        seen.append((done, total))
        for child in active_children():
            blocked = re.findall(r"^SigBlk:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text(), re.MULTILINE)
            deaf.add(bool(int(blocked[0], 16) & 1 << signal.SIGINT - 1))

    domain = Folder(folder)
    domain.prepare(16, look)
    assert deaf == {True}, "this process ends the others on Ctrl-C, which a terminal sends to all"
    data = loaded(domain)
    assert len(data["train"].images) + len(data["reference"].images) == decode_all.SINGLE_PROCESS + decode_all.CHUNK + 7
    classes = {
        Image.open(path).convert("RGB").resize((16, 16), Image.Resampling.BICUBIC).tobytes(): path.parent.name
        for path in folder.rglob("*.png")
    }
    for split in SPLITS:
        labels = data[split].labels
        assert labels is not None
        assert [classes[image.tobytes()] for image in data[split].images] == [domain.classes[label] for label in labels]
    assert seen[0] == (0, 1287)
    assert seen[-1] == (1287, 1287)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not chunks(cache)


def test_images_are_mapped_from_disk_and_cannot_be_changed(cache: Path, tmp_path: Path):
    images = loaded(Folder(write(tmp_path / "photos", files(10))))["train"].images
    base = images
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_prepared_images_are_not_decoded_again(cache: Path, tmp_path: Path):
    folder = write(tmp_path / "photos", files(10))
    before = loaded(Folder(folder))
    counted: list[int] = []
    again = Folder(folder)
    again.prepare(16, lambda done, total: counted.append(done))
    assert not counted
    for split, data in loaded(again).items():
        np.testing.assert_array_equal(data.images, before[split].images)
    again.prepare(8, lambda done, total: counted.append(done))
    assert counted[-1] == 10
    assert len(stored(cache, "*.u8")) == 4


def test_the_same_images_elsewhere_share_the_cache(cache: Path, tmp_path: Path):
    here, there = (Folder(write(tmp_path / name, files(10))) for name in ("here", "there"))
    assert here.listing != there.listing
    assert here.fingerprint == there.fingerprint
    loaded(here)
    loaded(there)
    assert len(stored(cache, "*-16.u8")) == 2


def test_a_changed_file_of_the_same_size_and_modification_time_is_noticed(cache: Path, tmp_path: Path):
    folder = write(tmp_path / "photos", {f"{i}.bmp": encoded(picture(i), "BMP") for i in range(5)})
    before = Folder(folder)
    assert before.fingerprint
    stat = (folder / "3.bmp").stat()
    (folder / "3.bmp").write_bytes(encoded(picture(9), "BMP"))
    os.utime(folder / "3.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (folder / "3.bmp").stat().st_size == stat.st_size
    assert Folder(folder).fingerprint != before.fingerprint


def test_padding_keeps_the_whole_image(cache: Path, tmp_path: Path):
    wide = Image.new("RGB", (40, 20), (0, 0, 255))
    folder = write(tmp_path / "photos", {f"{i}.png": encoded(wide) for i in range(3)})
    padded = get(f"folder:{folder}[fit=pad]")
    image = padded.load("train", 8).images[0]
    assert (image[:1] == 255).all()
    assert (image[-1:] == 255).all()
    assert (image[4] == (0, 0, 255)).all()
    cropped = get(f"folder:{folder}[fit=crop]")
    assert cropped is get(f"folder:{folder}")
    assert (cropped.load("train", 8).images == (0, 0, 255)).all()
    assert padded.fingerprint != cropped.fingerprint
    with pytest.raises(UserError, match="has square images, so it has no fit"):
        get("letters[fit=pad]")
    with pytest.raises(UserError, match="fit must be crop or pad, got 'stretch'"):
        get(f"folder:{folder}[fit=stretch]")


@pytest.mark.parametrize("size", [(1, 200), (200, 1)])
def test_padding_keeps_at_least_a_line_of_an_elongated_image(cache: Path, tmp_path: Path, size: tuple[int, int]):
    folder = write(tmp_path / "photos", {f"{i}.png": encoded(Image.new("RGB", size, (200, 0, 0))) for i in range(2)})
    image = get(f"folder:{folder}[fit=pad]").load("train", 64).images[0]
    assert ((image == (200, 0, 0)).all(2).sum(), (image == 255).all(2).sum()) == (64, 64 * 63)


# -- damage and loss ----------------------------------------------------------------------------------------------------


def test_a_damaged_split_is_detected_by_its_checksum_and_prepared_again(cache: Path, tmp_path: Path):
    domain = Folder(write(tmp_path / "photos", files(20)))
    before = {split: data.images.copy() for split, data in loaded(domain).items()}
    assert domain.verify(16) == []
    (file,) = stored(cache, "reference-16.u8")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert domain.verify(16) == ["reference"]
    domain.prepare(16)
    for split, data in loaded(Folder(tmp_path / "photos")).items():
        np.testing.assert_array_equal(data.images, before[split])


@pytest.mark.parametrize("damage", ["truncated", "no data", "no size", "no index", "half an index"])
def test_an_incomplete_cache_is_completed(cache: Path, tmp_path: Path, damage: str):
    folder = write(tmp_path / "photos", files(20))
    before = {split: data.images.copy() for split, data in loaded(Folder(folder)).items()}
    data, about, index = stored(cache, "train-16.u8")[0], stored(cache, "train-16.json")[0], *(cache / "index").iterdir()
    if damage == "truncated":
        with data.open("r+b") as file:
            file.truncate(50)
    else:
        {"no data": data, "no size": about, "no index": index, "half an index": index}[damage].unlink()
    if damage == "half an index":
        index.write_text('{"fingerprint": "a')
    for split, loaded_again in loaded(Folder(folder)).items():
        np.testing.assert_array_equal(loaded_again.images, before[split])


PREPARE = """
import sys
from pathlib import Path

from trainers.domains.files.folder import Folder

Folder(Path(sys.argv[1])).prepare(16)
"""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PREPARE, str(folder)], env=environment, start_new_session=True)


@pytest.mark.slow
def test_a_killed_preparation_resumes_from_its_last_chunk_and_its_child_processes_end(cache: Path, tmp_path: Path):
    folder = write(tmp_path / "photos", files(3000, side=60))
    process = start(folder)
    deadline = time.monotonic() + 60
    while len(chunks(cache)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while time.monotonic() < deadline:  # until the processes that it started have noticed
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("a child process outlived its parent")
    finished = len(chunks(cache))
    assert 3 <= finished < 12
    assert not stored(cache, "*.u8")
    seen: list[int] = []
    Folder(folder).prepare(16, lambda done, total: seen.append(done))
    assert seen[0] == finished * decode_all.CHUNK
    assert seen[-1] == 3000
    train = loaded(Folder(folder))["train"].images
    expected = np.stack([np.asarray(picture(i, 60).resize((16, 16), Image.Resampling.BICUBIC)) for i in range(8)])
    prepared = {image.tobytes() for image in train} | {image.tobytes() for image in loaded(Folder(folder))["reference"].images}
    assert {image.tobytes() for image in expected} <= prepared


@pytest.mark.parametrize("suffix", [".json", ".u8"])
def test_a_damaged_chunk_is_decoded_again(cache: Path, tmp_path: Path, suffix: str):
    domain = Folder(write(tmp_path / "photos", files(10)))
    expected = {split: data.images.copy() for split, data in loaded(domain).items()}
    rows = {split: domain._arrangement.rows[split] for split in SPLITS}
    with prepared_cache.preparing(domain.listing, "16") as partial:
        records, fingerprint = domain.records(), domain.fingerprint
        whole = decode_all.decode(records, 16, "crop", partial, lambda done, total: None)
        (chunk,) = partial.glob(f"*{suffix}")
        chunk.write_bytes(bytes(20))
        assert decode_all.decode(records, 16, "crop", partial, lambda done, total: None) == whole
        decode_all.publish(records, 16, "crop", partial, fingerprint, rows)
    for split, data in loaded(Folder(tmp_path / "photos")).items():
        np.testing.assert_array_equal(data.images, expected[split])


@pytest.mark.slow
def test_concurrent_preparations_decode_once(cache: Path, tmp_path: Path):
    folder = write(tmp_path / "photos", files(600, side=60))
    counts: list[int] = []

    def prepare() -> None:
        seen: list[int] = []
        Folder(folder).prepare(16, lambda done, total: seen.append(done))
        counts.append(len(seen))

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(count > 0 for count in counts) == [False, False, False, True]


# -- location -------------------------------------------------------------------------------------------------------


def test_a_machine_may_use_a_local_copy(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path / "photos", files(10))
    shared = loaded(Folder(folder))["train"].images.copy()
    monkeypatch.setenv("TRANSFERGAN_LOCAL_CACHE", str(tmp_path / "local"))
    prepared_cache._local_copy.cache_clear()
    np.testing.assert_array_equal(loaded(Folder(folder))["train"].images, shared)
    (copy,) = (tmp_path / "local").rglob("train-16*.u8")
    copy.write_bytes(bytes(copy.stat().st_size))  # a copy of a damaged file that has been replaced since
    (about,) = cache.rglob("train-16.json")
    about.write_text(json.dumps({**json.loads(about.read_text()), "sha256": "another"}))
    prepared_cache._local_copy.cache_clear()
    np.testing.assert_array_equal(loaded(Folder(folder))["train"].images, shared)
    prepared_cache._local_copy.cache_clear()


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSFERGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written: .*; make room, or set TRANSFERGAN_CACHE") as error:
        Folder(write(tmp_path / "photos", files(4))).prepare(8)
    assert "\n" not in str(error.value)


def test_sizes_may_exceed_32_bits(cache: Path, tmp_path: Path):
    """Three million images of 64 x 64 pixels are 37 GB; they are mapped without being read."""
    fingerprint, count = "huge", 3_033_042
    file = prepared_cache.images_file(fingerprint, "train", "64")
    file.parent.mkdir(parents=True)
    with file.open("wb") as sparse:
        sparse.truncate(count * 64 * 64 * 3)
        sparse.seek((count - 1) * 64 * 64 * 3)
        sparse.write(bytes([7]))
    file.with_suffix(".json").write_text(json.dumps({"count": count, "side": 64, "sha256": ""}))
    images = prepared_cache.mapped(fingerprint, "train", "64")
    assert images is not None
    assert images.shape == (count, 64, 64, 3)
    assert images[-1, 0, 0, 0] == 7
    assert images[2_999_999].max() == 0
