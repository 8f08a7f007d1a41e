"""Two machines in one: network namespaces that a cable joins, each with a name of its own, and one shared disk."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass
class Machine:
    """An address, what stands before a command to run it there, and what was started so."""

    name: str
    address: str
    first: tuple[str, ...] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: object, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as stream:
            words = [*self.first, *(str(word) for word in command)]
            process = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    def processes(self) -> list[psutil.Process]:
        """All that runs there, with the processes that they started."""
        tops = [psutil.Process(one.pid) for one in self.started if one.poll() is None]
        return [*tops, *(child for top in tops for child in top.children(recursive=True))]

    def kill(self) -> None:
        """Pull the plug: SIGKILL to everything at once."""
        for process in self.processes():
            process.kill()
        for one in self.started:
            one.wait()
        self.started = []


def namespaces_are_allowed() -> bool:
    """Whether we are root, have the programs, and may do it."""
    if os.getuid() or not all(shutil.which(program) for program in ("ip", "unshare")):
        return False
    name = f"optiscale{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    try:
        cable = ["ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "two"]
        return subprocess.run(cable, capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Give two namespaces, or two addresses of this machine where those are not allowed."""
    if not namespaces_are_allowed():
        name = platform.node()
        yield from _ended(Machine(name, "127.0.0.1"), Machine(name, "127.0.0.2"))
        return
    names = [f"optiscale{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("-n", names[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", names[1])
        machines = []
        for number, name in enumerate(names, start=1):
            address = f"10.213.7.{number}"
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
            own_name = ("unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh")
            machines.append(Machine(name, address, ("ip", "netns", "exec", name, *own_name)))
        yield from _ended(*machines)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ended(one: Machine, two: Machine) -> Iterator[tuple[Machine, Machine]]:
    try:
        yield one, two
    finally:
        for machine in (two, one):
            machine.kill()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
