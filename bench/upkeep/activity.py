"""What drivers are at, by their claims and heartbeats in the store: which trials run, where and since when.

Each driver says so in its heartbeat (see `bench.driver.sharing.Activity`). A reader looks once, so unlike a driver it cannot
watch whether a heartbeat changes: it takes the age of the heartbeat's file, by the clocks of the store and of this machine, and
for a driver of this machine its process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.driver.claims import LEASE, is_dead_here
from bench.driver.ledger import ENDED
from bench.store import Store


@dataclass(frozen=True)
class Sign:
    """The last sign of life of a driver.

    Attributes:
        driver: its identity.
        sweep: what it runs; "" if it does not say.
        host: of the driver; "" if it does not say.
        process: its process id there; None if it does not say.
        seen: when the store received the last heartbeat.
        alive: whether the driver lives: the heartbeat is younger than `LEASE`, and its process exists if it is on this machine.
        trials: what it says of the trials that it has claimed, by key: "status", "host" and "since".
    """

    driver: str
    sweep: str
    host: str
    process: int | None
    seen: datetime
    alive: bool
    trials: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Claimed:
    """A trial that a driver has claimed.

    Attributes:
        trial: its key.
        status: as in the driver's ledger, e.g. "running" or "queued"; "stale" if the driver does not live.
        host: where it runs, or its driver if it does not run; "" if unknown.
        since: when it came to this status; of a stale claim, the last sign of its driver.
    """

    trial: str
    status: str
    host: str
    since: datetime


def signs(store: Store) -> dict[str, Sign]:
    """Return the last sign of life of each driver whose heartbeat is in the store."""
    found = {}
    for path, info in store.files("drivers").items():
        try:
            data = store.read_file(path)
        except FileNotFoundError:  # its run has ended meanwhile
            continue
        driver = path.removeprefix("drivers/").removesuffix(".json")
        alive = datetime.now(UTC) - info.mtime < timedelta(seconds=LEASE) and not is_dead_here(data)
        found[driver] = _sign(driver, data, info.mtime, alive)
    return found


def claimed(store: Store, drivers: Mapping[str, Sign]) -> list[Claimed]:
    """Return the claimed trials that have not ended, in the order of `since`; `drivers` are the `signs` of the store."""
    found = []
    for path, info in store.files("claims").items():
        key, _, driver = path.removeprefix("claims/").partition(".")
        sign = drivers.get(driver)
        if sign is None or not sign.alive:
            host, seen = ("", info.mtime) if sign is None else (sign.host, sign.seen)
            found.append(Claimed(key, "stale", host, seen))
            continue
        # A claim that is younger than the heartbeat is that of a trial which waits for its process.
        told = sign.trials.get(key, {"status": "queued"})
        if told["status"] not in ENDED:
            since = _time(told.get("since")) or info.mtime
            found.append(Claimed(key, told["status"], told.get("host") or sign.host, since))
    return sorted(found, key=lambda each: (each.since, each.trial))


def _sign(driver: str, data: bytes, seen: datetime, alive: bool) -> Sign:
    """Return what a heartbeat says; those of older versions say neither sweep nor trials, and one may be damaged."""
    try:
        said = json.loads(data)
        process = said["process"][0] if said.get("process") else None
        trials = {str(key): {str(k): str(v) for k, v in of.items()} for key, of in said.get("trials", {}).items()}
        usable = {key: of for key, of in trials.items() if "status" in of}
        return Sign(driver, str(said.get("sweep", "")), str(said.get("host", "")), process, seen, alive, usable)
    except (ValueError, TypeError, AttributeError, LookupError):
        return Sign(driver, "", "", None, seen, alive, {})


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
