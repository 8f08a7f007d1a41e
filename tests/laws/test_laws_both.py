"""What holds in either protocol, ours and the published one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import curve_fit

from optiscale.errors import UserError
from optiscale.laws import LAWS, FitOptions, LawFit, Points, fit_law, fit_published, register
from optiscale.laws.diagnose import stretch_of

from .truths import TRUTH, exact


@pytest.mark.parametrize("name", [name for name, law in LAWS.items() if law.published])
def test_agrees_with_scipy_curve_fit(name):
    law, points = LAWS[name], exact(name, seed=3)

    def function(variables, *parameters):
        return law.function(*variables, *parameters)

    start = {"p0": TRUTH[name], "sigma": points.std}
    variables = tuple(points.x.values())
    published = fit_published(name, points.x, points.loss, points.std)
    own = fit_law(name, points, options=FitOptions(weights="published", space="linear"))
    for fit, absolute in ((published, law.kind == "2d"), (own, True)):
        expected, covariance = curve_fit(function, variables, points.loss, absolute_sigma=absolute, **start)
        stderr = np.sqrt(
            np.diag(covariance) * (fit.effect * stretch_of(fit.chi2, fit.n, fit.k, fit.noise) if fit is own else 1.0)
        )
        np.testing.assert_allclose(fit.values(), expected, atol=float(stderr.min()) * 2e-2)
        np.testing.assert_allclose([fit.params[one][1] for one in law.parameters], stderr, rtol=2e-2)


def test_the_band_is_the_spread_of_laws_drawn_from_the_covariance(fit_points):
    fit = fit_points("broken", exact("broken"))
    draws = np.random.default_rng(0).multivariate_normal(fit.values(), np.array(fit.covariance), size=4000)
    at = np.logspace(3, 7, 6)
    spread = np.std([LAWS["broken"].function(at, *p) for p in draws], axis=0)
    np.testing.assert_allclose(fit.band(x=at), spread, rtol=0.08)


def test_no_more_points_than_parameters_is_a_recorded_reason(fit_points):
    for n in (1, 2, 3):
        fit = fit_points("broken", exact("broken", n=n))
        assert not fit.success
        assert not fit.fitted
        assert f"{n} points cannot fix 3 parameters" in fit.message
    with pytest.raises(UserError, match="was not fitted"):
        fit.predict(x=[1e4])


def test_the_same_points_give_the_same_fit(fit_points):
    assert fit_points("kaplan", exact("kaplan")) == fit_points("kaplan", exact("kaplan"))


def test_survives_json(fit_points):
    for fit in (fit_points("hoffmann", exact("hoffmann")), fit_points("broken", exact("broken", n=3))):
        assert LawFit.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit


@pytest.mark.parametrize(
    ("x", "loss", "std", "message"),
    [
        ({"N": [1.0, 2.0]}, [1.0, 1.0], None, "takes x, not N"),
        ({"x": [1.0, 2.0]}, [1.0, 1.0, 1.0], None, "one value a point"),
        ({"x": [1.0, -2.0]}, [1.0, 1.0], None, "x holds a value that is not a positive number"),
        ({"x": [1.0, 2.0]}, [1.0, np.nan], None, "loss holds a value that is not a positive number"),
        ({"x": [1.0, 2.0, 3.0]}, [1.0, 1.0, 0.5], [0.1], "std has shape"),
    ],
)
def test_impossible_points_are_one_line(x, loss, std, message):
    with pytest.raises(UserError, match=message):
        fit_law("power", Points(x, loss, std))
    with pytest.raises(UserError, match=message):
        fit_published("power", x, loss, std)


def test_an_unknown_law_names_the_known_ones(fit_points):
    with pytest.raises(UserError, match="choose one of power, floor, broken"):
        fit_points("cubic", exact("power"))


def test_a_law_of_ones_own(fit_points, logarithm):
    x = np.logspace(3, 5, 8)
    fit = fit_points("logarithm", Points({"x": x}, 3.0 - 0.4 * np.log10(x), np.full(8, 0.01)))
    np.testing.assert_allclose(fit.values(), [3.0, 0.4], rtol=1e-6)
    with pytest.raises(UserError, match="already registered"):
        register(logarithm)


@pytest.mark.usefixtures("nowhere")
def test_a_law_that_is_nowhere_finite_is_a_recorded_reason(fit_points):
    fit = fit_points("nowhere", Points({"x": [1.0, 2.0, 3.0]}, [1.0, 0.9, 0.8], [0.1, 0.1, 0.1]))
    assert not fit.fitted
    assert "starts gave a finite chi-square" in fit.message
