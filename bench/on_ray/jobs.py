"""Sweeps as jobs of a Ray cluster: submit, status, logs and cancel.

The job server of the cluster receives the sweep and this code, and runs `transfergan run` on the head node, so the submitting
machine can be switched off. The store keeps the id of the job and the address of the server in ``jobs/SWEEP.json``; later
commands need only the store. Ray reads its token from RAY_AUTH_TOKEN, the file named by RAY_AUTH_TOKEN_PATH, or
~/.ray/auth_token; this module neither reads nor writes tokens.

Imports Ray only to talk to a job server.
"""

import importlib.util
import json
import logging
import math
import os
import shlex
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from bench.store import Store
from bench.sweeps.spec import SweepSpec, as_mapping
from trainers.common.errors import UserError, first_line, unknown_name

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

#: Packages that are sent with a job, so that the cluster runs this code, whichever version it has installed.
PACKAGES = ("bench", "trainers", "analysis")

#: Cancelling interrupts a job as Ctrl-C does; it has 60 seconds to record its progress.
STOPPING = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}

#: Exit status of a run that ended because it reached its limit of hours: nothing has failed.
AT_LIMIT = 3

#: States of a job that has not ended.
OPEN = ("pending", "running")

#: Seconds between two checks whether a job has ended.
LOOK = 0.5

#: How to give Ray a token.
ACCESS = "set RAY_AUTH_MODE=token, with the cluster's token in ~/.ray/auth_token or in the file RAY_AUTH_TOKEN_PATH"


@dataclass(frozen=True)
class Job:
    """A job that runs, or ran, a sweep, at the `address` of a cluster's job server, http://HOST:8265."""

    sweep: str
    id: str
    address: str

    def __str__(self) -> str:
        return f"job {self.id} at {self.address}"


def submit(spec: SweepSpec, store: Store, address: str, *, retry_failed: bool = False, max_hours: float = math.inf) -> Job:
    """Submit a sweep as a job to a cluster, and record the job in the store. Return once the cluster has accepted it.

    Args:
        spec, retry_failed: the sweep, and whether its failed trials run again.
        store: where the job's results go; the cluster opens it by the same address, with its own credentials.
        address: of the cluster's job server, http://HOST:8265.
        max_hours: hours that the job may spend, see `bench.costs.budget`; infinite for no limit.

    Raises:
        UserError: no job server answers, or it refuses the token; the previous job of the sweep still runs; or an address
            contains a password.
    """
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address {address!r}: give the address of the cluster's job server, http://HOST:8265")
    refuse_passwords(address, store)
    previous = recorded(store).get(spec.name)
    if previous is not None:
        try:
            status = state(previous)
        except UserError:  # its cluster no longer exists or refuses the token
            status = "unknown"
        if status in OPEN:
            raise UserError(f"sweep {spec.name}: {previous}: {status}; stop it first with `transfergan cancel`")
    job = Job(spec.name, f"{spec.name}-{uuid.uuid4().hex[:8]}", address)
    with _client(job) as server, working_dir(spec) as folder:
        server.submit_job(
            entrypoint=entrypoint(store, retry_failed=retry_failed, max_hours=max_hours),
            submission_id=job.id,
            runtime_env={"working_dir": folder, "env_vars": STOPPING},
        )
    store.write_file(f"jobs/{spec.name}.json", json.dumps(asdict(job)).encode())
    return job


def refuse_passwords(address: str, store: Store) -> None:
    """Raise UserError if an address that is visible in the job's command contains a password."""
    for option, uri in (("--address", address), ("--store", store.uri)):
        if "://" in uri and urlsplit(uri).password:
            raise UserError(
                f"{option}: leave the password out, since everyone who sees the job sees it; give the cluster its own access"
            )


def entrypoint(store: Store, *, retry_failed: bool, max_hours: float) -> str:
    """Return the command that the job runs on the cluster; the arguments are those of `submit`."""
    options = run_options(retry_failed=retry_failed, max_hours=max_hours)
    return shlex.join(["python", *command("run", store, options), "--address", "auto"])


def run_options(*, retry_failed: bool, max_hours: float) -> list[str]:
    """Return the options of `run` and `tune` on a cluster; the arguments are those of `submit`."""
    return [
        *(["--retry", "failed"] if retry_failed else []),
        *(["--max-hours", repr(max_hours)] if max_hours < math.inf else []),
    ]


def command(verb: str, store: Store, options: Iterable[str]) -> list[str]:
    """Return the command line of a verb in a `working_dir`, without `python` and the cluster's address."""
    return ["-m", "bench.cli", verb, "sweep.yaml", "--store", store.address, *options]


