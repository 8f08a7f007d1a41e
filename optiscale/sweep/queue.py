"""The runs of a study that are to be handed out now, in their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.sweep.cost import Cost
from optiscale.sweep.estimate import PLAN_S, RUN_S, costs_of, threads_of
from optiscale.sweep.history import History, records_in
from optiscale.sweep.jobs import Job
from optiscale.sweep.order import in_order
from optiscale.sweep.plan import PlannedCell
from optiscale.sweep.records import DONE, cell_folder
from optiscale.sweep.schedule import makespan
from optiscale.sweep.subset import choose
from optiscale.training import Cell

_SHOWN = 12


@dataclass(frozen=True)
class Queue:
    """Runs to hand out.

    Attributes
    ----------
    cells
        In their order.
    left_out
        Cells without a result that are not among them.
    costs
        Of both.
    end
        Estimated seconds until the last one ends.
    """

    cells: tuple[Cell, ...]
    left_out: tuple[Cell, ...]
    costs: Mapping[Cell, Cost]
    end: float

    def jobs(self, out: Path) -> list[Job]:
        """Return the jobs; one whose time nobody could tell counts for a second."""
        seconds = {cell: self.costs[cell].seconds for cell in self.cells}
        known = {cell: 1.0 if math.isnan(each) else each for cell, each in seconds.items()}
        return [Job(cell, cell_folder(out, cell), known[cell]) for cell in self.cells]


def costs_for(
    study: Study,
    planned: Sequence[PlannedCell],
    dataset: OpticalDataset,
    records: Mapping[Cell, Mapping[str, Any]],
    *,
    like: Sequence[Path] = (),
    exactly: bool = False,
    at_once: int = 1,
) -> dict[Cell, Cost]:
    """Return what cells take, from the records of the study and of other folders, else measured.

    Parameters
    ----------
    study, planned
        The cells in question.
    dataset
        The data set.
    records
        Of the study, also of cells that are not in question.
    like
        More results folders.
    exactly
        Whether somebody waits for the number, so that measuring it may take two minutes.
    at_once
        Runs side by side on a machine.
    """
    history = History(study, dataset.hash, threads=threads_of(study), at_once=at_once)
    history.add(study, records.values())
    for folder in like:
        history.add(*records_in(folder))
    limit_s = PLAN_S if exactly else RUN_S
    found = costs_of(study, planned, dataset, history=history, limit_s=limit_s, at_once=at_once)
    return {one.cell: cost for one, cost in zip(planned, found, strict=True)}


def queue_of(
    study: Study,
    planned: Sequence[PlannedCell],
    costs: Mapping[Cell, Cost],
    records: Mapping[Cell, Mapping[str, Any]],
    *,
    budget_s: float | None,
) -> Queue:
    """Return the runs without a result in the study's order, or those that fit into a time, the most telling first."""
    done = {cell for cell, record in records.items() if record["status"] in DONE}
    left = [one.cell for one in planned if one.cell not in done]
    seconds = {cell: costs[cell].seconds for cell in left}
    if budget_s is not None:
        every = [one.cell for one in planned]
        subset = choose(every, seconds, done=done, workers=study.sweep.workers, budget_s=budget_s)
        return Queue(subset.chosen, subset.left_out, costs, subset.end)
    order = [left[place] for place in in_order(study, left, [seconds[cell] for cell in left])]
    end = makespan((0.0 if math.isnan(seconds[cell]) else seconds[cell] for cell in order), study.sweep.workers)
    return Queue(tuple(order), (), costs, end)


def problems(costs: Mapping[Cell, Cost]) -> Iterator[str]:
    """Say what went wrong in the measurement, a line a network."""
    networks = {(cell.model, cell.width): cost for cell, cost in costs.items() if cost.problem}
    for (model, width), cost in networks.items():
        name = f"{model}{'' if width is None else f' width {width}'}"
        if math.isnan(cost.seconds):
            yield f"{name}: failed in the measurement, and so will its runs: {cost.problem}"
        else:
            yield f"{name}: whole batches failed in the measurement, its cost follows from small ones: {cost.problem}"


def told(queue: Queue, *, budget_s: float) -> Iterator[str]:
    """Say what a budget leaves out, a line a model and width."""
    if queue.cells:
        fit = f"{len(queue.cells)} runs fit into {clock(budget_s)}, the last ends after about {clock(queue.end)}"
        yield f"{fit}; {len(queue.left_out)} are left out" if queue.left_out else f"all {fit}"
    else:
        yield f"no run fits into {clock(budget_s)}"
    groups: dict[tuple[str, int | None], dict[int, int]] = {}
    for cell in queue.left_out:
        sizes = groups.setdefault((cell.model, cell.width), {})
        sizes[cell.D] = sizes.get(cell.D, 0) + 1
    for (model, width), sizes in list(groups.items())[:_SHOWN]:
        each = ", ".join(f"{D:,} ({number})" for D, number in sizes.items())
        yield f"left out: {model}{'' if width is None else f' width {width}'}, D (runs): {each}"
    if len(groups) > _SHOWN:
        yield f"left out: {len(groups) - _SHOWN} more widths and models"


def clock(seconds: float) -> str:
    """Write a length of time in its unit."""
    for unit, size, until in (("s", 1, 90), ("minutes", 60, 5400), ("hours", 3600, 2 * 86400)):
        if seconds < until:
            return f"{seconds / size:.{0 if unit == 's' else 1}f} {unit}"
    return f"{seconds / 86400:.1f} days"
