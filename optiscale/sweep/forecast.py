"""The plan of a study with its estimated time and memory, with or without its data set."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from optiscale.config import Study
from optiscale.dataset import OpticalDataset, open_source
from optiscale.dataset.source import EMBEDDED
from optiscale.sweep.changes import check_unchanged
from optiscale.sweep.cost import Cost
from optiscale.sweep.estimate import PLAN_S, costs_of, costs_without_data, threads_of
from optiscale.sweep.history import History, records_in
from optiscale.sweep.memory import memory_notes
from optiscale.sweep.order import in_order
from optiscale.sweep.plan import PlannedCell, check_data, plan
from optiscale.sweep.published import MANIFEST
from optiscale.sweep.records import DONE, records_of
from optiscale.sweep.schedule import makespan
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
    source
        Where the two come from, in words.
    """

    model: str
    width: int | None
    N: int
    D: int
    runs: int
    done: int
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
    cells, left
        Number of runs, and of those without a result.
    total
        Estimated seconds of the runs left on one worker.
    makespan
        Estimated seconds until the last of them ends on the study's workers, in its order.
    memory_mb
        Peak of the largest of them.
    notes
        What the user should know, one line each.
    """

    rows: tuple[PlanRow, ...]
    cells: int
    left: int
    total: float
    makespan: float
    memory_mb: float
    notes: tuple[str, ...]


def forecast(study: Study, out: Path, *, costs: Sequence[Path] = (), limit_s: float = PLAN_S) -> Forecast:
    """Plan a study and estimate its cost; trains nothing but a few steps of each network.

    Parameters
    ----------
    study
        The study.
    out
        Folder of its results, as far as there are any.
    costs
        More results folders whose runs tell what runs take.
    limit_s
        Seconds that measuring may take.

    Raises
    ------
    UserError
        If the study cannot run on its data set, or a folder of `costs` is no results folder.
    """
    dataset = _dataset(study)
    cells = plan(study, dataset.manifest if dataset is not None else MANIFEST)
    notes: list[str] = []
    done: set[Cell] = set()
    if dataset is not None:
        check_data(study, dataset, [one.cell for one in cells])
        records = records_of([one.cell for one in cells], out)
        check_unchanged(study, records, out, dataset.hash)
        done = {cell for cell, record in records.items() if record["status"] in DONE}
        history = History(study, dataset.hash, threads=threads_of(study))
        history.add(study, records.values())
        for folder in costs:
            history.add(*records_in(folder))
        known = costs_of(study, cells, dataset, history=history, limit_s=limit_s)
    else:
        known = costs_without_data(study, cells)
        notes.append(
            f"data.source: no data set at {study.data.source!r}; the plan assumes the published statistics "
            "(201,361 materials, 5.9 atoms, 185 edges, 644 angles a crystal)"
        )
    left = [(one, cost) for one, cost in zip(cells, known, strict=True) if one.cell not in done]
    order = in_order(study, [one.cell for one, _ in left], [cost.seconds for _, cost in left])
    seconds = [0.0 if math.isnan(left[place][1].seconds) else left[place][1].seconds for place in order]
    rows = _rows(cells, known, done)
    if any(math.isnan(row.seconds) for row in rows):
        notes.append("a network failed in the measurement (? in the table); its runs will fail too, and say why")
    return Forecast(
        rows=rows,
        cells=len(cells),
        left=len(left),
        total=sum(seconds),
        makespan=makespan(seconds, study.sweep.workers),
        memory_mb=max((cost.memory_mb for _, cost in left if not math.isnan(cost.memory_mb)), default=math.nan),
        notes=(*notes, *memory_notes(study, [(one.cell, cost.memory_mb) for one, cost in left])),
    )


def _rows(cells: Sequence[PlannedCell], costs: Sequence[Cost], done: Container[Cell]) -> tuple[PlanRow, ...]:
    groups: dict[tuple[str, int | None, int, int], list[int]] = {}
    for place, one in enumerate(cells):
        groups.setdefault((one.cell.model, one.cell.width, one.N, one.cell.D), []).append(place)
    return tuple(
        PlanRow(
            model,
            width,
            N,
            D,
            runs=len(places),
            done=sum(cells[place].cell in done for place in places),
            seconds=costs[places[0]].seconds,
            memory_mb=costs[places[0]].memory_mb,
            source=costs[places[0]].source,
        )
        for (model, width, N, D), places in groups.items()
    )


def _dataset(study: Study) -> OpticalDataset | None:
    """Open the data set, or return None if there is nothing at all at its place yet."""
    source = study.data.source
    return open_source(source) if source == EMBEDDED or Path(source).exists() else None