def recorded(store: Store) -> dict[str, Job]:
    """Return the last job of each sweep, by the name of the sweep. Raises UserError if a record is damaged."""
    jobs = {}
    for name in store.list_files("jobs"):
        try:
            job = Job(**json.loads(store.read_file(name)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{name} in store {store.uri!r} is damaged; delete it, and submit the sweep again") from error
        jobs[job.sweep] = job
    return jobs


def find(store: Store, sweep: str | None = None) -> Job:
    """Return the last job of a sweep, which must be named if the store has jobs of several. Raises UserError."""
    jobs = recorded(store)
    if not jobs:
        raise UserError(f"store {store.uri!r} has no job; start one with `transfergan submit`")
    if sweep is None and len(jobs) > 1:
        raise UserError(f"the store has several jobs; name the sweep, --sweep {' or '.join(sorted(jobs))}")
    if sweep is not None and sweep not in jobs:
        raise unknown_name("submitted sweep", sweep, jobs)
    return jobs[sweep] if sweep is not None else next(iter(jobs.values()))


def state(job: Job) -> str:
    """Return "pending", "running", "stopped", "succeeded", "failed" or "limit reached". Raises UserError without an answer."""
    with _client(job) as server:
        details = server.get_job_info(job.id)
    return "limit reached" if details.driver_exit_code == AT_LIMIT else details.status.value.lower()


def status_line(job: Job) -> str:
    """Return one line with a job's state, or with the reason why it is unknown."""
    try:
        return f"{job}: {state(job)}"
    except UserError as error:
        return str(error)


def as_data(job: Job) -> dict[str, str | None]:
    """Return a job as plain data, with its state, or None and the reason why it is unknown."""
    try:
        return {"id": job.id, "address": job.address, "state": state(job), "unknown": None}
    except UserError as error:
        return {"id": job.id, "address": job.address, "state": None, "unknown": str(error)}


def logs(job: Job) -> str:
    """Return the output of a job so far. Raises UserError if the cluster does not answer."""
    with _client(job) as server:
        return server.get_job_logs(job.id)


def cancel(job: Job) -> str:
    """Interrupt a job, wait for its end, and return its state. Raises UserError if the cluster does not answer."""
    with _client(job) as server:
        server.stop_job(job.id)
        while not (status := server.get_job_status(job.id)).is_terminal():
            time.sleep(LOOK)
    return status.value.lower()


@contextmanager
def _client(job: Job) -> Iterator["JobSubmissionClient"]:
    """Yield a client of a job's server; turn its errors into UserError of one line."""
    import urllib.request  # slow to import

    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for logger in ("ray", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    os.environ["RAY_API_SERVER_ADDRESS"] = job.address  # otherwise Ray asks the cluster of RAY_ADDRESS
    parts = urlsplit(job.address)
    host, proxy = parts.hostname or "", None
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        with socket.create_connection((host, port), timeout=10) as connection:  # Ray's client waits for minutes
            local = ip_address(connection.getpeername()[0]).is_loopback
        if local:
            _reach_directly(host)
        elif not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(parts.scheme)
        yield JobSubmissionClient(job.address)
    except UserError:
        raise
    except AuthenticationError as error:
        raise UserError(f"{job}: the cluster refuses the token ({first_line(error)}); {ACCESS}") from error
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        if f"Job {job.id} does not exist" in reason:
            raise UserError(f"{job}: the cluster was restarted since; `transfergan submit` continues the sweep") from error
        if proxy:
            way = f"{parts.scheme}_proxy sends the request by another machine; set no_proxy={host} to reach it directly"
            raise UserError(f"{job}: no job server of a Ray cluster answers by the proxy ({reason}); {way}") from error
        raise UserError(
            f"{job}: no job server of a Ray cluster answers ({reason}); it is at port 8265 of the head, if need be by a tunnel"
        ) from error


def _reach_directly(host: str) -> None:
    """Let no request of this process to a host of this machine, such as the end of a tunnel, go to a proxy."""
    names = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    import urllib.request  # slow to import

    if not urllib.request.proxy_bypass(host):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{names},{host}" if names else host


@contextmanager
def working_dir(spec: SweepSpec) -> Iterator[str]:
    """Yield a temporary folder with what a cluster needs: this code, and the sweep as sweep.yaml."""
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        for package in PACKAGES:
            module = importlib.util.find_spec(package)
            assert module is not None
            assert module.submodule_search_locations is not None
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(module.submodule_search_locations[0], Path(folder, package), ignore=ignored)
        Path(folder, "sweep.yaml").write_text(yaml.safe_dump(as_mapping(spec), sort_keys=False))
        yield folder
