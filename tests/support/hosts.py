"""Hosts on one machine, made of namespaces: each with its own address, processes, files, shared memory and network cable.

The kernel removes a switch and its hosts with their last process, and each lives only as long as a pipe from the process that
made it is open. So nothing remains, however that process ends, whatever addresses the machine has. Needs iproute2, util-linux
and the right to make namespaces: as root, or as a user who may make user namespaces.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import tiny

#: Options that make a user who is not root the root of a user namespace.
_USER = () if os.geteuid() == 0 else ("--user", "--map-root-user")
_SAME_USER = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")

#: Namespaces of a host in addition to its network; all its processes end with its first one.
_NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc")

#: Keeps a host alive: a shell, which reaps orphaned daemons, and which ends with its input.
_LIVE = "\necho up; cat; exit"

_SWITCH = """set -e
ip link add switch type bridge
ip address add 10.0.0.1/24 dev switch
ip link set switch up
"""

#: A host may read the files of the machine, and write only to its own folder.
_HOST = """set -e
mount -t tmpfs none "$1"
mount -t tmpfs none /dev/shm
awk '$2 !~ "^/(proc|sys|dev)(/|$)" && $2 != own {print $2}' own="$1" /proc/self/mounts | sort -u | while read -r shared; do
    mount -o remount,bind,ro "$shared"
done
hostname "$2"
ip link set lo up
"""


class NotPermittedError(Exception):
    """This machine does not permit namespaces."""


@contextmanager
def network() -> Iterator["Switch"]:
    """Make a switch for hosts; the end of the block ends all of them.

    Raises:
        NotPermittedError: this machine does not permit namespaces, or lacks the tools.
    """
    if not (shutil.which("ip") and shutil.which("unshare")):
        raise NotPermittedError("ip or unshare is absent: apt-get install iproute2 util-linux")
    trial = subprocess.run(["unshare", *_USER, "--net", *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise NotPermittedError(f"this machine permits no namespaces: {trial.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="hosts-", dir="/tmp") as folder:  # Ray needs a short path
        switch = Switch(folder)
        try:
            yield switch
        finally:
            for host in switch.hosts:
                host.kill()
            switch.process.communicate()  # closes its input, which ends it


class Switch:
    """Connects hosts to a network, with the address 10.0.0.1."""

    def __init__(self, folder: str) -> None:
        """`folder` is empty; each host mounts its own folder there."""
        self.folder = folder
        self.hosts: list[Host] = []
        self.process = _start(["unshare", *_USER, "--net", "sh", "-c", _SWITCH + _LIVE])
        self._inside = ["nsenter", f"--target={self.process.pid}", "--net", *_SAME_USER, "--"]

    def add(self) -> "Host":
        """Return a new host with the next address, plugged in."""
        host = Host(self, 2 + len(self.hosts))
        self.hosts.append(host)
        return host

    def command(self, *arguments: object) -> list[str]:
        """Return the command line that runs a command in the network of the switch, with the files of this machine."""
        return [*self._inside, *map(str, arguments)]

    def ip(self, *arguments: str) -> None:
        """Change links or addresses of the switch."""
        subprocess.run(self.command("ip", *arguments), check=True)

    def listen(self) -> socket.socket:
        """Return a socket of this process that listens on the switch's address for connections from hosts."""
        here, there = socket.socketpair()
        script = "import socket, sys; server = socket.create_server(('10.0.0.1', 0), backlog=128);"
        script += "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'.'], [server.fileno()])"
        with here, there:
            command = self.command(sys.executable, "-S", "-c", script, there.fileno())
            subprocess.run(command, pass_fds=[there.fileno()], check=True)
            (number,) = socket.recv_fds(here, 1, 1)[1]
        return socket.socket(fileno=number)


class Host:
    """A machine on a switch, from the view of its processes."""

    def __init__(self, switch: Switch, number: int) -> None:
        """`number` is the last part of its address, from 2."""
        self.address, self.folder = f"10.0.0.{number}", Path(switch.folder)
        self._switch, self._port = switch, f"port{number}"
        self._process = _start(
            switch.command("unshare", "--net", *_NAMESPACES, "sh", "-c", _HOST + _LIVE, "boot", switch.folder, f"host{number}")
        )
        (self._first,) = tiny.children(self._process.pid, switch.folder)
        self._namespace = _namespace(self._first)
        self._inside = ["nsenter", f"--target={self._first}", "--net", "--mount", "--pid", "--ipc", "--uts", *_SAME_USER, "--"]
        switch.ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(self._first))
        switch.ip("link", "set", self._port, "master", "switch", "up")
        subprocess.run(self.command("ip", "address", "add", f"{self.address}/24", "dev", "eth0"), check=True)
        subprocess.run(self.command("ip", "link", "set", "eth0", "up"), check=True)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line that runs a command on this host."""
        return [*self._inside, *map(str, arguments)]

    def processes(self, mark: str) -> list[int]:
        """Return the ids, outside the host, of its processes whose command lines contain `mark`."""
        return [pid for pid in tiny.processes(mark) if _namespace(pid) == self._namespace]

    def unplug(self) -> None:
        """Unplug the host's network cable: packets to and from it are lost."""
        self._switch.ip("link", "set", self._port, "down")

    def plug(self) -> None:
        """Plug the cable in again."""
        self._switch.ip("link", "set", self._port, "up")

    def kill(self) -> None:
        """Kill all processes of the host together, as a loss of power does."""
        if self._process.poll() is None:
            tiny.kill(self._first)
        self._process.communicate()  # returns when all have ended


def _namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:  # the process has ended
        return None


def _start(command: list[str]) -> "subprocess.Popen[str]":
    """Start the process that keeps a namespace alive, and wait until the namespace is ready."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "up\n":
        raise OSError(f"{command}: {process.communicate()[1].strip()}")
    return process
