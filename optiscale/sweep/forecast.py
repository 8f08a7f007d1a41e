"""The plan of a study with its estimated time and memory, with or without its data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optiscale.config import Study
from optiscale.dataset import OpticalDataset, open_source
from optiscale.dataset.source import EMBEDDED
from optiscale.sweep.changes import check_unchanged
from optiscale.sweep.estimate import costs_without_data
from optiscale.sweep.executors import Executor, default_executor
from optiscale.sweep.memory import memory_notes
from optiscale.sweep.plan import PlannedCell, check_data, plan
from optiscale.sweep.published import MANIFEST
from optiscale.sweep.queue import Queue, costs_for, problems, queue_of, told
from optiscale.sweep.records import DONE, records_of
from optiscale.training import Cell


@dataclass(frozen=True)
class PlanRow:
    """Cells that differ in their seeds only.

    Attributes
    ----------
    model, width, N, D
        What they are.
    runs, done
        How many there are, and how many of them have their result.
    seconds, memory_mb
        What a run takes; NaN where that is not known.
    chosen
        How many of them would run now.
    source
        Where the two come from, in words.
    """

    model: str
    width: int | None
    N: int
    D: int
    runs: int
    done: int
    chosen: int
    seconds: float
    memory_mb: float
    source: str


@dataclass(frozen=True)
class Forecast:
    """The plan of a study.

    Attributes
    ----------
    rows
        One a model, width and D.
    cells, left, chosen
        Number of runs, of those without a result, and of those that would run now.
    total
        Estimated seconds of these on one worker.
    makespan
        Estimated seconds until the last of these ends on the study's workers, in its order.
    memory_mb
        Peak of the largest of them.
    notes
        What the user should know, one line each.
    """

    rows: tuple[PlanRow, ...]
    cells: int
    left: int
    chosen: int
    total: float
    makespan: float
    memory_mb: float
    notes: tuple[str, ...]


def forecast(
    study: Study,
    out: Path,
    *,
    like: Sequence[Path] = (),
    budget_s: float | None = None,
    executor: Executor | None = None,
) -> Forecast:
    """Plan a study and estimate its cost; trains nothing but a few steps of each network.

    Parameters
    ----------
    study
        The study.
    out
        Folder of its results, as far as there are any.
    like
        More results folders whose runs tell what runs take.
    budget_s
        Seconds that the runs may take; None takes all.
    executor
        Where the runs will go; without one, this process, or as many local ones as `sweep.workers` says.

    Raises
    ------
    UserError
        If the study cannot run on its data set, or a folder of `like` is no results folder.
    """
    at_once = (executor or default_executor(study)).at_once
    dataset = _dataset(study)
    planned = plan(study, dataset.manifest if dataset is not None else MANIFEST)
    cells = [one.cell for one in planned]
    notes: list[str] = []
    records: dict[Cell, dict[str, Any]] = {}
    if dataset is not None:
        check_data(study, dataset, cells)
        records = records_of(cells, out)
        check_unchanged(study, records, out, dataset.hash)
        costs = costs_for(study, planned, dataset, records, like=like, exactly=True, at_once=at_once)
    else:
        costs = dict(zip(cells, costs_without_data(study, planned, at_once=at_once), strict=True))
        notes.append(
            f"data.source: no data set at {study.data.source!r}; the plan assumes the published statistics "
            "(201,361 materials, 5.9 atoms, 185 edges, 644 angles a crystal)"
        )
    queue = queue_of(study, planned, costs, records, budget_s=budget_s)
    done = sum(record["status"] in DONE for record in records.values())
    chosen = [costs[cell] for cell in queue.cells]
    notes += problems(costs)
    if budget_s is not None:
        notes += told(queue, budget_s=budget_s)
    return Forecast(
        rows=_rows(planned, queue, records),
        cells=len(cells),
        left=len(cells) - done,
        chosen=len(chosen),
        total=sum(cost.seconds for cost in chosen if not math.isnan(cost.seconds)),
        makespan=queue.end,
        memory_mb=max((cost.memory_mb for cost in chosen if not math.isnan(cost.memory_mb)), default=math.nan),
        notes=(*notes, *memory_notes(study, [(cell, costs[cell].memory_mb) for cell in queue.cells])),
    )


def _rows(
    planned: Sequence[PlannedCell], queue: Queue, records: Mapping[Cell, Mapping[str, Any]]
) -> tuple[PlanRow, ...]:
    groups: dict[tuple[str, int | None, int, int], list[Cell]] = {}
    for one in planned:
        groups.setdefault((one.cell.model, one.cell.width, one.N, one.cell.D), []).append(one.cell)
    chosen = set(queue.cells)
    return tuple(
        PlanRow(
            *group,
            runs=len(cells),
            done=sum(cell in records and records[cell]["status"] in DONE for cell in cells),
            chosen=sum(cell in chosen for cell in cells),
            seconds=queue.costs[cells[0]].seconds,
            memory_mb=queue.costs[cells[0]].memory_mb,
            source=queue.costs[cells[0]].source,
        )
        for group, cells in groups.items()
    )


def _dataset(study: Study) -> OpticalDataset | None:
    """Open the data set, or return None if there is nothing at all at its place yet."""
    source = study.data.source
    return open_source(source) if source == EMBEDDED or Path(source).exists() else None
