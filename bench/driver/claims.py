"""Who works on which trial, where several drivers share a store: claims that end with their driver, however that ends.

A driver claims a trial before it starts it, and lets go of it when the trial has ended. Nothing here needs more of the store
than that a file, once written, is listed: object stores have no locks. A claim holds if the claimant, having written it, sees
nobody else's; two who see each other both withdraw, and try again later. A driver lives as long as its heartbeat changes, by
the clock of whoever watches, so that clocks may differ and jump; on the watcher's own machine, as long as its process does.

Should two drivers run one trial all the same (one was suspended, and went on), no harm is done but to the bill: equal trials
measure the same, and equal rows read as one.
"""

import json
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bench.store import Store, StoreUnwritableError

#: Seconds between two heartbeats of a driver.
BEAT = 10.0

#: Seconds without a heartbeat after which a driver counts as dead.
LEASE = 60.0


class Claims:
    """One driver's claims in a store; they are let go when the block ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._driver = uuid.uuid4().hex
        self._held: set[str] = set()
        self._seen: dict[str, tuple[bytes, float]] = {}  # of other drivers: the last heartbeat, and since when
        self._beats = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> "Claims":
        self._clear_away()
        self._beat()
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._heart.join()
        for key in self.held:
            self.free(key)
        self._store.delete_file(_heartbeat(self._driver))
        self._clear_away()

    @property
    def held(self) -> tuple[str, ...]:
        """The trials that this driver has claimed."""
        return tuple(self._held)

    def take(self, key: str) -> bool:
        """Claim a trial; False where another live driver has it."""
        if key in self.elsewhere():
            return False
        self._store.write_file(_claim(key, self._driver), b"")
        self._held.add(key)
        if key in self.elsewhere():  # who came between sees this claim as well, and withdraws
            self.free(key)
            return False
        return True

    def free(self, key: str) -> None:
        """Let go of a trial, claimed or not."""
        if key in self._held:
            self._held.remove(key)
            self._store.delete_file(_claim(key, self._driver))

    def elsewhere(self) -> set[str]:
        """Return the trials that other live drivers have claimed; what dead ones have claimed is cleared away."""
        found = set()
        for name in self._store.list_files("claims"):  # no more than are being worked on
            key, _, driver = name.removeprefix("claims/").partition(".")
            if driver == self._driver:
                continue
            if self._lives(driver):
                found.add(key)
            else:
                self._store.delete_file(name)
                self._store.delete_file(_heartbeat(driver))
        return found

    def _clear_away(self) -> None:
        """Delete the heartbeats of drivers that died before they claimed anything, or after."""
        for name in self._store.list_files("drivers"):
            if not self._lives(name.removeprefix("drivers/").removesuffix(".json")):
                self._store.delete_file(name)

    def _lives(self, driver: str) -> bool:
        try:
            beat = self._store.read_file(_heartbeat(driver))
        except FileNotFoundError:
            return False
        now = time.monotonic()
        last, since = self._seen.setdefault(driver, (beat, now))
        if beat != last:
            self._seen[driver] = beat, now
            return True
        return now - since < LEASE and not _is_dead_here(beat)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            self._beat()

    def _beat(self) -> None:
        self._beats += 1
        beat = {"beats": self._beats, "machine": _machine(), "process": _process(os.getpid())}
        with suppress(StoreUnwritableError):  # whoever writes what matters tells of it
            self._store.write_file(_heartbeat(self._driver), json.dumps(beat).encode())


def _claim(key: str, driver: str) -> str:
    return f"claims/{key}.{driver}"


def _heartbeat(driver: str) -> str:
    return f"drivers/{driver}.json"


def _machine() -> str:
    """Return an identity of where process numbers hold, since the machine was last started; "" where the system tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process(pid: int) -> list[int]:
    """Return a process's number and when it started, for numbers are used again; [] where there is none."""
    try:
        return [pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])]
    except (OSError, ValueError, IndexError):
        return []


def _is_dead_here(beat: bytes) -> bool:
    """Say whether a heartbeat is of a process of this machine that has gone."""
    try:
        said = json.loads(beat)
        machine, process = said["machine"], said["process"]
        return bool(machine and process) and machine == _machine() and _process(int(process[0])) != process
    except (ValueError, KeyError, TypeError, IndexError):
        return False
