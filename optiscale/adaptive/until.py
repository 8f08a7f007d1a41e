"""A study that is run until an answer is known well enough."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from optiscale.adaptive.goal import Goal
from optiscale.adaptive.network import Candidate
from optiscale.adaptive.search import Finding, search
from optiscale.config import Study
from optiscale.dataset import open_source
from optiscale.sweep import Executor, GridResult, plan, run_grid
from optiscale.sweep.plan import check_data
from optiscale.sweep.queue import costs_for
from optiscale.sweep.records import records_of
from optiscale.training import Cell


def run_until(
    study: Study,
    out: Path,
    goal: Goal,
    *,
    executor: Executor,
    budget_s: float | None = None,
    like: Sequence[Path] = (),
    say: Callable[[str], None] = print,
) -> tuple[GridResult, list[Finding]]:
    """Run the cells of a study that tell most about an answer, until it is known well enough.

    The cells are ordinary ones in the study's folder: a later `run_grid` completes the grid, and a later call goes on
    from what there is.

    Parameters
    ----------
    study, out
        The study and the folder of its results.
    goal
        What is to be known, and how well.
    executor
        Where the runs go.
    budget_s
        Seconds that this call may take, by what runs are predicted to take; without it the grid is the limit.
    like
        More results folders whose runs tell what runs take.
    say
        Called with a line a round and network.

    Returns
    -------
    GridResult
        The runs.
    list of Finding
        What is known, one a model.

    Raises
    ------
    UserError
        As `run_grid`, or if no model of the study can give the answer.
    SweepStopped
        If the program was asked to stop.
    """
    end = math.inf if budget_s is None else time.monotonic() + budget_s
    candidates, cells = _candidates(study, out, executor, like, exactly=budget_s is not None)
    results: list[GridResult] = []

    def time_left() -> float:
        return max(0.0, end - time.monotonic())

    def run(wanted: Sequence[Candidate]) -> pd.DataFrame:
        chosen = [cells[one.cell] for one in wanted]
        limit = None if budget_s is None else time_left()
        results.append(run_grid(study, out, executor=executor, budget_s=limit, like=like, only=chosen))
        return results[-1].runs

    findings = search(goal, candidates, run, time_left=time_left, workers=executor.workers, say=say)
    ran = sum(result.ran for result in results)
    return dataclasses.replace(results[-1], ran=ran), findings


def _candidates(
    study: Study, out: Path, executor: Executor, like: Sequence[Path], *, exactly: bool
) -> tuple[list[Candidate], dict[str, Cell]]:
    """Return every run of the study with its estimated seconds, and the cells by name."""
    dataset = open_source(study.data.source)
    planned = plan(study, dataset.manifest)
    cells = [one.cell for one in planned]
    check_data(study, dataset, cells)
    records = records_of(cells, out)
    costs = costs_for(study, planned, dataset, records, like=like, exactly=exactly, at_once=executor.at_once)
    seconds = {cell: cost.seconds for cell, cost in costs.items() if cost.seconds > 0}  # NaN is not
    usual = median(seconds.values()) if seconds else 1.0  # of one that fails where it is measured: its run says why
    candidates = [
        Candidate(one.cell.id, one.cell.model, one.N, one.cell.D, seconds.get(one.cell, usual)) for one in planned
    ]
    return candidates, {cell.id: cell for cell in cells}
