from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from optiscale.laws.engine import jacobian, minimise
from optiscale.laws.robust import COSTS, HUBER_AT, cost_root

T = np.linspace(0.0, 3.0, 20)
TRUE = np.array([1.5, 0.8, 0.3])
WIDE = (np.full(3, -np.inf), np.full(3, np.inf))


def problem(seed: int, *, outlier: float = 0.0):
    y = TRUE[0] * np.exp(-TRUE[1] * T) + TRUE[2] + np.random.default_rng(seed).normal(0.0, 0.02, len(T))
    y[4] += outlier

    def one(p):
        return (p[0] * np.exp(-p[1] * T) + p[2] - y) / 0.02

    def many(values, rows):
        return np.stack([one(p) for p in values]) if len(values) else np.zeros((0, len(T)))

    return one, many


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_minimum_that_scipy_finds_from_every_start(seed):
    one, many = problem(seed)
    expected = least_squares(one, [1.0, 1.0, 0.0])
    starts = np.random.default_rng(seed).uniform(0.2, 2.0, (6, 3))
    found = minimise(many, starts, *WIDE)
    assert found.converged.all()
    np.testing.assert_allclose(found.cost, 2 * expected.cost, rtol=1e-9)
    np.testing.assert_allclose(found.values, np.tile(expected.x, (6, 1)), atol=1e-5)


def test_bounds_hold_and_the_rest_is_still_the_minimum():
    one, many = problem(0)
    low, high = np.array([-np.inf, -np.inf, 0.5]), np.array([np.inf, 0.9, np.inf])
    expected = least_squares(one, [1.0, 0.5, 0.6], bounds=(low, high))
    found = minimise(many, np.array([[1.0, 0.5, 0.6], [2.0, 0.9, 0.5]]), low, high)
    assert (found.values[:, 2] == 0.5).all()
    np.testing.assert_allclose(found.cost, 2 * expected.cost, rtol=1e-6)


def test_a_held_parameter_stays_and_rows_may_hold_different_ones():
    one, many = problem(0)
    start = np.array([[1.0, 0.7, 0.2], [1.0, 0.7, 0.2]])
    held = np.array([[False, True, False], [False, False, True]])
    found = minimise(many, start, *WIDE, held=held)
    assert found.values[0, 1] == 0.7
    assert found.values[1, 2] == 0.2
    for row, free in ((0, [0, 2]), (1, [0, 1])):
        expected = least_squares(lambda q, row=row, free=free: one(_with(start[row], free, q)), start[row, free])
        assert found.cost[row] == pytest.approx(2 * expected.cost, rel=1e-7)


def _with(values, free, q):
    out = values.copy()
    out[free] = q
    return out


def test_huber_is_that_of_scipy():
    one, many = problem(1, outlier=0.5)
    expected = least_squares(one, [1.0, 1.0, 0.0], loss="huber", f_scale=HUBER_AT)
    found = minimise(lambda v, r: cost_root(many(v, r), "huber"), np.array([[1.0, 1.0, 0.0]]), *WIDE, iterations=300)
    assert found.cost[0] == pytest.approx(2 * expected.cost, rel=1e-5)
    np.testing.assert_allclose(found.values[0], expected.x, atol=1e-3)


@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_is_a_square_near_the_law_and_less_beyond(cost):
    residuals = np.random.default_rng(0).normal(0.0, 3.0, (4, 9))
    root = cost_root(residuals, cost)
    assert (np.sign(root) == np.sign(residuals)).all()
    assert (np.abs(root) <= np.abs(residuals)).all()
    np.testing.assert_allclose(cost_root(0.1 * np.sign(residuals), cost), 0.1 * np.sign(residuals))


def test_the_asymmetric_cost_forgives_what_lies_above_the_law():
    above, below = cost_root(np.array([[-3.0], [3.0]]), "asymmetric") ** 2  # model less observed
    assert above < below == 9.0


def test_a_start_that_is_not_finite_is_left_at_infinite_cost():
    _, many = problem(0)

    def broken(values, rows):
        return np.where(values[:, :1] < 0, np.nan, many(values, rows))

    found = minimise(broken, np.array([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), *WIDE)
    assert np.isinf(found.cost[0])
    assert found.converged[1]


def test_slopes_are_those_of_the_formula():
    _, many = problem(0)
    values = np.array([[1.2, 0.6, 0.1]])
    slopes = jacobian(many, values, np.array([0]))[0]
    decay = np.exp(-0.6 * T)
    expected = np.stack([decay, -1.2 * T * decay, np.ones_like(T)], axis=1) / 0.02
    np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-6)
