"""Imitates the machines of Ray's cluster launcher, and the tools that reach them: ssh, rsync, aws. Records all calls.

The launcher's commands run as on a real machine, through a login shell and another shell in the container, with all quoting.
Only the tools that they call (docker, pip, ray, ...) are imitated: they answer the launcher's questions. A machine is a folder
named by its address, which also contains the home of its container.

Needs only the standard library, to start quickly: `python -IS remote.py FOLDER TOOL ARGUMENTS`.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

#: Where the launcher puts a container's files on a machine; here below the machine's folder.
MOUNTS = "/tmp/ray_tmp_mount"

#: The tools on this machine, and those on each remote machine.
HERE = ("ssh", "rsync", "aws")
THERE = ("docker", "rsync", "pip", "python", "ray", "mkdir", "chown", "uptime", "nvidia-smi")


class Call(NamedTuple):
    """A call of a tool: its machine, arguments, Ray's environment variables, and whether it had a terminal."""

    host: str
    tool: str
    arguments: list[str]
    variables: dict[str, str]
    terminal: bool


def install(folder: Path) -> Path:
    """Prepare an empty folder for all machines; return the folder of tools that must come first on PATH."""
    for place, tools in (("here", HERE), ("there", THERE)):
        (folder / place).mkdir()
        for tool in tools:
            script = f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {folder} {tool} "$@"\n'
            (folder / place / tool).write_text(script)
            (folder / place / tool).chmod(0o755)
    return folder / "here"


def calls(folder: Path) -> list[Call]:
    """Return all calls so far, in order."""
    return [Call(*json.loads(line)) for line in (folder / "calls").read_text().splitlines()]


def main(place: str, tool: str, *arguments: str) -> None:
    """Imitate a tool."""
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
    """Run the proxy command as OpenSSH does, then the command on the machine; a tunnel ends immediately."""
    at = next(i for i, word in enumerate(arguments) if "@" in word)
    host = arguments[at].partition("@")[2]
    for proxy in re.findall(r"^ProxyCommand=(.*)", "\n".join(arguments), re.MULTILINE):
        if os.spawnl(os.P_WAIT, "/bin/sh", "sh", "-c", proxy.replace("%h", host).replace("%p", "22")):
            sys.exit("ssh: the proxy failed")
    if "-L" in arguments:
        return
    os.setsid()  # the machine does not have our terminal
    home = folder / host / "home"
    home.mkdir(parents=True, exist_ok=True)
    path = f"{folder}/there:/usr/bin:/bin"
    (home / ".bashrc").write_text(f"PATH={path}\n")  # a login shell resets PATH
    os.execle("/bin/bash", "bash", "-c", " ".join(arguments[at + 1 :]), {"PATH": path, "HOME": str(home), "REMOTE_HOST": host})


def rsync(folder: Path, here: Path, source: str, target: str) -> None:
    """Copy a file to a machine, or from a machine into its container; of a folder, make an empty one."""
    host, _, path = target.rpartition(":")
    to = Path(path) if path.startswith(f"{here}/") else Path(f"{folder}/{host.partition('@')[2]}{path}")
    file = Path(f"{here}{source}") if source.startswith(MOUNTS) else Path(source)
    (to if file.is_dir() else to.parent).mkdir(parents=True, exist_ok=True)
    if file.is_file():
        shutil.copy(file, to)


def docker(machine: Path, command: str, *arguments: str) -> None:
    """Answer as a machine with a GPU does, and imitate a container whose home is the machine's."""
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
