from __future__ import annotations

import lmfit
import numpy as np
import pytest

from optiscale.laws import LAWS, Points, fit_law
from optiscale.laws.diagnose import stretch_of
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
    centre, precision = LAWS[name].prior()

    def residual(params):
        values = np.array(list(params.valuesdict().values()))
        error = np.log(LAWS[name].function(*points.x.values(), *values) / points.loss) / sigma
        return np.append(error, (values - centre) * precision)

    expected = lmfit.minimize(residual, params, scale_covar=False, xtol=1e-12, ftol=1e-12)
    stretch = np.sqrt(fit.effect * stretch_of(fit.chi2, fit.n, fit.k, fit.noise))
    for parameter in LAWS[name].parameters:
        one = expected.params[parameter]
        assert fit.params[parameter][0] == pytest.approx(one.value, abs=1e-3 * one.stderr)
        assert fit.params[parameter][1] == pytest.approx(one.stderr * stretch, rel=1e-3)
    first, second = LAWS[name].parameters[:2]
    assert fit.correlations[0, 1] == pytest.approx(expected.params[first].correl[second], abs=1e-3)
    data = Data.of(LAWS[name], [(points.x, points.loss, sigma * points.loss)])
    engine = refit(data, np.array(TRUTH[name])[None], iterations=200).values[0]
    errors = np.array([fit.params[parameter][1] for parameter in LAWS[name].parameters])
    np.testing.assert_allclose((engine - fit.values()) / errors, 0.0, atol=1e-2)


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
    straight = Points({"x": x}, (1e4 / x) ** 0.3, 1e-2 * np.ones(8), np.full(8, 3))
    found = final_descent(data_of("saturating", straight), np.array([4.0, 0.3, 200.0]))  # it saturates nowhere
    assert found.covariance is None
    assert found.condition > 1e6
