from __future__ import annotations

import lmfit
import numpy as np
import pytest

from optiscale.laws import LAWS, FitOptions, Points, fit_law
from optiscale.laws.engine import cost_of, cost_root
from optiscale.laws.final import final_descent
from optiscale.laws.search import Data, refit

from .truths import TRUTH, sample


def data_of(name: str, points: Points) -> Data:
    return Data.of(LAWS[name], [(points.x, points.loss, points.std.mean() * points.loss)])


@pytest.mark.parametrize("name", ["broken", "broken_floor", "coupled_broken"])
def test_what_is_reported_is_lmfits_and_agrees_with_the_engine(name):
    points = sample(name, relative=5e-3)
    fit = fit_law(name, points)
    params = lmfit.Parameters()
    for parameter, truth in zip(LAWS[name].parameters, TRUTH[name], strict=True):
        params.add(parameter, value=truth)
    sigma = fit.noise.mean(points) / points.loss

    def residual(params):
        return np.log(LAWS[name].function(*points.x.values(), *params.valuesdict().values()) / points.loss) / sigma

    expected = lmfit.minimize(residual, params, scale_covar=False, xtol=1e-12, ftol=1e-12)
    stretch = np.sqrt(max(1.0, fit.redchi))
    for parameter in LAWS[name].parameters:
        one = expected.params[parameter]
        assert fit.params[parameter][0] == pytest.approx(one.value, abs=1e-3 * one.stderr)
        assert fit.params[parameter][1] == pytest.approx(one.stderr * stretch, rel=1e-3)
    first, second = LAWS[name].parameters[:2]
    assert fit.correlations[0, 1] == pytest.approx(expected.params[first].correl[second], abs=1e-3)
    engine = refit(data_of(name, points), fit.values()[None])
    np.testing.assert_allclose(engine.values[0], fit.values(), rtol=1e-5)


def test_the_last_descent_ends_at_the_minimum_from_nearby():
    data = data_of("broken", sample("broken"))
    best = final_descent(data, np.array(TRUTH["broken"]))
    near = final_descent(data, best.values * 1.05)
    np.testing.assert_allclose(near.values, best.values, rtol=1e-6)
    assert near.success


def test_what_ends_at_its_bound_is_held_there_without_an_error():
    data = data_of("floor", sample("broken"))  # a curve that steepens has no floor
    found = final_descent(data, np.array([4.5, 0.3, 0.01]))
    assert found.held.tolist() == [False, False, True]
    assert found.values[2] == 0.0
    assert found.covariance[2, 2] == 0.0 < found.covariance[0, 0]


def test_slopes_that_do_not_fix_the_parameters_have_no_covariance():
    x = np.logspace(3, 5, 8)
    flat = Points({"x": x}, np.ones(8), 1e-2 * np.ones(8), np.full(8, 3))
    assert final_descent(data_of("power", flat), np.array([3.0, 0.0])).covariance is None


@pytest.mark.parametrize("cost", ["squares", "huber", "asymmetric"])
def test_the_root_of_the_cost_squares_to_it(cost):
    residuals = np.random.default_rng(0).normal(0.0, 3.0, (4, 9))
    np.testing.assert_allclose((cost_root(residuals, cost) ** 2).sum(axis=1), cost_of(residuals, cost))
    assert (np.sign(cost_root(residuals, cost)) == np.sign(residuals)).all()
    assert fit_law("power", sample("power"), options=FitOptions(cost=cost)).success
