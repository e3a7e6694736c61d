"""A sweep as a job of a cluster: submitted, watched and cancelled from anywhere.

The cluster's job server is given the sweep and this code, and runs `transfergan run` on the head node; whoever has submitted it
may close the laptop. The store remembers the job's id and the server's address, in ``jobs/SWEEP.json``, so that later commands
need nothing but the store. Tokens are Ray's own business: it reads them from RAY_AUTH_TOKEN, from the file that
RAY_AUTH_TOKEN_PATH names or from ~/.ray/auth_token; nothing here sees or writes one.

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
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from bench.store import Store
from bench.sweeps.spec import SweepSpec, as_mapping
from trainers.common.errors import UserError, first_line, unknown_name

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

#: What of this code a job takes along, so that the cluster runs what was submitted, whatever it has installed.
PACKAGES = ("bench", "trainers", "analysis")

#: A job that is cancelled is interrupted, as by Ctrl-C, and has so many seconds to record where it is.
STOPPING = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}

#: Seconds between two questions whether a job has ended.
LOOK = 0.5

#: How a token is given to Ray, for those whom a cluster refuses.
ACCESS = "set RAY_AUTH_MODE=token, with the cluster's token in ~/.ray/auth_token or where RAY_AUTH_TOKEN_PATH says"


@dataclass(frozen=True)
class Job:
    """A job that runs, or ran, a sweep: its id, and the address of its cluster's job server."""

    sweep: str
    id: str
    address: str


def submit(spec: SweepSpec, store: Store, address: str, *, retry_failed: bool = False, max_hours: float = math.inf) -> Job:
    """Start a sweep as a job of a cluster, and record it in the store. Returns when the cluster has taken it in.

    Args:
        spec: the sweep.
        store: where the job's results go; the cluster opens it by the same address, with credentials of its own.
        address: of the cluster's job server, http://HOST:8265.
        retry_failed: also run again the trials that failed.
        max_hours: hours that the job may spend, see `bench.budget`; infinite for no limit.

    Raises:
        UserError: no job server answers there, or it refuses the token; the sweep's last job still runs; or an address holds
            a password.
    """
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address {address!r}: give that of the cluster's job server, http://HOST:8265")
    refuse_passwords(address, store)
    last = recorded(store).get(spec.name)
    if last is not None and (said := told(last)).endswith((": pending", ": running")):
        raise UserError(f"sweep {spec.name}: {said}; `transfergan cancel` ends it first")
    job = Job(spec.name, f"{spec.name}-{uuid.uuid4().hex[:8]}", address)
    with _asking(job) as server, working_dir(spec) as folder:
        server.submit_job(
            entrypoint=entrypoint(store, retry_failed=retry_failed, max_hours=max_hours),
            submission_id=job.id,
            runtime_env={"working_dir": folder, "env_vars": STOPPING},
        )
    store.write_file(f"jobs/{spec.name}.json", json.dumps(asdict(job)).encode())
    return job


def refuse_passwords(address: str, store: Store) -> None:
    """Raise UserError where an address that a command on a cluster would show holds a password."""
    for option, uri in (("--address", address), ("--store", store.uri)):
        if "://" in uri and urlsplit(uri).password:
            raise UserError(
                f"{option}: leave the password out, all who see the job would see it; give the cluster its own access"
            )


def entrypoint(store: Store, *, retry_failed: bool, max_hours: float) -> str:
    """Return the command that the job runs on the cluster; see `submit`."""
    options = run_options(retry_failed=retry_failed, max_hours=max_hours)
    return shlex.join(["python", *command("run", store, options), "--address", "auto"])


def run_options(*, retry_failed: bool, max_hours: float) -> list[str]:
    """Return the options by which `run` and `tune` do on a cluster what is asked of them here; see `submit`."""
    return [
        *(["--retry", "failed"] if retry_failed else []),
        *(["--max-hours", repr(max_hours)] if max_hours < math.inf else []),
    ]


