"""A Slurm of one node on loopback, from Debian's packages, for the length of a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")

CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=2
ReturnToService=2
KillWait=5
MinJobAge=600
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def can_start() -> bool:
    """Whether the packages are there (slurmctld, slurmd, slurm-client, munge) and we may start them."""
    return os.getuid() == 0 and all(shutil.which(program) for program in PROGRAMS)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd; gives the environment in which sbatch and the others find them."""
    folder.chmod(0o755)
    munge = folder / "munge"
    munge.mkdir()
    (munge / "key").write_bytes(os.urandom(1024))
    for path in (munge, munge / "key"):
        shutil.chown(path, "munge", "munge")
    (munge / "key").chmod(0o400)
    munge.chmod(0o755)
    (folder / "slurm.conf").write_text(
        CONFIG.format(
            folder=folder,
            host=socket.gethostname(),
            controller_port=free_port(),
            node_port=free_port(),
            cpus=min(2, os.cpu_count() or 1),
        )
    )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    files = [f"--{name}-file={munge}/{name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={munge}/socket", *files],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", socket.gethostname()],
    ]
    processes: list[subprocess.Popen[bytes]] = []
    log = (folder / "daemons.log").open("wb")
    try:
        for command in commands:
            user = {"user": "munge", "group": "munge"} if command[0] == "munged" else {}
            processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, **user))
            if command[0] == "munged":
                wait_until((munge / "socket").exists, "munged", 30)
        wait_until(lambda: "idle" in ask(env, "sinfo", "-h", "-o", "%T"), "an idle node", 60)
        yield env
    finally:
        subprocess.run(["scancel", "--user", "root"], env=env, check=False, capture_output=True)
        time.sleep(2)
        for process in reversed(processes):
            process.terminate()
            process.wait(30)
        log.close()


def ask(env: dict[str, str], *command: str) -> str:
    """Output of a Slurm command; empty while the controller does not answer."""
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.5)
