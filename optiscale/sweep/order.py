"""Which run goes first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from optiscale.config import Study
from optiscale.sweep.plan import cells_of
from optiscale.training import Cell

#: the widths and data sizes of a model, and the first cell that the study names of each pair
Table = dict[tuple[int | None, int], Cell]
#: cells of a model, to which a one-dimensional law may be fitted: each D once, or each width once
Line = tuple[Cell, ...]
Level = TypeVar("Level", int | None, int)


def in_order(study: Study, cells: Sequence[Cell], seconds: Sequence[float]) -> list[int]:
    """Return the places of cells in the order in which to hand them out (`sweep.order`).

    Runs whose time nobody could tell come first: what is wrong with them shows early.

    Parameters
    ----------
    study
        The study.
    cells
        Those of its cells that are to run.
    seconds
        What each takes; NaN where that is not known.
    """
    unknown = [place for place, each in enumerate(seconds) if math.isnan(each)]
    known = [place for place, each in enumerate(seconds) if not math.isnan(each)]
    if study.sweep.order == "grid":
        return unknown + known
    if study.sweep.order == "shortest":
        return unknown + sorted(known, key=lambda place: seconds[place])
    early = skeleton(cells_of(study)) if study.sweep.order == "balanced" else set()
    return unknown + sorted(known, key=lambda place: (cells[place] not in early, -seconds[place]))


def skeleton(cells: Iterable[Cell]) -> set[Cell]:
    """Choose one seed of as few cells as give every D and every width of every model a value.

    They are a cross: all D at a middle width, all widths at a middle D, so that both one-dimensional laws have their
    points early. Where a grid has holes, the nearest cell stands in.
    """
    chosen = set()
    for table in tables(cells).values():
        widths, sizes = levels(table)
        width, D = middle(widths, (one for one, _ in table)), middle(sizes, (one for _, one in table))
        chosen |= {cell for line in cross(table, width, D) for cell in line}
    return chosen


def cross(table: Table, width: int | None, D: int) -> tuple[Line, Line]:
    """Return the line over all D at a width, and that over all widths at a D; the nearest cell fills a hole."""
    widths, sizes = levels(table)
    return (
        tuple(table[nearest(widths, width, [other for other, size in table if size == one]), one] for one in sizes),
        tuple(table[one, nearest(sizes, D, [size for other, size in table if other == one])] for one in widths),
    )


def tables(cells: Iterable[Cell]) -> dict[str, Table]:
    """Return for each model the first cell of each width and D."""
    found: dict[str, Table] = {}
    for cell in cells:
        found.setdefault(cell.model, {}).setdefault((cell.width, cell.D), cell)
    return found


def levels(table: Table) -> tuple[list[int | None], list[int]]:
    """Return the widths and the data sizes of a model, ascending."""
    return sorted({width for width, _ in table}, key=lambda width: width or 0), sorted({D for _, D in table})


def middle(values: Sequence[Level], marks: Iterable[Level]) -> Level:
    """Return the middle one, of two the smaller, among the levels that are marked most often."""
    counts = Counter(marks)
    fullest = [value for value in values if counts[value] == max(counts.values())]
    return fullest[(len(fullest) - 1) // 2]


def nearest(values: Sequence[Level], wanted: Level, among: Iterable[Level]) -> Level:
    """Return the one among some levels that is the fewest places from the wanted one."""
    return min(among, key=lambda value: abs(values.index(value) - values.index(wanted)))
