from __future__ import annotations

import math
import time
from collections.abc import Collection

import pytest

from optiscale.sweep.schedule import makespan
from optiscale.sweep.subset import Subset, choose
from optiscale.training import Cell

WIDTHS, SIZES, SEEDS = [8, 16, 32, 64], [10, 20, 40, 80, 160], [1, 42, 137]
CELLS = [Cell("2B", width, D, seed, 0) for width in WIDTHS for D in SIZES for seed in SEEDS]
COST = {cell: (cell.width or 0) * cell.D / 100 for cell in CELLS}
ALL = sum(COST.values())


def chosen_of(budget_s: float, *, workers: int = 1, done: Collection[Cell] = ()) -> Subset:
    return choose(CELLS, COST, done=done, workers=workers, budget_s=budget_s)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0])
def test_what_is_chosen_fits_and_nothing_gets_lost(share: float, workers: int) -> None:
    budget = share * ALL / workers
    subset = chosen_of(budget, workers=workers)
    assert sorted((*subset.chosen, *subset.left_out)) == sorted(CELLS)
    assert makespan([COST[cell] for cell in subset.chosen], workers) == subset.end <= budget
    cheapest = min((COST[cell] for cell in subset.left_out), default=math.inf)
    if workers == 1:
        assert subset.end + cheapest > budget, "nothing that is left out would still have fitted"


def test_the_whole_study_fits_into_its_time() -> None:
    assert chosen_of(ALL).left_out == ()


def test_one_seed_spans_the_whole_range_before_there_is_a_second() -> None:
    subset = chosen_of(0.2 * ALL)
    first = [cell for cell in subset.chosen if cell.seed == 1]
    assert {cell.D for cell in first} == set(SIZES)
    assert {cell.width for cell in first} == set(WIDTHS)
    assert any({cell.D for cell in first if cell.width == width} == set(SIZES) for width in WIDTHS)
    assert any({cell.width for cell in first if cell.D == D} == set(WIDTHS) for D in SIZES)


def test_lines_are_whole_before_seeds_are_added() -> None:
    budget = sum(cost for cell, cost in COST.items() if cell.seed == 1)
    subset = chosen_of(budget)
    assert {cell.seed for cell in subset.chosen} == {1}
    assert len(subset.chosen) == len(WIDTHS) * len(SIZES)


def test_a_short_time_takes_the_cheapest_and_leaves_the_dear_end_out() -> None:
    subset = chosen_of(10.0)
    assert subset.chosen
    left = {(cell.width, cell.D) for cell in subset.left_out if cell.seed == 1}
    assert max(COST[cell] for cell in subset.chosen) <= 10.0
    assert (64, 160) in left
    assert {cell.D for cell in subset.chosen} >= {10, 20}
    assert {cell.width for cell in subset.chosen} >= {8, 16}


def test_results_cost_nothing_and_are_not_chosen_again() -> None:
    first = chosen_of(0.2 * ALL)
    second = chosen_of(0.2 * ALL, done=set(first.chosen))
    assert not set(first.chosen) & set(second.chosen)
    assert second.end <= 0.2 * ALL
    rest = chosen_of(ALL, done={*first.chosen, *second.chosen})
    assert sorted((*first.chosen, *second.chosen, *rest.chosen)) == sorted(CELLS)


def test_a_network_that_fails_is_left_out_and_spoils_no_line() -> None:
    cost = COST | {cell: math.nan for cell in CELLS if cell.width == 64}
    subset = choose(CELLS, cost, done=(), workers=1, budget_s=ALL)
    assert {cell.width for cell in subset.chosen} == {8, 16, 32}
    assert {cell.width for cell in subset.left_out} == {64}


def test_ten_thousand_cells_are_chosen_from_in_a_moment() -> None:
    cells = [Cell("2B", width, D, seed, 0) for width in (1, 2, 4, 8, 16) for D in SIZES for seed in range(400)]
    began = time.process_time()
    subset = choose(cells, dict.fromkeys(cells, 1.0), done=(), workers=4, budget_s=1000.0)
    assert time.process_time() - began < 3.0
    assert len(subset.chosen) == 4000
