from __future__ import annotations

import itertools
import math
import random

import pytest
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.sweep import cells_of
from optiscale.sweep.order import in_order, skeleton
from optiscale.sweep.schedule import Schedule, makespan
from optiscale.training import Cell, cell_hash

WIDTHS, SIZES, SEEDS = [8, 16, 32], [4, 8, 16, 32], [1, 42]


def study_of(order: str = "balanced", grid: list[dict[str, object]] | None = None) -> Study:
    block = {"model": "2B", "widths": WIDTHS, "data_sizes": SIZES, "seeds": SEEDS}
    return parse_study(study_content("x", grid=grid or [block], sweep={"order": order}))


def seconds_of(cell: Cell) -> float:
    return float((cell.width or 0) * cell.D)


def ordered(study: Study) -> list[Cell]:
    cells = list(cells_of(study))
    return [cells[place] for place in in_order(study, cells, [seconds_of(cell) for cell in cells])]


def test_the_default_gives_every_size_and_width_a_value_before_anything_else() -> None:
    cells = ordered(study_of())
    early = cells[: len(SIZES) + len(WIDTHS) - 1]
    assert {cell.D for cell in early} == set(SIZES)
    assert {cell.width for cell in early} == set(WIDTHS)
    assert {cell.seed for cell in early} == {1}
    lines = (
        [{cell.width for cell in early if cell.D == D} for D in SIZES],
        [{cell.D for cell in early if cell.width == width} for width in WIDTHS],
    )
    assert max(map(len, lines[0])) == len(WIDTHS), "a whole line over N at one D"
    assert max(map(len, lines[1])) == len(SIZES), "a whole line over D at one N"
    for part in (early, cells[len(early) :]):
        assert [seconds_of(cell) for cell in part] == sorted(map(seconds_of, part), reverse=True), "the longest first"


@pytest.mark.parametrize(("order", "sign"), [("longest", -1), ("shortest", 1)])
def test_the_longest_or_the_shortest_come_first(order: str, sign: int) -> None:
    seconds = [sign * seconds_of(cell) for cell in ordered(study_of(order))]
    assert seconds == sorted(seconds)


def test_the_order_of_the_study_can_be_kept_and_nothing_gets_lost() -> None:
    assert ordered(study_of("grid")) == list(cells_of(study_of("grid")))
    for order in ("balanced", "longest", "shortest"):
        assert sorted(ordered(study_of(order))) == sorted(cells_of(study_of()))


def test_what_cannot_be_told_comes_first() -> None:
    study = study_of("shortest")
    cells = list(cells_of(study))
    seconds = [math.nan if place == 7 else 1.0 for place in range(len(cells))]
    assert in_order(study, cells, seconds)[0] == 7


def test_the_order_is_no_part_of_a_result() -> None:
    cell = next(cells_of(study_of()))
    assert cell_hash(study_of("grid"), cell) == cell_hash(study_of("longest"), cell)


def test_a_grid_with_holes_and_two_models_still_has_a_value_everywhere() -> None:
    grid = [
        {"model": "2B", "widths": [8], "data_sizes": [4, 8], "seeds": [1]},
        {"model": "2B", "widths": [16, 32], "data_sizes": [8, 16, 64], "seeds": [1]},
    ]
    cells = list(cells_of(study_of(grid=grid)))
    early = skeleton(cells)
    assert {cell.D for cell in early} == {4, 8, 16, 64}
    assert {cell.width for cell in early} == {8, 16, 32}
    assert len(early) < len(cells)


def brute_makespan(seconds: list[float], workers: int) -> float:
    """Simulate second by second."""
    waiting, busy, now = list(seconds), [0.0] * workers, 0.0
    while waiting or any(busy):
        for place in range(workers):
            if busy[place] <= 0 and waiting:
                busy[place] = waiting.pop(0)
        busy = [max(0.0, left - 1) for left in busy]
        now += 1
    return now


def test_the_makespan_is_that_of_a_simulation() -> None:
    generator = random.Random(0)
    for workers in (1, 2, 3, 7):
        seconds = [float(generator.randint(1, 30)) for _ in range(25)]
        assert makespan(seconds, workers) == brute_makespan(seconds, workers)
    assert makespan([3.0, 1.0, 2.0], 1) == 6.0
    assert makespan([], 4) == 0.0


def test_longest_first_ends_within_a_third_of_the_best() -> None:
    """Graham, SIAM J. Appl. Math. 17, 416 (1969): at most 4/3 - 1/(3 W) of the optimum."""
    generator = random.Random(1)
    for _ in range(20):
        seconds = sorted((float(generator.randint(1, 20)) for _ in range(7)), reverse=True)
        best = min(
            max(sum(s for s, on in zip(seconds, choice, strict=True) if on == worker) for worker in range(2))
            for choice in itertools.product(range(2), repeat=7)
        )
        assert best <= makespan(seconds, 2) <= best * (4 / 3 - 1 / 6) + 1e-9


def test_asking_when_more_would_end_changes_nothing() -> None:
    schedule = Schedule(2)
    schedule.add([5.0, 1.0])
    assert schedule.ends([3.0]) == 4.0
    assert schedule.ends([3.0]) == 4.0
    assert schedule.end == 5.0
