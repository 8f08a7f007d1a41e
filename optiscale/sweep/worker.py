"""What a Dask worker does with a cell."""

from __future__ import annotations

import functools
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optiscale.config import RESOLVED, parse_study
from optiscale.dataset import OpticalDataset, open_source
from optiscale.errors import UserError
from optiscale.sweep.durable import Signs, run_durably
from optiscale.sweep.executors import STOP_AT
from optiscale.sweep.own import import_all
from optiscale.sweep.processes import pin
from optiscale.sweep.stopping import stop_requested
from optiscale.training import Cell
from optiscale.training.options import RunStopped

#: signs of life of all runs
TOPIC = "optiscale"
_BEAT_S = 1.0
WALLTIME = "the end of the job's walltime"


class UnfitWorkerError(Exception):
    """A worker, named first, cannot run the study for a reason, named second; another one may."""


@dataclass(frozen=True)
class Task:
    """All that a worker needs to know of a run."""

    study: dict[str, Any]
    cell: Cell
    data_hash: str
    out: Path
    folder: Path
    git_commit: str
    workers: dict[str, int]  # by the address of their machine
    modules: tuple[str, ...] = ()  # of the user, which register parts of networks


def work(task: Task) -> tuple[str | None, str]:
    """Run one cell; return None when its record is written, or why the run stopped early; and the worker's address.

    Raises
    ------
    UnfitWorkerError
        If the data set, the results folder or a module of the user is not to be seen from here.
    OSError
        If a file cannot be read or written.
    """
    from distributed import get_worker

    worker = get_worker()
    last = [-math.inf]

    def say(step: int, val_loss: float | None) -> None:
        last[0] = time.monotonic()
        worker.log_event(TOPIC, {"cell": task.cell.id, "step": step, "val_loss": val_loss, "worker": worker.address})

    def beat(step: int) -> None:
        if time.monotonic() - last[0] >= _BEAT_S:
            say(step, None)

    say(0, None)
    last[0] = -math.inf  # the next sign tells the step that the training goes on from
    pin()
    try:
        import_all(task.modules)
    except ImportError as error:
        raise UnfitWorkerError(worker.address, f"{error}; the study's networks need it there") from error
    study = parse_study(task.study)
    if study.sweep.threads is None:
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        study = study.model_copy(update={"sweep": study.sweep.model_copy(update={"threads": threads})})
    if not (task.out / RESOLVED).exists():
        raise UnfitWorkerError(worker.address, f"{task.out} is not to be seen there; share the folder")
    dataset = _opened(study.data.source, task.data_hash, worker.address)
    try:
        run_durably(
            study,
            task.cell,
            dataset,
            task.folder,
            git_commit=task.git_commit,
            signs=Signs(_why_stop, beat, say),
            at_once=task.workers.get(worker.ip, 1),
        )
    except RunStopped as stopped:
        return str(stopped), worker.address
    return None, worker.address


def _why_stop() -> str | None:
    """Return the program's request, or that the job ends soon; measured from the start of the machine."""
    if (reason := stop_requested()) is not None:
        return reason
    end = os.environ.get(STOP_AT)
    return WALLTIME if end is not None and time.clock_gettime(time.CLOCK_BOOTTIME) >= float(end) else None


@functools.lru_cache(maxsize=1)
def _opened(source: str, data_hash: str, address: str) -> OpticalDataset:
    """Open the data set of the study, and no other."""
    try:
        dataset = open_source(source)
    except (UserError, OSError) as error:
        raise UnfitWorkerError(address, str(error)) from error
    if dataset.hash != data_hash:
        raise UnfitWorkerError(address, f"{source} is another data set there ({dataset.hash}, wanted {data_hash})")
    return dataset
