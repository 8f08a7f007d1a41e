"""Cells on workers: in this process, or side by side on a local Dask cluster."""

from __future__ import annotations

import functools
import itertools
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep.progress import SweepProgress
from optiscale.training import Cell, RunOptions, run_cell

if TYPE_CHECKING:
    from distributed import LocalCluster

_TOPIC = "optiscale"
_KEEP_MEMORY = str(2**30)
#: status and message of a run whose process ended before it could write its record
Lost = tuple[str, str]


@dataclass(frozen=True)
class Job:
    """A cell to run, where to, and its estimated seconds."""

    cell: Cell
    folder: Path
    seconds: float


def execute(
    study: Study, jobs: Sequence[Job], dataset: OpticalDataset, git_commit: str, progress: SweepProgress
) -> Iterator[tuple[Job, Lost | None]]:
    """Run jobs and yield each when it has ended; the record is on disk then, unless the run was lost.

    One worker runs in this process; several are processes of a `dask.distributed.LocalCluster`, one cell at a time
    each. A worker that is killed costs its cell only.
    """
    if study.sweep.workers == 1:
        for job in jobs:
            progress.started(job.cell.id)
            report = functools.partial(progress.step, job.cell.id)
            run_cell(study, job.cell, dataset, job.folder, RunOptions(git_commit, study.sweep.threads, report))
            yield job, None
    else:
        yield from _on_cluster(study, jobs, dataset, git_commit, progress)


def _on_cluster(
    study: Study, jobs: Sequence[Job], dataset: OpticalDataset, git_commit: str, progress: SweepProgress
) -> Iterator[tuple[Job, Lost | None]]:
    import dask
    from distributed import Client, Future, as_completed

    settings = {
        "distributed.scheduler.allowed-failures": 0,  # a killed worker is a lost run, not one to try forever
        "distributed.admin.tick.limit": "1h",  # torch holds the interpreter for longer than Dask likes
        # Dask makes malloc give memory back at once, torch asks for it again in the next step: a third of the time
        # would go into page faults
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEEP_MEMORY,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEEP_MEMORY,
    }
    with dask.config.set(settings), _cluster(min(study.sweep.workers, len(jobs))) as cluster, Client(cluster) as client:
        client.subscribe_topic(_TOPIC, _show(progress))
        content = study.model_dump(mode="json")
        waiting = iter(jobs)
        running: dict[str, Job] = {}

        def submit(job: Job) -> Future:
            running[job.cell.id] = job
            return client.submit(
                _work, content, job.cell, str(dataset.folder), job.folder, git_commit, key=job.cell.id, pure=False
            )

        # one job a worker at a time: the scheduler would hand jobs out early, and the order is ours
        ended = as_completed([submit(job) for job in itertools.islice(waiting, study.sweep.workers)])
        for future in ended:
            error = future.exception()
            yield running.pop(future.key), None if error is None else ("failed", _reason(error))
            for job in itertools.islice(waiting, 1):
                ended.add(submit(job))


def _cluster(workers: int) -> LocalCluster:
    from distributed import LocalCluster

    try:
        with _no_interrupts():
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
    except RuntimeError as error:
        raise UserError(
            f"sweep.workers: the worker processes did not start ({' '.join(str(error).split())}); in a script, put the "
            "call under `if __name__ == '__main__':`, or set sweep.workers to 1"
        ) from error


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: a terminal sends it to all of them, and only this one is to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread; a notebook or a server sets its own
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _work(content: dict[str, Any], cell: Cell, data_folder: str, folder: Path, git_commit: str) -> None:
    """Run one cell on a worker."""
    from distributed import get_worker

    worker = get_worker()

    def report(step: int, loss: float) -> None:
        worker.log_event(_TOPIC, {"cell": cell.id, "step": step, "val_loss": loss})

    worker.log_event(_TOPIC, {"cell": cell.id, "step": 0, "val_loss": None})
    study = parse_study(content)
    threads = study.sweep.threads or 1
    run_cell(study, cell, _opened(data_folder), folder, RunOptions(git_commit, threads, report))


@functools.lru_cache(maxsize=1)
def _opened(folder: str) -> OpticalDataset:
    return OpticalDataset(folder)


def _show(progress: SweepProgress) -> Callable[[tuple[float, dict[str, Any]]], None]:
    def handle(event: tuple[float, dict[str, Any]]) -> None:
        content = event[1]
        if content["val_loss"] is None:
            progress.started(content["cell"])
        else:
            progress.step(content["cell"], content["step"], content["val_loss"])

    return handle


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the worker process was killed (often for lack of memory)"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
