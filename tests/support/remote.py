"""Plays the machines that Ray's cluster launcher talks to, and what leads to them: ssh, rsync, aws. Records all calls.

What the launcher sends is run as it would be, by a login shell, and by another one within the container, with every quote on
the way. Only the tools at the end of it (docker, pip, ray, ...) do no more than answer what the launcher asks. A machine is a
folder, by the name that one reaches it by, and its container has its home there.

Needs nothing but Python itself, to start at once: `python -IS remote.py FOLDER TOOL ARGUMENTS`.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

#: Where the launcher puts a container's files on its machine, which is below that machine's folder here.
MOUNTS = "/tmp/ray_tmp_mount"

#: The tools here, and on each machine.
HERE = ("ssh", "rsync", "aws")
THERE = ("docker", "rsync", "pip", "ray", "mkdir", "chown", "uptime", "nvidia-smi")


class Call(NamedTuple):
    """How a tool was called: where, with which arguments, and with which variables of Ray's."""

    host: str
    tool: str
    arguments: list[str]
    variables: dict[str, str]
    terminal: bool


def install(folder: Path) -> Path:
    """Make an empty folder the place of all machines; return the folder of tools that are to come first on PATH."""
    for place, tools in (("here", HERE), ("there", THERE)):
        (folder / place).mkdir()
        for tool in tools:
            script = f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {folder} {tool} "$@"\n'
            (folder / place / tool).write_text(script)
            (folder / place / tool).chmod(0o755)
    return folder / "here"


def calls(folder: Path) -> list[Call]:
    """Return all calls so far, in their order."""
    return [Call(*json.loads(line)) for line in (folder / "calls").read_text().splitlines()]


def main(place: str, tool: str, *arguments: str) -> None:
    """Be a tool."""
    folder, here = Path(place), os.environ.get("REMOTE_HOST", "")
    variables = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    with (folder / "calls").open("a") as record:
        print(json.dumps(Call(here, tool, list(arguments), variables, sys.stdin.isatty())), file=record)
    if tool == "ssh":
        ssh(folder, *arguments)
    elif tool == "rsync":
        rsync(folder, folder / here, *map(str, arguments[-2:]))
    elif tool == "docker":
        docker(folder / here, *arguments)


def ssh(folder: Path, *arguments: str) -> None:
    """Run the proxy's command as OpenSSH does, and then the command on the machine; a tunnel ends at once."""
    at = next(i for i, word in enumerate(arguments) if "@" in word)
    host = arguments[at].partition("@")[2]
    for proxy in re.findall(r"^ProxyCommand=(.*)", "\n".join(arguments), re.MULTILINE):
        if os.spawnl(os.P_WAIT, "/bin/sh", "sh", "-c", proxy.replace("%h", host).replace("%p", "22")):
            sys.exit("ssh: the proxy has failed")
    if "-L" in arguments:
        return
    os.setsid()  # our terminal is not the machine's
    home = folder / host / "home"
    home.mkdir(parents=True, exist_ok=True)
    path = f"{folder}/there:/usr/bin:/bin"
    (home / ".bashrc").write_text(f"PATH={path}\n")  # a login shell begins with the system's
    os.execle("/bin/bash", "bash", "-c", " ".join(arguments[at + 1 :]), {"PATH": path, "HOME": str(home), "REMOTE_HOST": host})


def rsync(folder: Path, here: Path, source: str, target: str) -> None:
    """Copy a file; of a folder make one, to a machine or from a machine into its container."""
    host, _, path = target.rpartition(":")
    to = Path(path) if path.startswith(f"{here}/") else Path(f"{folder}/{host.partition('@')[2]}{path}")
    file = Path(f"{here}{source}") if source.startswith(MOUNTS) else Path(source)
    (to if file.is_dir() else to.parent).mkdir(parents=True, exist_ok=True)
    if file.is_file():
        shutil.copy(file, to)


def docker(machine: Path, command: str, *arguments: str) -> None:
    """Answer as a machine with a GPU, and be a container whose home is the machine's."""
    running = machine / "running"
    if command == "exec":
        words = [word for word in arguments if not word.startswith("-i")][1:]
        os.execvp(words[0], words)
    elif command == "run":
        for source, target in re.findall(r"^-v\n(.*):(.*)$", "\n".join(arguments), re.MULTILINE):
            Path(target).parent.mkdir(exist_ok=True)
            Path(target).symlink_to(f"{machine}{source}")
        running.touch()
    elif command == "stop":
        running.unlink()
    elif "{{.State.Running}}" in arguments and running.exists():
        print("true")
    elif "{{json .Config.Env}}" in arguments:
        print(json.dumps([f"HOME={machine}/home"]))
    elif command == "info":
        print("map[nvidia:{nvidia-container-runtime []} runc:{runc []}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