def command(verb: str, store: Store, options: Iterable[str]) -> list[str]:
    """Return the command line of a verb in a `working_dir`, after `python` and but for the cluster's address."""
    return ["-m", "bench.cli", verb, "sweep.yaml", "--store", store.address, *options]


def recorded(store: Store) -> dict[str, Job]:
    """Return the job that each sweep was last submitted as, by sweep. Raises UserError where a record is damaged."""
    found = {}
    for name in store.list_files("jobs"):
        try:
            job = Job(**json.loads(store.read_file(name)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{name} in store {store.uri!r} is damaged; delete it, and submit the sweep again") from error
        found[job.sweep] = job
    return found


def find(store: Store, sweep: str | None = None) -> Job:
    """Return the job that a sweep was last submitted as; the sweep must be named where there are several.

    Raises:
        UserError: there is no such job, or there are several.
    """
    jobs = recorded(store)
    if not jobs:
        raise UserError(f"store {store.uri!r} knows of no job; `transfergan submit` starts one")
    if sweep is None and len(jobs) > 1:
        raise UserError(f"the store knows of several jobs; name the sweep, --sweep {' or '.join(sorted(jobs))}")
    if sweep is not None and sweep not in jobs:
        raise unknown_name("submitted sweep", sweep, jobs)
    return jobs[sweep] if sweep is not None else next(iter(jobs.values()))


def state(job: Job) -> str:
    """Return "pending", "running", "stopped", "succeeded" or "failed". Raises UserError where its cluster does not say."""
    with _asking(job) as server:
        return server.get_job_status(job.id).value.lower()


def told(job: Job) -> str:
    """Return, in a line, what a job's cluster says of it, or why it says nothing."""
    try:
        return f"job {job.id} at {job.address}: {state(job)}"
    except UserError as error:
        return str(error)


def logs(job: Job) -> str:
    """Return what a job has printed so far. Raises UserError where its cluster does not say."""
    with _asking(job) as server:
        return server.get_job_logs(job.id)


def cancel(job: Job) -> str:
    """Interrupt a job, wait until it has ended, and return how. Raises UserError where its cluster does not answer."""
    with _asking(job) as server:
        server.stop_job(job.id)
        while not (status := server.get_job_status(job.id)).is_terminal():
            time.sleep(LOOK)
    return status.value.lower()


@contextmanager
def _asking(job: Job) -> Iterator["JobSubmissionClient"]:
    """Give the block a client of a job's server, and make one line of whatever it refuses."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for talker in ("ray", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    os.environ["RAY_API_SERVER_ADDRESS"] = job.address  # or Ray would ask the cluster that RAY_ADDRESS names
    parts = urlsplit(job.address)
    where = f"job {job.id} at {job.address}"
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout=10).close()  # Ray would wait for minutes
        yield JobSubmissionClient(job.address)
    except UserError:
        raise
    except AuthenticationError as error:
        raise UserError(f"{where}: the cluster refuses the token ({first_line(error)}); {ACCESS}") from error
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        why = first_line(error)
        if f"Job {job.id} does not exist" in why:
            raise UserError(
                f"{where}: the cluster has been started anew since; `transfergan submit` goes on from there"
            ) from error
        raise UserError(
            f"{where}: no job server of a Ray cluster answers ({why}); it is at port 8265 of the head, by a tunnel if need be"
        ) from error


@contextmanager
def working_dir(spec: SweepSpec) -> Iterator[str]:
    """Give the block a folder with all that a cluster is given: this code, and the sweep, as sweep.yaml."""
    with tempfile.TemporaryDirectory(prefix="transfergan-") as folder:
        for package in PACKAGES:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.submodule_search_locations is not None
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found.submodule_search_locations[0], Path(folder, package), ignore=ignored)
        Path(folder, "sweep.yaml").write_text(yaml.safe_dump(as_mapping(spec), sort_keys=False))
        yield folder
