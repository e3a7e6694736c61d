"""Claims on trials by the drivers that share a store; a claim ends with its driver, however that ends.

A driver claims a trial before it starts it, and releases it when the trial has ended. The store only has to list a file once it
is written, because object stores have no locks. A claim is valid if its driver, after writing it, sees no other claim on the
trial; two drivers that see each other's claims both withdraw and try again later. A driver is alive as long as its heartbeat
changes by the clock of the observer, so clocks may differ and jump; on the observer's machine, as long as its process exists.
If an observer has not looked for half a lease, e.g. because the store did not answer, a driver has two more beats, once.

A driver that is suspended longer than its lease loses its claims without notice. Therefore the claim is looked up again before
each result of a trial is published (`holding`), and a trial whose claim is lost is let go of. A process may still be suspended
between this look and the publication. What it publishes afterwards replaces nothing that the next holder has published: of two
rows the one of the later look counts, and a file is created, not replaced, where the filesystem can do this in one step (see
`bench.store.filesystems.creator`). Elsewhere it may replace a file by one of the same step of the same trial.

The claims themselves are not created that way. It would need one name for all drivers, so a driver that goes on after it was
suspended would release the claim of its successor: neither disks nor most servers delete on a condition.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.store import Held, Store, StoreUnwritableError

#: Seconds between two heartbeats of a driver.
BEAT = 10.0

#: Seconds without a heartbeat after which a driver counts as dead.
LEASE = 60.0


class LostClaimError(RuntimeError):
    """The claim on a trial is gone: another driver may run the trial, and this one may publish no more results of it."""


def holding(store: Store, claim: str | None) -> Held | None:
    """Return what raises LostClaimError unless a claim, by its path in the store, exists; None for a trial that needs no claim.

    It is for `Store.write_file`, which repeats it with the write while the server does not answer.
    """
    at_once = replace(store, patience=0.0)

    def ensure() -> None:
        if not at_once.has_file(str(claim)):
            raise LostClaimError(f"the claim {claim} is gone, so another driver may run this trial")

    return None if claim is None else ensure


class Claims:
    """One driver's claims in a store, as a context manager that releases them at the end of the block."""

    def __init__(self, store: Store, told: Callable[[tuple[str, ...]], Mapping[str, Any]] = lambda held: {}) -> None:
        """`told` returns what the heartbeat says besides, as plain data, given the trials that are claimed."""
        self._store, self._told = store, told
        self._driver = uuid.uuid4().hex
        self._held: set[str] = set()
        # By other driver: its last heartbeat, since when it counts, when it was last seen, and whether it was given more time.
        self._seen: dict[str, tuple[bytes, float, float, bool]] = {}
        self._beats = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._keep_alive, daemon=True)

    def __enter__(self) -> "Claims":
        self._delete_dead()
        self._beat()
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._heart.join()
        for key in self.held:
            self.free(key)
        self._store.delete_file(heartbeat_path(self._driver))
        self._delete_dead()

    @property
    def held(self) -> tuple[str, ...]:
        """The trials that this driver has claimed."""
        return tuple(self._held)

    def take(self, key: str) -> bool:
        """Claim a trial; return False if another live driver has it."""
        return not self.take_all([key])

    def take_all(self, keys: Collection[str]) -> set[str]:
        """Claim several trials; if other live drivers have some of them, return these and claim none."""
        if taken := self.elsewhere().intersection(keys):
            return taken
        if not self._store.has_file(heartbeat_path(self._driver)):  # deleted while this driver was suspended
            self._beat()
        for key in keys:
            self._store.write_file(self.path(key), b"")
            self._held.add(key)
        taken = self.elsewhere().intersection(keys)  # a driver that claimed one in between sees this claim, and withdraws too
        for key in keys if taken else ():
            self.free(key)
        return taken

    def free(self, key: str) -> None:
        """Release a trial, whether it is claimed or not."""
        if key in self._held:
            self._held.remove(key)
            self._store.delete_file(self.path(key))

    def path(self, key: str) -> str:
        """Return the path in the store of this driver's claim on a trial."""
        return f"claims/{key}.{self._driver}"

    def holds(self, key: str) -> bool:
        """Look up whether a trial is still claimed by this driver, and forget the claim if it is gone.

        A claim stands as long as the store cannot be reached, because no driver can take the trial meanwhile.
        """
        with suppress(OSError):
            if key in self._held and not self._store.has_file(self.path(key)):
                self._held.remove(key)
        return key in self._held

    def elsewhere(self) -> set[str]:
        """Return the trials that other live drivers have claimed; delete the claims of dead ones."""
        claimed = set()
        for name in self._store.list_files("claims"):  # as many as there are running trials
            key, _, driver = name.removeprefix("claims/").partition(".")
            if driver == self._driver:
                continue
            if self._is_alive(driver):
                claimed.add(key)
            else:
                self._store.delete_file(name)
                self._store.delete_file(heartbeat_path(driver))
        return claimed

    def _delete_dead(self) -> None:
        """Delete the heartbeats of dead drivers, which may have no claims."""
        for name in self._store.list_files("drivers"):
            if not self._is_alive(name.removeprefix("drivers/").removesuffix(".json")):
                self._store.delete_file(name)

    def _is_alive(self, driver: str) -> bool:
        try:
            beat = self._store.read_file(heartbeat_path(driver))
        except FileNotFoundError:
            return False
        now = time.monotonic()
        last, since, looked, extended = self._seen.get(driver, (beat, now, now, False))
        if beat != last:
            since, extended = now, False
        elif now - looked > LEASE / 2 and not extended:  # once, because on a large store all looks may be that far apart
            since, extended = max(since, now - LEASE + 2 * BEAT), True
        self._seen[driver] = beat, since, now, extended
        return now - since < LEASE and not is_dead_here(beat)

    def _keep_alive(self) -> None:
        while not self._ended.wait(BEAT):
            self._beat()

    def _beat(self) -> None:
        self._beats += 1
        where = {"machine": _machine(), "host": socket.gethostname(), "process": _process(os.getpid())}
        beat = {"beats": self._beats, **where, **self._told(self.held)}
        with suppress(StoreUnwritableError):  # a write of results reports it
            self._store.write_file(heartbeat_path(self._driver), json.dumps(beat).encode())


def heartbeat_path(driver: str) -> str:
    """Return the path in the store of a driver's heartbeat."""
    return f"drivers/{driver}.json"


def _machine() -> str:
    """Return an identity of the machine's current boot and process namespace; "" if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process(pid: int) -> list[int]:
    """Return a process's number and its start time, because numbers are reused; [] if there is no such process."""
    try:
        return [pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])]
    except (OSError, ValueError, IndexError):
        return []


def is_dead_here(beat: bytes) -> bool:
    """Return whether a heartbeat comes from a process of this machine that no longer exists."""
    try:
        details = json.loads(beat)
        machine, process = details["machine"], details["process"]
        return bool(machine and process) and machine == _machine() and _process(int(process[0])) != process
    except (ValueError, KeyError, TypeError, IndexError):
        return False
