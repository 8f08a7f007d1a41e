"""Run every cell of a study that has no result yet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from optiscale.config import RESOLVED, Study, save_study
from optiscale.datamodule import batches_an_epoch
from optiscale.dataset import OpticalDataset, open_source
from optiscale.errors import UserError
from optiscale.io import write_json
from optiscale.sweep.budget import Deadline
from optiscale.sweep.changes import branch, check_unchanged
from optiscale.sweep.durable import attempts_of
from optiscale.sweep.execute import execute
from optiscale.sweep.executors import INLINE, Executor, default_executor
from optiscale.sweep.live import LIVE
from optiscale.sweep.own import modules_of
from optiscale.sweep.plan import PlannedCell, check_data, plan
from optiscale.sweep.progress import SweepProgress
from optiscale.sweep.queue import Queue, costs_for, problems, queue_of, told
from optiscale.sweep.records import DONE, extra_records, merge, records_of, set_aside_damaged
from optiscale.training import Cell
from optiscale.training.record import RECORD, lost_record


@dataclass(frozen=True)
class GridResult:
    """What a grid left.

    Attributes
    ----------
    runs
        One row a run, as in `runs.parquet`.
    ran
        How many cells this call ran.
    out
        The folder of the results.
    left_out
        How many cells a budget left out.
    """

    runs: pd.DataFrame
    ran: int
    out: Path
    left_out: int = 0


def run_grid(
    study: Study,
    out: Path,
    *,
    executor: Executor | None = None,
    branch_name: str | None = None,
    budget_s: float | None = None,
    like: Sequence[Path] = (),
    only: Collection[Cell] | None = None,
) -> GridResult:
    """Run the cells of a study that have no result, and merge all records into Parquet.

    Parameters
    ----------
    study
        The study.
    out
        Folder of its results; made if needed.
    executor
        Where the runs go; without one, this process, or as many local ones as `sweep.workers` says.
    branch_name
        Use the folder of this name beside `out`, with those results of `out` that still hold.
    budget_s
        Seconds, from now, after which no run should be under way: the most telling runs that fit are run.
    like
        More results folders whose runs tell what runs take.
    only
        Cells to run, of those without a result, as far as the budget allows; all if not given.

    Returns
    -------
    GridResult
        The merged runs.

    Raises
    ------
    UserError
        For anything that can be known to be wrong before training starts, and for records of another study.
    SweepStopped
        If the program was asked to stop; the same call goes on from there.
    """
    deadline = None if budget_s is None else Deadline(budget_s)
    executor = executor or default_executor(study)
    if study.sweep.loggers:
        from optiscale.training.loggers import check_loggers

        check_loggers(study, verify=True)
    dataset = open_source(study.data.source)
    planned = plan(study, dataset.manifest)
    cells = [one.cell for one in planned]
    check_data(study, dataset, cells)
    if executor.where != INLINE:
        modules_of(study)
    if branch_name is not None:
        out = branch(study, cells, out, branch_name, dataset.hash)
    with _locked(out):
        for line in set_aside_damaged(out):
            print(line, file=sys.stderr)
        records = records_of(cells, out)
        check_unchanged(study, records, out, dataset.hash)
        extras = extra_records(study, cells, out, dataset.hash)
        left = [one for one in planned if records.get(one.cell, {}).get("status") not in DONE]
        wanted = left if only is None else [one for one in left if one.cell in only]
        save_study(study, out / RESOLVED)
        ran = 0
        try:
            if wanted:
                done = {cell: record for cell, record in records.items() if record["status"] in DONE}
                choosing = deadline is not None and only is None
                costs = costs_for(study, wanted, dataset, done, like=like, exactly=choosing, at_once=executor.at_once)
                left_s = deadline.left if deadline is not None and choosing else None
                queue = queue_of(study, planned if only is None else wanted, costs, done, budget_s=left_s)
                for line in problems(costs):
                    print(line, file=sys.stderr)
                if budget_s is not None and choosing:
                    for line in told(queue, budget_s=budget_s):
                        print(line, file=sys.stderr)
                if queue.cells:
                    ran = _run(study, left, queue, dataset, out, executor, done=list(done.values()), deadline=deadline)
        finally:  # an interrupted sweep leaves its tables too
            runs = merge([*records_of(cells, out).values(), *extras], out)
    return GridResult(runs, ran, out, len(left) - ran)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the results folder: a second program on it would repeat every run."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{out}: another program is running this study; wait for it, or give another --out") from error
    finally:
        if made and not any(path.name != ".lock" for path in out.iterdir()):
            (out / ".lock").unlink(missing_ok=True)
            out.rmdir()


def _run(
    study: Study,
    left: Sequence[PlannedCell],
    queue: Queue,
    dataset: OpticalDataset,
    out: Path,
    executor: Executor,
    *,
    done: Sequence[dict[str, Any]],
    deadline: Deadline | None,
) -> int:
    """Run what is in the queue, as far as the deadline allows, and return how many runs ended."""
    commit, ran = git_commit(), 0
    jobs = queue.jobs(out)
    sizes = {planned.cell: planned.N for planned in left}
    for job in jobs:  # a run that failed before is tried again: its old record must not stand for the new run
        (job.folder / RECORD).unlink(missing_ok=True)
    with SweepProgress(jobs, before=done, steps=_steps(study, left), live=out / LIVE) as progress:
        for job, lost in execute(study, jobs, dataset, out, commit, progress, executor, deadline):
            if lost is not None and not (job.folder / RECORD).exists():
                status, message = lost
                record = lost_record(
                    study,
                    job.cell,
                    N=sizes[job.cell],
                    data_hash=dataset.hash,
                    git_commit=commit,
                    status=status,
                    message=message,
                )
                write_json(job.folder / RECORD, record | {"attempts": attempts_of(job.folder)})
            progress.finished(job)
            ran += 1
    return ran


def _steps(study: Study, cells: Sequence[PlannedCell]) -> dict[str, int]:
    """Return the training steps of each cell, for the bars."""
    steps = {}
    for planned in cells:
        model = study.models[planned.cell.model]
        batches = batches_an_epoch(planned.cell.D, model.training.batch_size)
        trained = model.training.length.steps or model.training.length.total * batches
        steps[planned.cell.id] = trained if model.baseline is None else 1  # a baseline is fitted in one go
    return steps


def git_commit() -> str:
    """Return the commit of the code, with "+" if the tree has changes, or "unknown" outside a checkout."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # else the checkout is of another project
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return result.stdout.strip()
