"""Where the runs go: workers on this machine, a running Dask scheduler, or jobs of a batch system.

All of them are Dask clusters; what runs on them is the same (`optiscale.sweep.dispatch`).
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optiscale.config import Cluster, Study
from optiscale.errors import UserError
from optiscale.sweep.processes import SETTINGS, no_interrupts, pins, worker_context
from optiscale.sweep.sharing import shared_gpus

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

#: in this process, for debugging
INLINE = "inline"
LOCAL = "local"
BATCH = {"slurm": "SLURMCluster", "lsf": "LSFCluster", "pbs": "PBSCluster"}
#: seconds in which a scheduler of the user's must answer, also one that was lost
ANSWER_S = 10.0
#: environment of a worker: when to stop (seconds since the machine started)
STOP_AT = "OPTISCALE_STOP_AT"


@dataclass(frozen=True)
class Executor:
    """Where the runs of a study go.

    Attributes
    ----------
    where
        "inline", "local", "slurm", "lsf", "pbs", or the address of a Dask scheduler.
    workers
        Processes or jobs; those of a running scheduler are what they are.
    cluster
        What a job asks for; of a batch system only.
    dashboard
        Whether Dask shows its own page of the workers.
    """

    where: str = INLINE
    workers: int = 1
    cluster: Cluster | None = None
    dashboard: bool = False

    @property
    def at_once(self) -> int:
        """Runs side by side on this machine; on others it is not known beforehand, and one is assumed."""
        return self.workers if self.where == LOCAL else 1

    def __post_init__(self) -> None:
        """Check that the parts fit.

        Raises
        ------
        UserError
            If they do not.
        """
        if self.where not in (INLINE, LOCAL, *BATCH) and "://" not in self.where:
            names = ", ".join((INLINE, LOCAL, *BATCH))
            raise UserError(f"--executor {self.where}: give one of {names}, or tcp://host:port of a Dask scheduler")
        if self.where in BATCH and self.cluster is None:
            raise UserError(f"--executor {self.where}: say what a job asks for with --cluster FILE (docs/sweeps.md)")
        if self.where not in BATCH and self.cluster is not None:
            raise UserError(f"--cluster: of use with --executor {', '.join(BATCH)} only; leave it out")
        if self.dashboard and self.where == INLINE:
            raise UserError(f"--dashboard: Dask's, and --executor {INLINE} has no Dask; give --executor {LOCAL}")
        if self.dashboard and "://" not in self.where and importlib.util.find_spec("bokeh") is None:
            raise UserError("--dashboard: bokeh is not installed; pip install 'optiscale[dashboard]', or leave it out")
        if self.where == INLINE and self.workers > 1:
            raise UserError(f"--executor {INLINE}: runs one cell at a time; give --workers 1, or --executor {LOCAL}")


def default_executor(study: Study) -> Executor:
    """Return this process for one worker, and local ones for more."""
    return Executor(INLINE if study.sweep.workers == 1 else LOCAL, study.sweep.workers)


@contextmanager
def open_client(executor: Executor) -> Iterator[Client]:
    """Start or find the workers and give a client of them.

    Raises
    ------
    UserError
        If there is no such scheduler or batch system, or the workers do not start.
    """
    import dask
    from distributed import Client

    with dask.config.set(SETTINGS):
        if "://" in executor.where:
            with _connected(executor.where) as client:
                yield client
            return
        with (
            shared_gpus(executor.at_once) as environment,
            _started(executor, environment) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--executor {address}: no Dask scheduler answers there; start one with `dask scheduler`"
        ) from error
    with client:
        yield client


def _started(executor: Executor, environment: dict[str, str]) -> SpecCluster:
    try:
        with no_interrupts():
            if executor.where == LOCAL:
                return _local_cluster(executor.workers, environment, dashboard=executor.dashboard)
            return _batch_cluster(executor)
    except RuntimeError as error:
        raise UserError(
            f"--executor {executor.where}: the workers did not start ({' '.join(str(error).split())}); in a script, "
            "put the call under `if __name__ == '__main__':`, or take --executor inline"
        ) from error


def _local_cluster(workers: int, environment: dict[str, str], *, dashboard: bool) -> SpecCluster:
    from distributed import Nanny, Scheduler, SpecCluster

    worker_context()
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, "host": "127.0.0.1"}
    return SpecCluster(
        scheduler={
            "cls": Scheduler,
            "options": {
                "host": "127.0.0.1",
                "port": 0,
                "dashboard": dashboard,
                "dashboard_address": "127.0.0.1:0",
            },
        },
        workers={
            place: {"cls": Nanny, "options": {**options, "env": {**environment, **pins(place, workers)}}}
            for place in range(workers)
        },
        silence_logs=logging.CRITICAL,
    )


def _batch_cluster(executor: Executor) -> SpecCluster:
    import dask_jobqueue

    if executor.cluster is None:
        raise RuntimeError("an executor of a batch system has a cluster")
    kind = getattr(dask_jobqueue, BATCH[executor.where])
    if kind.job_cls.submit_command and shutil.which(kind.job_cls.submit_command.split()[0]) is None:
        raise UserError(
            f"--executor {executor.where}: {kind.job_cls.submit_command} is not on this machine; run on a login node"
        )
    options = job_options(executor.where, executor.cluster)
    cluster = kind(**options, scheduler_options={"dashboard": executor.dashboard})
    # jobs end at their walltime: as many as asked for are kept running
    cluster.adapt(minimum_jobs=executor.workers, maximum_jobs=executor.workers)
    return cluster


def job_options(system: str, cluster: Cluster) -> dict[str, Any]:
    """Return what dask-jobqueue is told of one job: one worker process that runs one run at a time."""
    directives = list(cluster.directives)
    more: dict[str, Any]
    if system == "slurm":
        directives += [f"--gres=gpu:{cluster.gpus}"] if cluster.gpus else []
        more = {"job_cpu": cluster.cores}
    elif system == "lsf":
        directives += [f'-gpu "num={cluster.gpus}"'] if cluster.gpus else []
        more = {"ncpus": cluster.cores}
    else:
        gpus = f":ngpus={cluster.gpus}" if cluster.gpus else ""
        memory = cluster.memory.replace(" ", "").replace("iB", "B").lower()
        more = {"resource_spec": f"select=1:ncpus={cluster.cores}:mem={memory}{gpus}"}
    stop_at, lifetime = [], []
    if cluster.stop_before_s:
        after = cluster.walltime_s - cluster.stop_before_s
        stop_at = [f"export {STOP_AT}=$(( $(cut -d. -f1 /proc/uptime) + {after} ))"]
        lifetime = ["--lifetime", f"{cluster.walltime_s - cluster.stop_before_s // 4}s"]  # if its run did not stop
    return {
        "cores": 1,  # threads of the worker
        "processes": 1,
        "memory": cluster.memory,
        "walltime": cluster.walltime if system != "lsf" else _whole_minutes(cluster.walltime_s),
        "queue": cluster.queue,
        "interface": cluster.interface,
        "log_directory": cluster.log_folder,
        "job_extra_directives": directives,
        "job_script_prologue": [
            *(f"module load {name}" for name in cluster.modules),
            *cluster.setup,
            *stop_at,
            f"export OMP_NUM_THREADS={cluster.cores}",
        ],
        "worker_extra_args": ["--memory-limit", "0", *lifetime],
        ("project" if system == "lsf" else "account"): cluster.account,
        **more,
    }


def _whole_minutes(seconds: int) -> str:
    """Return HH:MM, as LSF counts."""
    minutes = -(-seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
