"""Hosts on one machine, each in namespaces of its own: addresses, processes, files and shared memory; and plugs to pull.

A switch and the hosts on it have no names outside, and the kernel clears them away with their last process; each lives as long
as a pipe from the process that made it is open. So nothing is left, however that process ends, and whatever the machine's own
addresses are. Needs iproute2, util-linux and the right to make namespaces: root's, or that of users in a namespace of users.
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

#: Who is not root outside is root in a namespace of users.
_USER = () if os.geteuid() == 0 else ("--user", "--map-root-user")
_SAME_USER = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")

#: What a host has of its own beside its network; all its processes go with its first one.
_OWN = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc")

#: A shell reaps the daemons that have lost their parent, and here ends with its input.
_LIVE = "\necho up; cat; exit"

_SWITCH = """set -e
ip link add switch type bridge
ip address add 10.0.0.1/24 dev switch
ip link set switch up
"""

#: A host may read what the machine has and write nothing but its own folder.
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
    """This machine lets us make no namespaces."""


@contextmanager
def network() -> Iterator["Switch"]:
    """Make a switch to put hosts on; when the block ends, so do they.

    Raises:
        NotPermittedError: this machine lets us make no namespaces, or lacks the tools for it.
    """
    if not (shutil.which("ip") and shutil.which("unshare")):
        raise NotPermittedError("ip or unshare is absent: apt-get install iproute2 util-linux")
    trial = subprocess.run(["unshare", *_USER, "--net", *_OWN, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise NotPermittedError(f"this machine permits no namespaces: {trial.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="hosts-", dir="/tmp") as folder:  # a short path, as Ray wants it
        switch = Switch(folder)
        try:
            yield switch
        finally:
            for host in switch.hosts:
                host.kill()
            switch.process.communicate()  # which ends its input


class Switch:
    """Joins hosts to a network; its own address is 10.0.0.1."""

    def __init__(self, folder: str) -> None:
        """`folder` is an empty one, which each host has another in place of."""
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
        """Return the command line that runs a command where the switch is, with the files of this machine."""
        return [*self._inside, *map(str, arguments)]

    def ip(self, *arguments: str) -> None:
        """Change links or addresses of the switch."""
        subprocess.run(self.command("ip", *arguments), check=True)

    def listen(self) -> socket.socket:
        """Return a socket that listens on the switch's address, for this process to accept what hosts ask for."""
        here, there = socket.socketpair()
        script = "import socket, sys; own = socket.create_server(('10.0.0.1', 0), backlog=128);"
        script += "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'.'], [own.fileno()])"
        with here, there:
            command = self.command(sys.executable, "-S", "-c", script, there.fileno())
            subprocess.run(command, pass_fds=[there.fileno()], check=True)
            (number,) = socket.recv_fds(here, 1, 1)[1]
        return socket.socket(fileno=number)


class Host:
    """A machine on a switch, as far as its processes can tell."""

    def __init__(self, switch: Switch, number: int) -> None:
        """`number` is the last one of its address, from 2."""
        self.address, self.folder = f"10.0.0.{number}", Path(switch.folder)
        self._switch, self._port = switch, f"port{number}"
        self._process = _start(
            switch.command("unshare", "--net", *_OWN, "sh", "-c", _HOST + _LIVE, "boot", switch.folder, f"host{number}")
        )
        (self._first,) = tiny.children(self._process.pid, switch.folder)
        self._own = _namespace(self._first)
        self._inside = ["nsenter", f"--target={self._first}", "--net", "--mount", "--pid", "--ipc", "--uts", *_SAME_USER, "--"]
        switch.ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(self._first))
        switch.ip("link", "set", self._port, "master", "switch", "up")
        subprocess.run(self.command("ip", "address", "add", f"{self.address}/24", "dev", "eth0"), check=True)
        subprocess.run(self.command("ip", "link", "set", "eth0", "up"), check=True)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line that runs a command on this host."""
        return [*self._inside, *map(str, arguments)]

    def processes(self, mark: str) -> list[int]:
        """Return those of the host's processes, by their numbers outside, whose command lines bear a mark."""
        return [pid for pid in tiny.processes(mark) if _namespace(pid) == self._own]

    def unplug(self) -> None:
        """Pull the host's network cable: what it sends and what is sent to it is lost."""
        self._switch.ip("link", "set", self._port, "down")

    def plug(self) -> None:
        """Put the cable back in."""
        self._switch.ip("link", "set", self._port, "up")

    def kill(self) -> None:
        """End all the host's processes at once, as a loss of power does."""
        if self._process.poll() is None:
            tiny.kill(self._first)
        self._process.communicate()  # ends when all have ended


def _namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:  # it has ended meanwhile
        return None


def _start(command: list[str]) -> "subprocess.Popen[str]":
    """Start what keeps a namespace alive, and wait until that is made."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "up\n":
        raise OSError(f"{command}: {process.communicate()[1].strip()}")
    return process
