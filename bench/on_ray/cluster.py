"""Start or join a Ray cluster; refusals are one line."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # missing in its stubs

from bench.on_ray.jobs import ACCESS
from bench.sweeps.spec import ResourcesConfig
from trainers.common.errors import UserError, first_line

#: By a custom resource of this name the head of a cluster that starts machines as they are needed says how many it may start.
MAX_WORKERS = "max_workers"


@contextmanager
def cluster(needed: ResourcesConfig, cpus: int | None = None, address: str = "local") -> Iterator[None]:
    """Start Ray on this machine for the block, and shut down what was started; or join a cluster that is up, and leave it.

    Args:
        needed: what one trial takes.
        cpus: CPU cores that trials may use together on this machine; None for all.
        address: "local", or a running cluster's as HOST:PORT, or "auto" for the one that this machine belongs to.

    Raises:
        UserError: there is no such cluster, or one trial needs more than there is.
    """
    if address != "local" and cpus is not None:
        raise UserError("--cpus limits what is started on this machine; leave it out with --address")
    with joining(address):
        ray.init(
            address=address, num_cpus=cpus, include_dashboard=False if address == "local" else None,
            log_to_driver=False, logging_level=logging.CRITICAL,
        )  # fmt: skip
    try:
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        for key, kind in (("cpus", "CPU"), ("gpus", "GPU")):
            wanted = getattr(needed, key)
            if wanted > there.get(kind, 0) and not there.get(MAX_WORKERS):
                raise UserError(
                    f"resources.{key}: a trial asks for {wanted:g} {kind}s and there are {there.get(kind, 0):g}; "
                    f"set resources.{key} lower (--set resources.{key}=...)"
                )
        yield
    finally:
        ray.shutdown()


@contextmanager
def joining(address: str) -> Iterator[None]:
    """Make one line of whatever keeps the block from starting Ray here, or from joining a cluster there.

    Ray itself would try for minutes where nobody listens, and twenty times where the token is wrong; it talks much, and tells
    of a failed trial by a traceback, so those who join turn its logs off.
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
    """Return, in one line, why Ray has not started here, or has not been joined there."""
    why = first_line(error)
    if address == "local":
        return f"Ray did not start on this machine: {why}; its files are in /tmp/ray, or in $RAY_TMPDIR/ray"
    if address.startswith("ray://") and isinstance(error, ConnectionError):  # all that Ray's client tells of a wrong token, too
        return (
            f"--address {address!r}: no client server of a Ray cluster answers there, or it refuses the token ({why}); {ACCESS}"
        )
    if any(name in f"{error!r} {error.__cause__!r}" for name in ("AuthenticationError", "InvalidAuthToken")):
        return f"--address {address!r}: the cluster refuses the token ({why}); {ACCESS}"
    return (
        f"--address {address!r}: no Ray cluster answers there ({why}); "
        "give the head's HOST:PORT, or leave it out to run on this machine"
    )
