"""Starts or joins a Ray cluster; turns its errors into one line."""

import logging
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread

import ray
import ray.job_config
from joblib import cpu_count  # type: ignore[import-untyped]
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # missing in its stubs

from bench.on_ray.jobs import ACCESS
from bench.on_ray.slots import MAX_WORKERS, Machines, alive, cpus_and_gpus, declared, slots_of
from bench.sweeps.spec import ResourcesConfig
from trainers.common.counts import counted
from trainers.common.errors import UserError, first_line

#: The folder of our packages.
ROOT = Path(__file__).resolve().parents[2]


class _SearchPath(list[str]):
    """Folders that come first where Ray's processes look for modules.

    Ray adds the folder that the user works in, where a file such as trainers.py would hide our package of that name.
    """

    def extend(self, folders: Iterable[str]) -> None:
        """Add nothing."""


@contextmanager
def cluster(needed: ResourcesConfig, cpus: int | None = None, address: str = "local") -> Iterator[None]:
    """Start Ray on this machine for the block and shut it down afterwards, or join a running cluster and leave it.

    Args:
        needed: resources of one trial.
        cpus: CPU cores that all trials together may use on this machine; None for all that this process may use, by its
            affinity and its control group.
        address: "local", or HOST:PORT of a running cluster, or "auto" for the cluster that this machine belongs to.

    Raises:
        UserError: there is no such cluster, or one trial needs more resources than any of its machines has.
    """
    if address != "local" and cpus is not None:
        raise UserError("--cpus limits what is started on this machine; leave it out with --address")
    if address == "local" and cpus is None:
        cpus = cpu_count()
    with joining(address), _signals_kept():
        ray.init(
            address=address, num_cpus=cpus, include_dashboard=False if address == "local" else None,
            log_to_driver=False, logging_level=logging.CRITICAL,
            job_config=ray.job_config.JobConfig(_py_driver_sys_path=_SearchPath([str(ROOT)])),
        )  # fmt: skip
    try:
        refuse_too_large(alive(), needed)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this process's handlers of signals, which Ray replaces; let no process that Ray starts end with the terminal."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the processes inherit
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def refuse_too_large(machines: Machines, needed: ResourcesConfig) -> None:
    """Raise UserError if a trial fits on no machine that is up or that may come: Ray would wait for one without a word."""
    to_come = declared(machines)
    if to_come is None and any(MAX_WORKERS in machine for machine in machines):
        return  # what kind of machine may come is not known
    candidates = machines if to_come is None else [*machines, to_come]
    if any(slots_of(machine, needed) for machine in candidates):
        return
    for key, kind in (("cpus", "CPU"), ("gpus", "GPU")):
        wanted, most = getattr(needed, key), max((machine.get(kind, 0) for machine in candidates), default=0)
        if wanted > most:
            raise UserError(
                f"resources.{key}: a trial asks for {counted(float(wanted), kind)} and the largest machine has {most:g}; "
                f"set resources.{key} lower (--set resources.{key}=...)"
            )
    raise UserError(
        f"resources: a trial asks for {cpus_and_gpus(needed.cpus, needed.gpus)} on one machine, and no machine has both; "
        "set resources.cpus or resources.gpus lower (--set resources.cpus=...)"
    )


@contextmanager
def joining(address: str) -> Iterator[None]:
    """Turn any error that keeps the block from starting or joining Ray into one line.

    Ray itself retries for minutes if nothing listens at the address, and twenty times if the token is wrong. Its logs are long
    and report a failed trial by a traceback, so callers turn them off.
    """
    scheme, _, end = address.rpartition("://")
    if scheme not in ("", "ray"):
        raise UserError(
            f"--address {address!r}: a cluster is named by its head's HOST:PORT, or from outside by ray://HOST:10001; "
            "job servers, http://HOST:8265, are for `transfergan submit`"
        )
    try:
        host, colon, port = end.rpartition(":")
        if colon:
            socket.create_connection((host, int(port)), timeout=10).close()
            if not scheme:
                GcsClient(address=address)
        yield
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(_refusal(address, error)) from error


def _refusal(address: str, error: Exception) -> str:
    """Return in one line why Ray did not start on this machine, or could not be joined at an address."""
    why = first_line(error)
    if address == "local":
        return f"Ray did not start on this machine: {why}; its files are in /tmp/ray, or in $RAY_TMPDIR/ray"
    if address.startswith("ray://") and isinstance(error, ConnectionError):  # Ray's client also raises this for a wrong token
        return (
            f"--address {address!r}: no client server of a Ray cluster answers there, or it refuses the token ({why}); {ACCESS}"
        )
    if any(name in f"{error!r} {error.__cause__!r}" for name in ("AuthenticationError", "InvalidAuthToken")):
        return f"--address {address!r}: the cluster refuses the token ({why}); {ACCESS}"
    return (
        f"--address {address!r}: no Ray cluster answers there ({why}); "
        "give the head's HOST:PORT, or leave it out to run on this machine"
    )
