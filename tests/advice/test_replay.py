"""The replay of `next` in small, and its picture from the published result."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from optiscale.figures.advice import draw_replay
from optiscale.io import read_json
from optiscale.laws import fit_law

ROOT = Path(__file__).parents[2]
MODEL = "OptiMetal3B-TC"


@pytest.fixture(scope="module")
def replay():
    spec = importlib.util.spec_from_file_location("advice_replay", ROOT / "benchmarks" / "advice_replay.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def grid(replay):
    return replay.grids()[MODEL]


def test_a_tenth_of_the_cost_tells_more_if_it_is_spent_as_advised(replay, grid):
    cost, have = replay.cost_share(grid, "N D"), replay.first_cells(grid)
    slopes = replay.information(grid, fit_law(replay.LAW, replay.points_of(grid)))
    taken = replay.advised(grid, cost, have, 0.1)
    assert taken[have].all()
    assert cost[taken].sum() <= 0.1
    rng = np.random.default_rng(3)
    cheap = replay.in_order(np.argsort(cost), cost, have, 0.1)
    random = [replay.in_order(rng.permutation(len(grid)), cost, have, 0.1) for _ in range(20)]
    ours = replay.error_ratio(slopes, taken)
    assert 1 < ours < 0.9 * replay.error_ratio(slopes, cheap)
    assert ours < np.quantile([replay.error_ratio(slopes, mask) for mask in random], 0.1)


def test_all_cells_give_the_answers_of_the_grid(replay, grid):
    fit = fit_law(replay.LAW, replay.points_of(grid))
    values, errors = replay.reference(fit)
    everything = np.ones(len(grid), dtype=bool)
    assert replay.distances(grid, [everything], values, errors) == pytest.approx(0, abs=1e-3)
    assert replay.error_ratio(replay.information(grid, fit), everything) == pytest.approx(1)


def test_an_answer_is_reached_when_it_stays_reached(replay):
    assert replay.reached(np.array([3.0, 1.0, 2.5, 1.0, 0.5]), 2.0, [1, 2, 3, 4, 5]) == 4
    assert replay.reached(np.array([1.0, 3.0]), 2.0, [1, 2]) is None


def test_the_picture_is_drawn_from_the_result(replay, tmp_path):
    png, pdf = draw_replay(read_json(replay.RESULT), tmp_path, "replay")
    assert png.stat().st_size > 50_000
    assert pdf.read_bytes()[:4] == b"%PDF"
