from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from advice.tables import FLOOR, LINE_D, MAP, MAP_D, MAP_N, averages, mapped, runs
from optiscale.advice import cost_of, counted_cost, frontier, grids_of, measured_cost
from optiscale.errors import UserError
from optiscale.figures.advice import draw_frontier

BUDGETS = [1e12, 1e13]
SEEDS = 6


def wall(n: float, d: float) -> float:
    """Seconds: a start, a step of 2 ms and 1 ns a parameter, a step a hundred materials, fifty epochs."""
    return 30.0 + 50 * d / 100 * (2e-3 + 1e-9 * n)


@pytest.fixture(scope="module")
def studies():
    return mapped([averages("chinchilla", MAP, D=MAP_D, N=MAP_N, seed=seed) for seed in range(SEEDS)])


def best(budget: float, epochs: float) -> tuple[float, float]:
    """Closed form of J. Hoffmann et al., arXiv:2203.15556, equation 4."""
    log_a, log_b, alpha, beta, _ = MAP
    product = budget / (6 * epochs)
    ratio = (alpha * 10**log_a / (beta * 10**log_b)) ** (1 / (alpha + beta))
    return ratio * product ** (beta / (alpha + beta)), product ** (alpha / (alpha + beta)) / ratio


def test_the_best_sizes_of_a_known_surface_lie_in_their_intervals(studies):
    cost = counted_cost(10)
    held, ratios = [], []
    for series in studies:
        found = frontier(series, cost, BUDGETS)
        for point, budget in zip(found.points, BUDGETS, strict=True):
            N, D = best(budget, 10)
            assert cost(point.N, point.D) == pytest.approx(budget, rel=1e-3)
            assert not point.edge
            held += [
                point.N_low <= N <= point.N_high,
                point.D_low <= D <= point.D_high,
                point.low <= truth(N, D) <= point.high,
            ]
            ratios.append(point.N / N)
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1.0, abs=0.1)
    assert np.mean(held) >= 0.8


def truth(N: float, D: float) -> float:
    log_a, log_b, alpha, beta, floor = MAP
    return floor + 10**log_a * N**-alpha + 10**log_b * D**-beta


def test_the_growth_of_the_best_sizes_is_that_of_the_exponents(studies):
    found = frontier(studies[0], counted_cost())
    for name, exponent in (("N", MAP[3]), ("D", MAP[2])):
        low, _, high = found.growth[name]
        assert low - 0.02 <= exponent / (MAP[2] + MAP[3]) <= high + 0.02
    frame = found.frame()
    assert (frame["unit"] == "6 N D E").all()
    assert len(frame) == len(found.points) > 5


def test_a_cost_is_found_from_the_wall_times():
    table = runs("chinchilla", MAP, D=MAP_D, N=MAP_N, wall=wall)
    cost = cost_of(table)
    assert cost.unit == "s"
    assert cost.error == pytest.approx(0.05, abs=0.02)
    for n, d in ((1e6, 3e4), (5e7, 3e5), (2e5, 2500)):
        assert float(cost(n, d)) == pytest.approx(wall(n, d), rel=0.1)
    assert float(cost.data_for(cost(1e6, 3e4), 1e6)) == pytest.approx(3e4)
    assert float(cost.data_for(1.0, 1e6)) == 0
    assert cost_of(table, epochs=3).source == "6 N D E with E = 3 epochs"
    assert cost_of(table.drop(columns="wall_s").assign(epochs=7)).per_pair == 42


def test_what_a_step_costs_moves_the_frontier(studies):
    """Where a step costs the same for every N, more parameters are free up to where they begin to count."""
    by_count = frontier(studies[0], counted_cost(), [1e12]).points[0]
    timed = measured_cost(runs("chinchilla", MAP, D=MAP_D, N=MAP_N, wall=wall))
    by_time = frontier(studies[0], timed, [float(timed(by_count.N, by_count.D))]).points[0]
    assert by_time.N > 1.5 * by_count.N


def test_data_that_cost_nothing_have_no_frontier_and_that_is_said(studies, tmp_path):
    """Runs of a fixed number of steps take as long for any D."""
    cost = measured_cost(runs("chinchilla", MAP, D=MAP_D, N=MAP_N, wall=lambda n, d: 10 + 1e-5 * n))
    found = frontier(studies[0], cost)
    assert all(point.edge and point.D_high is None for point in found.points)
    assert "it is no minimum" in found.points[0].warning
    assert all(path.stat().st_size > 1000 for path in draw_frontier(found, tmp_path, "none"))


def test_budgets_beyond_the_data_are_said_so_and_the_picture_is_drawn(studies, tmp_path):
    found = frontier(studies[0], counted_cost(), [1e11, 1e12, 1e16])
    assert "beyond the data" in found.points[-1].warning
    assert not found.points[1].warning
    png, pdf = draw_frontier(found, tmp_path, "frontier", asked=[1e12])
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert pdf.read_bytes()[:4] == b"%PDF"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: frontier(one, counted_cost(), [-1.0]), "budget -1: must be a positive number"),
        (lambda one: frontier(one, counted_cost(), [1.0]), "budget 1 .* buys no run"),
        (lambda one: counted_cost(0), "epochs 0: must be a positive number"),
        (lambda one: measured_cost(pd.DataFrame({"N": [1], "D": [1]})), "no column wall_s"),
        (lambda one: measured_cost(pd.DataFrame({"N": [1], "D": [1], "wall_s": [0]})), "must be positive"),
        (lambda one: measured_cost(pd.DataFrame({"N": [1], "D": [1], "wall_s": [2]})), "fewer than 3 cells"),
        (lambda one: grids_of(averages("floor", FLOOR, D=LINE_D[:5], N=[9])), "no network was run over a grid"),
    ],
)
def test_bad_input_is_one_line(studies, call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(studies[0])
    assert "\n" not in str(caught.value)
