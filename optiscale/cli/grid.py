"""`optiscale grid`."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from optiscale.cli.finished import STAMP, is_complete, mark_complete
from optiscale.cli.page import PAGE
from optiscale.config import RESOLVED, Study, load_cluster, load_study
from optiscale.errors import UserError

if TYPE_CHECKING:
    from optiscale.sweep import Executor, GridResult
    from optiscale.sweep.forecast import PlanRow

Ran = TypeVar("Ran")
#: what a study leaves in its folder; --fresh removes this and nothing else
OURS = ("cells", "tables", "figures", "runs.parquet", "curves.parquet", "fits.json", PAGE, STAMP, RESOLVED)
#: files of a program that runs
PASSING = (".lock", "running.json")
_LOG_WIDTH = 140


@dataclass(frozen=True)
class Where:
    """Options that say where the runs go.

    Attributes
    ----------
    executor
        Of `optiscale.sweep.Executor.where`; None takes this process for one worker and local ones for more.
    workers
        How many; None takes the study's.
    cluster
        File that says what a job of a batch system asks for.
    dashboard
        Whether Dask shows its own page of the workers.
    """

    executor: str | None = None
    workers: int | None = None
    cluster: Path | None = None
    dashboard: bool = False


@dataclass(frozen=True)
class Choice:
    """Options that say which runs are to be run.

    Attributes
    ----------
    budget
        A length of time; None runs all.
    like
        More results folders whose runs tell what runs take.
    until
        An answer and how well it is to be known; None runs without one in mind.
    """

    budget: str | None = None
    like: Sequence[Path] = ()
    until: str | None = None

    def limits(self) -> dict[str, Any]:
        """Return them as `run_grid` and `forecast` take them."""
        from optiscale.sweep.budget import seconds_of

        return {"budget_s": None if self.budget is None else seconds_of(self.budget), "like": self.like}


def run(
    path: Path,
    *,
    dry_run: bool,
    fresh: bool,
    yes: bool,
    overrides: Sequence[str],
    out: Path | None,
    where: Where | None = None,
    branch: str | None = None,
    choice: Choice | None = None,
) -> None:
    """Run or plan a study."""
    choice, where = choice or Choice(), where or Where()
    limits = choice.limits()
    overrides = [*overrides, *([f"sweep.workers={where.workers}"] if where.workers is not None else [])]
    study = load_study(path, overrides)
    folder = out or study.default_folder()
    if choice.until is not None and (dry_run or branch is not None):
        raise UserError("--until: what it runs follows from results; leave out --dry-run and --branch")
    if dry_run:
        _show_plan(study, folder, where, **limits)
        return
    if fresh:
        _remove(folder, yes=yes)
    if choice.until is not None:
        _search(study, folder, where, choice.until, **limits)
        return
    if branch is None and is_complete(study, folder):
        typer.echo(f"{folder}: every cell has its result, and the figures are drawn; nothing to do")
        return
    from optiscale.sweep import run_grid

    result = _run(
        study, folder, where, lambda executor: run_grid(study, folder, executor=executor, branch_name=branch, **limits)
    )
    _finish(study, result)


def _search(study: Study, folder: Path, where: Where, until: str, **limits: Any) -> None:
    """Run what tells most about an answer until it is known well enough; exit code 1 if it is not."""
    from optiscale.adaptive import read_goal, run_until

    goal = read_goal(until)
    result, findings = _run(
        study, folder, where, lambda executor: run_until(study, folder, goal, executor=executor, say=_say, **limits)
    )
    _finish(study, result, "--until")
    for finding in findings:
        typer.echo(finding.words(goal))
    if not all(finding.met for finding in findings):
        raise typer.Exit(1)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _run(study: Study, folder: Path, where: Where, job: Callable[[Executor], Ran]) -> Ran:
    """Do something with workers that a signal stops in time."""
    from optiscale.sweep import SweepStopped
    from optiscale.sweep.stopping import stop_on_signals

    try:
        with stop_on_signals():
            return job(_executor(study, where))
    except (KeyboardInterrupt, SweepStopped) as stopped:
        typer.echo(f"{folder}: interrupted; every finished run is kept, and the same command goes on from there")
        _requeue(str(stopped))
        raise typer.Exit(130) from None


def _executor(study: Study, where: Where) -> Executor:
    from optiscale.sweep import Executor

    workers = study.sweep.workers
    cluster = None if where.cluster is None else load_cluster(where.cluster)
    kind = where.executor or ("inline" if workers == 1 else "local")
    return Executor(kind, workers, cluster, dashboard=where.dashboard)


def _requeue(signal_name: str) -> None:
    """Put the SLURM job that this program is back into the queue, if SLURM said with SIGUSR1 that its time ends."""
    job = os.environ.get("SLURM_JOB_ID")
    if signal_name == "SIGUSR1" and job and shutil.which("scontrol"):
        typer.echo(f"job {job}: requeued")
        subprocess.run(["scontrol", "requeue", job], check=True)


def _finish(study: Study, result: GridResult, limit: str = "--budget") -> None:
    """Fit, draw, and say how the runs ended; `limit` is the option that may have left some out."""
    from optiscale.cli.report import report_study
    from optiscale.sweep.records import DONE

    folder = result.out
    made = report_study(folder)
    unfinished = result.runs[result.runs["status"] != "finished"]
    tried_again = unfinished[~unfinished["status"].isin(DONE)]
    if tried_again.empty and not result.left_out:
        mark_complete(study, folder, [*made, *sorted((folder / "cells").glob("*/record.json"))])
    for row in unfinished.itertuples():
        typer.echo(f"{row.cell}: {row.status}: {row.message}")
    counts = f"{len(result.runs)} runs ({result.ran} new, {len(unfinished)} not finished)"
    typer.echo(f"{folder}: {counts}, {len(made)} files")
    if result.left_out:
        typer.echo(f"{result.left_out} runs are left out; the same command without {limit} runs them")
    if len(tried_again):
        raise typer.Exit(1)


def _remove(folder: Path, *, yes: bool) -> None:
    if not folder.exists():
        return
    if not (folder / RESOLVED).exists():
        raise UserError(f"{folder}: no results folder ({RESOLVED} is missing), so --fresh leaves it alone; give --out")
    if not yes and not typer.confirm(f"Remove all results in {folder}?"):
        raise UserError(f"{folder}: kept; run without --fresh to go on from it")
    for path in (folder / name for name in (*OURS, *PASSING)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _show_plan(study: Study, folder: Path, where: Where, **limits: Any) -> None:
    from optiscale.sweep.forecast import forecast
    from optiscale.sweep.queue import clock

    with Console(stderr=True).status("measuring each network"):
        planned = forecast(study, folder, executor=_executor(study, where), **limits)
    console = Console()
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    console.print(_table(planned.rows))
    workers = study.sweep.workers
    parts = [
        f"{planned.cells} cells, {planned.chosen} to run",
        f"{clock(planned.total)} in all",
        f"{clock(planned.makespan)} on {workers} worker{'s' if workers > 1 else ''} (order: {study.sweep.order})",
        f"at most {_whole(planned.memory_mb)} MiB a run",
    ]
    for line in (", ".join(parts[: None if planned.chosen else 1]), *planned.notes):
        console.print(line, highlight=False, soft_wrap=True)


def _table(rows: Sequence[PlanRow]) -> Table:
    names = ("model", "width", "N", "D", "runs", "done", "to run", "seconds a run", "MiB", "known from")
    table = Table(*names, box=None)
    for row in rows:
        numbers = ("?" if math.isnan(row.seconds) else f"{row.seconds:.3g}", _whole(row.memory_mb))
        width = "" if row.width is None else str(row.width)
        counts = (width, f"{row.N:,}", f"{row.D:,}", str(row.runs), str(row.done), str(row.chosen))
        table.add_row(row.model, *counts, *numbers, row.source)
    return table


def _whole(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:,.0f}"
