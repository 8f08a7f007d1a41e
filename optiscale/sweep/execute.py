"""Cells on workers: in this process, or on a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.sweep.budget import Deadline
from optiscale.sweep.durable import Signs, run_durably
from optiscale.sweep.executors import INLINE, Executor, open_client
from optiscale.sweep.jobs import Job, Lost, SweepStopped
from optiscale.sweep.progress import SweepProgress
from optiscale.sweep.stopping import stop_requested
from optiscale.training.options import RunStopped


def execute(
    study: Study,
    jobs: Sequence[Job],
    dataset: OpticalDataset,
    out: Path,
    git_commit: str,
    progress: SweepProgress,
    executor: Executor,
    deadline: Deadline | None = None,
) -> Iterator[tuple[Job, Lost | None]]:
    """Run jobs and yield each when it has ended; the record is on disk then, unless the run was lost.

    One that would not end before the deadline is left out.

    Raises
    ------
    SweepStopped
        If the program was asked to stop.
    """
    if executor.where == INLINE:
        yield from _inline(study, jobs, dataset, git_commit, progress, deadline)
        return
    from optiscale.sweep.dispatch import Dispatch

    with open_client(executor) as client:
        if executor.dashboard:
            progress.say(f"Dask's dashboard: {client.dashboard_link}")
        yield from Dispatch(client, study, jobs, dataset, out, git_commit, progress, deadline)


def _inline(
    study: Study,
    jobs: Sequence[Job],
    dataset: OpticalDataset,
    git_commit: str,
    progress: SweepProgress,
    deadline: Deadline | None,
) -> Iterator[tuple[Job, Lost | None]]:
    for job in jobs:
        if (reason := stop_requested()) is not None:
            raise SweepStopped(reason)
        if deadline is not None and not deadline.allows(job):
            continue
        began = time.monotonic()
        signs = _signs(job.cell.id, progress)
        try:
            run_durably(study, job.cell, dataset, job.folder, git_commit=git_commit, signs=signs)
        except RunStopped as stopped:
            raise SweepStopped(str(stopped)) from stopped
        except OSError as error:
            yield job, ("failed", f"{type(error).__name__}: {error}")
        else:
            if deadline is not None:
                deadline.ended(job, time.monotonic() - began)
            yield job, None


def _signs(cell: str, progress: SweepProgress) -> Signs:
    def beat(step: int) -> None:
        progress.started(cell, step, "inline")
        progress.tick()

    return Signs(stop_requested, beat, lambda step, loss: progress.step(cell, step, loss))
