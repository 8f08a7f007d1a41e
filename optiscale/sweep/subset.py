"""The best part of a study that fits into a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from optiscale.sweep.order import Line, Table, cross, levels, tables
from optiscale.sweep.schedule import Schedule
from optiscale.training import Cell

Group = tuple[str, int | None, int]


@dataclass(frozen=True)
class Subset:
    """What fits.

    Attributes
    ----------
    chosen
        Cells to run, the most telling first.
    left_out
        The others, in the order of the study.
    end
        Seconds until the last of the chosen ends.
    """

    chosen: tuple[Cell, ...]
    left_out: tuple[Cell, ...]
    end: float


def choose(
    cells: Sequence[Cell],
    seconds: Mapping[Cell, float],
    *,
    done: Collection[Cell],
    workers: int,
    budget_s: float,
) -> Subset:
    """Choose the cells to run in a time.

    In this order, as long as each fits:

    1. one seed of a line over all D and of a line over all widths of each model, at the largest middle that fits: the
       range of D and N is as wide as the study's. Where not even the narrowest and smallest do, their cheapest cells;
    2. one seed of the other lines, the one farthest from those taken first, each whole or not at all;
    3. the next seed of each of these lines, and so on;
    4. single cells, a first seed before a second, the cheapest first.

    A cell that takes longer than the whole time, or fails, belongs to no line.

    Parameters
    ----------
    cells
        All of the study.
    seconds
        What each takes that has no result; NaN for one that fails.
    done
        Cells with a result, which take no time.
    workers
        Runs side by side.
    budget_s
        The time.
    """
    taken = _Taken(seconds, done=done, workers=workers, budget_s=budget_s)
    seeds: dict[Group, list[Cell]] = {}
    for cell in cells:
        if taken.can(cell):
            seeds.setdefault(_group(cell), []).append(cell)
    found = tables(seed[0] for seed in seeds.values())
    lines = [line for table in found.values() for line in _first_lines(table, taken)]
    lines += [line for table in found.values() for line in _more_lines(table, taken)]
    most = max((len(group) for group in seeds.values()), default=0)
    for number in range(1, most):
        for line in lines:
            taken.take([seeds[_group(cell)][number] for cell in line if number < len(seeds[_group(cell)])])
    for number in range(most):
        single = [group[number] for group in seeds.values() if number < len(group) and group[number] not in taken.cells]
        for cell in sorted(single, key=taken.cost):
            taken.take([cell])
    left_out = tuple(cell for cell in cells if cell not in taken.cells)
    return Subset(tuple(taken.order), left_out, taken.end)


class _Taken:
    """What was chosen so far, and whether more fits."""

    def __init__(self, seconds: Mapping[Cell, float], *, done: Collection[Cell], workers: int, budget_s: float) -> None:
        self.seconds = seconds
        self.budget_s = budget_s
        self.cells = set(done)
        self.order: list[Cell] = []
        self._schedule = Schedule(workers)

    @property
    def end(self) -> float:
        """Seconds until the last run ends."""
        return self._schedule.end

    def cost(self, cell: Cell) -> float:
        """Return the seconds of a cell; none if it is done."""
        return 0.0 if cell in self.cells else self.seconds[cell]

    def can(self, cell: Cell) -> bool:
        """Whether a cell fits alone."""
        return self.cost(cell) <= self.budget_s

    def take(self, cells: Sequence[Cell]) -> bool:
        """Add the cells, the longest first, if all of them fit."""
        new = sorted(
            {cell for cell in cells if cell not in self.cells}, key=lambda cell: (-self.seconds[cell], cell.id)
        )
        if self._schedule.ends(self.seconds[cell] for cell in new) > self.budget_s:
            return False
        self._schedule.add(self.seconds[cell] for cell in new)
        self.order += new
        self.cells.update(new)
        return True


def _group(cell: Cell) -> Group:
    return cell.model, cell.width, cell.D


def _first_lines(table: Table, taken: _Taken) -> list[Line]:
    """Take two lines over the whole range, or as much as fits of the two cheapest; return them."""
    widths, sizes = levels(table)
    middle_width, middle_size = (len(widths) - 1) // 2, (len(sizes) - 1) // 2
    for place in range(max(middle_width, middle_size), -1, -1):
        row, column = cross(table, widths[min(place, middle_width)], sizes[min(place, middle_size)])
        if taken.take([*row, *column]):
            return [row, column]
    row, column = cross(table, widths[0], sizes[0])
    for cell in sorted({*row, *column}, key=taken.cost):
        taken.take([cell])
    return [tuple(cell for cell in line if cell in taken.cells) for line in (row, column)]


def _more_lines(table: Table, taken: _Taken) -> Iterator[Line]:
    """Take further lines, the one farthest from those of its kind that are whole first; yield all whole ones."""
    widths, sizes = levels(table)
    rows = [tuple(cell for (width, _), cell in table.items() if width == one) for one in widths]
    columns = [tuple(cell for (_, D), cell in table.items() if one == D) for one in sizes]
    left = [
        _Placed(lines is rows, place / len(lines), line)
        for lines in (rows, columns)
        for place, line in enumerate(lines)
    ]
    whole = [each for each in left if taken.cells.issuperset(each.cells)]
    yield from (each.cells for each in whole)
    left = [each for each in left if each not in whole and len(each.cells) > 1]
    while left:
        farthest = max(left, key=lambda each: each.distance(whole))
        left.remove(farthest)
        if taken.take(farthest.cells):
            whole.append(farthest)
            yield farthest.cells


class _Placed(NamedTuple):
    """A line, whether it lies along D, and where it stands among its like, from 0 to 1."""

    over_sizes: bool
    place: float
    cells: Line

    def distance(self, others: Sequence[_Placed]) -> float:
        """Return how far it is from the nearest of its kind."""
        return min(
            (abs(self.place - other.place) for other in others if other.over_sizes == self.over_sizes), default=1.0
        )
