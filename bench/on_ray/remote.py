"""Runs a verb on a cluster from outside, by Ray's client, with its output on this machine.

The cluster receives the sweep and this code, as for a job, and the verb runs on its head node: under Ray's client, Tune would
run the searcher and the scheduler in remote copies that report nothing to this process. The output is forwarded here, Ctrl-C
is forwarded there, and the verb ends when this process ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import IO, Any

import ray

from bench.on_ray.cluster import joining
from bench.on_ray.jobs import command, refuse_passwords, working_dir
from bench.store import Store
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError

#: The resource that only the head node of a Ray cluster has.
HEAD = "node:__internal_head__"

#: The variable that passes a runtime environment (the code) to a driver that Ray starts.
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"

#: Seconds that a request for output waits for a line.
PATIENCE = 1.0


def run(
    address: str, verb: str, spec: SweepSpec, store: Store, options: Iterable[str], write: Callable[[str, str], None]
) -> int:
    """Run a verb on the head of a cluster, and return its exit status.

    Args:
        address: of the head's client server, ray://HOST:10001.
        verb, spec, options: as in `transfergan VERB SPEC OPTIONS`.
        store: the store; the cluster opens it by the same address, with its own credentials.
        write: called with "stdout" or "stderr" and each piece of output.

    Raises:
        UserError: no cluster answers, it was lost, or it refuses the token; or an address contains a password.
    """
    refuse_passwords(address, store)
    with working_dir(spec) as folder, joining(address):
        _connect(address, folder)
    interrupted = Event()
    try:
        process: Any = ray.remote(num_cpus=0, resources={HEAD: 0.001})(Process).remote(command(verb, store, options))
        with _on_interrupt(interrupted):
            while True:
                output, status = ray.get(process.read.remote())
                for stream, text in output:
                    write(stream, text)
                if status is not None:
                    return int(status)
                if interrupted.is_set():
                    ray.get(process.interrupt.remote())
                    interrupted.clear()
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"--address {address!r}: the cluster was lost; the same command goes on from here") from error
    finally:
        ray.shutdown()


@contextmanager
def _on_interrupt(event: Event) -> Iterator[None]:
    """Set an event on Ctrl-C; KeyboardInterrupt would lose output. Raise it if the event is still set."""

    def handle(*_: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt  # the cluster has not answered since the first one
        event.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _connect(address: str, folder: str) -> None:
    """Connect to the client server of a cluster; try once more if its head does not start a process for this client in time."""
    for is_last in (False, True):
        try:
            ray.init(address, runtime_env={"working_dir": folder}, log_to_driver=False, logging_level=logging.CRITICAL)
            return
        except ConnectionError:
            if is_last:
                raise


class Process:
    """An actor on the head node that runs Python in a process."""

    def __init__(self, arguments: Sequence[str]) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it, and child processes inherit that
        context = ray.get_runtime_context()
        self._process = subprocess.Popen(  # noqa: S603 - a verb of our own
            [sys.executable, *arguments, "--address", context.gcs_address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, JOB_CONFIG: json.dumps({"runtime_env": dict(context.runtime_env)})},
        )  # fmt: skip
        self._output: Queue[tuple[str, str]] = Queue()
        self._readers = [Thread(target=self._forward, args=(name,)) for name in ("stdout", "stderr")]
        for reader in self._readers:
            reader.start()

    def _forward(self, name: str) -> None:
        pipe: IO[str] = getattr(self._process, name)
        for line in pipe:
            self._output.put((name, line))

    def read(self) -> tuple[list[tuple[str, str]], int | None]:
        """Return the output since the last call as (stream, line), and the exit status once the process has ended."""
        ended = not any(reader.is_alive() for reader in self._readers)
        output = []
        with suppress(Empty):
            output.append(self._output.get(timeout=PATIENCE))
            while True:
                output.append(self._output.get_nowait())
        return output, self._process.wait() if ended else None

    def interrupt(self) -> None:
        """Interrupt the process, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
