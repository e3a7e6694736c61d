"""What a process publishes that is suspended until another driver has taken its trial over, on a disk and on an S3 server."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.driver.claims import Claims, LostClaimError
from bench.store import Store, filesystems, open_store
from bench.store.trial_files import checkpoint_path, critic_path, generator_path, nearest_path, samples_path
from bench.worker.publishing import Publisher
from tests.conftest import s3_uri
from tests.support import tiny
from tests.support.proxies import refusing
from trainers.config.trial import TrialConfig
from trainers.evaluation.evaluator import Measurement
from trainers.trial.rung import Rung

#: The looks at the claim when the last rung of a trial is published: before the generator, the critic, the measurements, the
#: samples, the nearest images, the checkpoint and the outcome.
LOOKS = 7

#: Those at which a process is suspended here; every request to the S3 server takes its time.
SUSPENDED = {"local": range(LOOKS), "s3": (2, 5)}

PLAN = tiny.make()


@pytest.fixture
def looks(request: pytest.FixtureRequest) -> Iterator[int]:
    return iter(SUSPENDED[request.node.callspec.params["store"]])


def rung(trial: TrialConfig, author: int) -> Rung:
    """Return the last rung of a trial; all in it says who is its author."""
    data = str(author).encode()
    measured = (Measurement("fid", float(author), None, 64),)
    return Rung(
        step=trial.training.steps, measurements=measured, view=trial.evaluation.view, checkpoint=b"checkpoint" + data,
        samples=b"samples" + data, images_seen=0, seconds=0.0, evaluation_seconds=None, images_per_second=None,
        peak_memory_mib=0.0, nearest=b"nearest" + data, generator=b"generator" + data, critic=b"critic" + data,
        finished=True,
    )  # fmt: skip


def authors(store: Store, trial: TrialConfig) -> set[str]:
    """Return who wrote what the store has of a trial: its files, its value and its outcome."""
    step, key = trial.training.steps, trial.key
    files = [place(key, step) for place in (generator_path, critic_path, samples_path, nearest_path, checkpoint_path)]
    writers = {store.read_file(name).decode()[-1] for name in files}
    values, outcomes = store.read("measurements"), store.read("trials")
    (value,) = values[values["trial"] == key]["value"]
    (environment,) = outcomes[outcomes["key"] == key]["environment"]
    return writers | {str(int(value)), environment}


def interrupt(publisher: Publisher, look: int, other: Callable[[], None]) -> None:
    """Let a process be suspended after a look at its claim, by number, until another driver has done something."""
    held, looks = publisher.held, iter(range(100))

    def and_wait() -> None:
        assert held is not None
        held()
        if next(looks) == look:
            other()

    publisher.held = and_wait


def successions(store: Store, looks: Iterator[int]) -> Iterator[tuple[int, Publisher, Publisher, Callable[[], None]]]:
    """Yield for each look at a claim its number, the publishers of two drivers, and what hands the trial over to the second."""
    with Claims(store) as one, Claims(store) as two:
        for look, trial in zip(looks, PLAN.trials, strict=False):
            first, second = (Publisher(store, trial, "tiny", of.path(trial.key), name) for of, name in ((one, "1"), (two, "2")))
            assert one.take(trial.key)

            def take_over(first: Publisher = first) -> None:
                store.delete_file(str(first.claim))
                assert two.take(first.trial.key)

            yield look, first, second, take_over


def test_what_the_successor_has_published_stands_whenever_its_predecessor_was_suspended(store: Store, looks: Iterator[int]):
    for look, first, second, take_over in successions(store, looks):
        trial = first.trial

        def take_over_and_publish(take_over: Callable[[], None] = take_over, second: Publisher = second) -> None:
            take_over()
            second.publish(rung(second.trial, 2))

        interrupt(first, look, take_over_and_publish)
        if look < LOOKS - 1:
            with pytest.raises(LostClaimError):
                first.publish(rung(trial, 1))
        else:
            first.publish(rung(trial, 1))
        assert authors(store, trial) == {"2"}


def test_the_successor_replaces_what_its_predecessor_published_too_late(store: Store, looks: Iterator[int]):
    for look, first, second, take_over in successions(store, looks):
        trial = first.trial
        interrupt(first, look, take_over)
        try:
            first.publish(rung(trial, 1))
        except LostClaimError:
            assert look < LOOKS - 1
        second.publish(rung(trial, 2))
        assert authors(store, trial) == {"2"}


def test_of_many_writers_one_creates_a_file(store: Store):
    create = filesystems.creator(store.filesystem, store.uri)
    assert create is not None
    together = threading.Barrier(6)

    def writes(number: int) -> bool:
        together.wait()
        return create(store.path("folder=x/a file"), str(number).encode())

    with ThreadPoolExecutor(6) as pool:
        created = list(pool.map(writes, range(6)))
    assert sum(created) == 1
    assert store.read_file("folder=x/a file") == str(created.index(True)).encode()
    assert store.files("folder=x", temporary=True) == {}


def test_files_are_created_with_the_keys_of_the_address_and_without_the_proxy_of_the_environment(
    s3_port: int, s3_keys: None, monkeypatch: pytest.MonkeyPatch
):
    """As pyarrow reads and writes all others."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", __file__)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = open_store(s3_uri(s3_port).replace("s3://", "s3://key:secret@"), create=True)
    create = filesystems.creator(store.filesystem, store.uri)
    assert create is not None
    assert [create(store.path("file"), data) for data in (b"1", b"2")] == [True, False]
    assert store.read_file("file") == b"1"


@pytest.mark.parametrize("lacking", ["server", "library", "profile", "address", "another scheme"])
def test_where_files_cannot_be_created_in_one_step_they_are_replaced_after_a_look_at_the_claim(
    s3_port: int, s3_keys: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, lacking: str
):
    """A server may refuse conditions, obstore may be absent, or might find other credentials or another server than pyarrow."""
    looks: list[int] = []
    with refusing(s3_port, 0, seed=1) as (port, counts):
        counts.conditions = False
        uri = s3_uri(port)
        store = open_store(uri, create=True)
        if lacking == "library":
            monkeypatch.setitem(sys.modules, "obstore", None)
        elif lacking == "profile":
            (tmp_path / "credentials").write_text("[default]\n")
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        elif lacking == "address":
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            uri = "s3://bucket/x"
        elif lacking == "another scheme":
            uri = f"{uri}&allow_bucket_creation=true"
        if lacking != "server":
            assert filesystems.creator(store.filesystem, uri) is None
            return
        with caplog.at_level(logging.INFO, "transfergan"):
            for data in (b"1", b"2"):
                store.write_file("file", data, lambda: looks.append(len(looks)))
                assert store.read_file("file") == data
    assert looks == [0, 1, 2], "once more after the server has refused, which it is asked only once"
    (line,) = caplog.messages
    assert line.startswith(f"store {uri!r}: no conditional writes, ")
