"""A verb that runs on a cluster from outside it, by Ray's client, while whoever has asked watches.

The cluster is given the sweep and this code, as for a job, and the verb runs on its head: Tune under Ray's client would run
the searcher and the scheduler in copies there, which tell this process nothing. What it prints comes here, Ctrl-C goes there,
and it ends with this process, however that ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import ray

from bench.on_ray.cluster import joining
from bench.on_ray.jobs import command, refuse_passwords, working_dir
from bench.store import Store
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import UserError

#: The resource that Ray gives the head, and no other machine.
HEAD = "node:__internal_head__"

#: By this variable Ray tells a driver that it starts what its own processes need: the code.
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"

#: Seconds that a question for what has been printed waits for an answer.
PATIENCE = 1.0


def run(address: str, verb: str, spec: SweepSpec, store: Store, options: Iterable[str] = ()) -> int:
    """Run a verb on the head of a cluster, print here what it prints, and return its exit status.

    Args:
        address: of the head's client server, ray://HOST:10001.
        verb: the verb, as in `transfergan VERB`.
        spec: its sweep.
        store: its store; the cluster opens it by the same address, with credentials of its own.
        options: the rest of its command line.

    Raises:
        UserError: no cluster answers there, or no longer, or it refuses the token; or an address holds a password.
    """
    refuse_passwords(address, store)
    with working_dir(spec) as folder, joining(address):
        ray.init(address, runtime_env={"working_dir": folder}, log_to_driver=False, logging_level=logging.CRITICAL)
    try:
        process: Any = ray.remote(num_cpus=0, resources={HEAD: 0.001})(Process).remote(command(verb, store, options))
        while True:
            try:
                said, status = ray.get(process.read.remote())
            except KeyboardInterrupt:
                process.interrupt.remote()
                continue
            for stream, text in said:
                print(text, end="", file=getattr(sys, stream), flush=True)
            if status is not None:
                return int(status)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"--address {address!r}: the cluster was lost; the same command goes on from here") from error
    finally:
        ray.shutdown()


class Process:
    """A process of Python's on the head, for an actor."""

    def __init__(self, arguments: Sequence[str]) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which Ray blocks in its processes, and so in theirs
        context = ray.get_runtime_context()
        self._process = subprocess.Popen(  # noqa: S603 - a verb of our own
            [sys.executable, *arguments, "--address", context.gcs_address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, JOB_CONFIG: json.dumps({"runtime_env": dict(context.runtime_env)})},
        )  # fmt: skip
        self._said: Queue[tuple[str, str]] = Queue()
        self._readers = [Thread(target=self._pass_on, args=(name,)) for name in ("stdout", "stderr")]
        for reader in self._readers:
            reader.start()

    def _pass_on(self, name: str) -> None:
        pipe: IO[str] = getattr(self._process, name)
        for line in pipe:
            self._said.put((name, line))

    def read(self) -> tuple[list[tuple[str, str]], int | None]:
        """Return what has been printed since, waiting a while for it, by stream; and at the end the exit status."""
        ended = not any(reader.is_alive() for reader in self._readers)
        said = []
        with suppress(Empty):
            said.append(self._said.get(timeout=PATIENCE))
            while True:
                said.append(self._said.get_nowait())
        return said, self._process.wait() if ended else None

    def interrupt(self) -> None:
        """Interrupt it, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
