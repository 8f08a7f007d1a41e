from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import curve_fit

from optiscale.errors import UserError
from optiscale.laws import LAWS, Law, LawFit, fit_published, register

TRUTH = {
    "power": (4.3, 0.23),
    "floor": (4.4, 0.55, 0.8),
    "broken": (4.7, 0.15, 0.42),
    "broken_amplitude": (4.6, 0.15, 0.45, 0.8),
    "kaplan": (5.3, 4.5, 0.3, 0.2, 0.4),
    "hoffmann": (4.6, 4.2, 0.45, 0.15, 0.5, 0.2),
}


def sample(name: str, *, seed: int = 0, n: int = 15, relative: float = 2e-3):
    law = LAWS[name]
    if law.kind == "1d":
        x = {"x": np.logspace(3, 6.5, n)}
    else:
        grid = np.meshgrid(np.logspace(5.3, 8, 7), np.logspace(3.3, 5.3, 7))
        x = {"N": grid[0].ravel(), "D": grid[1].ravel()}
    mean = law.function(*x.values(), *TRUTH[name])
    std = relative * mean
    return x, mean + np.random.default_rng(seed).normal(0.0, std), std


@pytest.mark.parametrize("name", TRUTH)
def test_each_law_recovers_its_truth_within_its_errors(name):
    x, loss, std = sample(name)
    fit = fit_published(name, x, loss, std)
    assert fit.success
    assert fit.n_agree >= 2
    for parameter, truth in zip(LAWS[name].parameters, TRUTH[name], strict=True):
        value, stderr = fit.params[parameter]
        assert abs(value - truth) < 4 * stderr, parameter
        assert stderr < 0.3
    assert 0.3 < fit.redchi < 2.0
    np.testing.assert_allclose(fit.predict(**x), LAWS[name].function(*x.values(), *TRUTH[name]), rtol=5e-3)


def test_errors_are_the_spread_of_repeated_experiments():
    pulls = []
    for seed in range(60):
        value, stderr = fit_published("power", *sample("power", seed=seed)).params["a"]
        pulls.append((value - TRUTH["power"][1]) / stderr)
    assert abs(np.mean(pulls)) < 0.5
    assert 0.75 < np.std(pulls) < 1.35


@pytest.mark.parametrize("name", TRUTH)
def test_agrees_with_scipy_curve_fit(name):
    law = LAWS[name]
    x, loss, std = sample(name, seed=3)

    def function(points, *parameters):
        return law.function(*points, *parameters)

    expected, covariance = curve_fit(
        function, tuple(x.values()), loss, p0=TRUTH[name], sigma=std, absolute_sigma=law.kind == "2d"
    )
    fit = fit_published(name, x, loss, std)
    stderr = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.values(), expected, atol=float(stderr.min()) * 1e-2)
    np.testing.assert_allclose([fit.params[p][1] for p in law.parameters], stderr, rtol=1e-2)


def test_criterion_and_chi_square_are_those_of_the_paper():
    x, loss, std = sample("broken", n=9)
    fit = fit_published("broken", x, loss, std)
    residual = loss - fit.predict(**x)
    n, k = 9, 3
    aicc = 2 * k + n * np.log(np.sum(residual**2) / n) + (2 * k**2 + 2 * k) / (n - k - 1)
    assert (fit.n, fit.k) == (n, k)
    assert fit.aicc == pytest.approx(aicc)
    assert fit.chi2 == pytest.approx(np.sum((residual / std) ** 2))
    assert fit.redchi == pytest.approx(fit.chi2 / (n - k))


def test_a_length_is_reported_as_value_and_logarithm():
    fit = fit_published("power", *sample("power"))
    value, stderr = fit.params["log10_x0"]
    assert fit.params["x0"][0] == pytest.approx(10**value)
    assert fit.params["x0"][1] == pytest.approx(10**value * np.log(10) * stderr)


def test_one_dimensional_errors_scale_with_the_scatter_and_those_of_maps_do_not():
    for name, factor in (("power", 1.0), ("kaplan", 10.0)):
        x, loss, std = sample(name)
        one, ten = fit_published(name, x, loss, std), fit_published(name, x, loss, 10 * std)
        assert ten.params["a1" if name == "kaplan" else "a"][1] == pytest.approx(
            factor * one.params["a1" if name == "kaplan" else "a"][1], rel=1e-3
        )


def test_band_is_the_spread_of_laws_drawn_from_the_covariance():
    x, loss, std = sample("broken")
    fit = fit_published("broken", x, loss, std)
    draws = np.random.default_rng(0).multivariate_normal(fit.values(), np.array(fit.covariance), size=4000)
    at = np.logspace(3, 7, 6)
    spread = np.std([LAWS["broken"].function(at, *p) for p in draws], axis=0)
    np.testing.assert_allclose(fit.band(x=at), spread, rtol=0.08)


def test_no_more_points_than_parameters_is_a_recorded_reason():
    x, loss, std = sample("broken", n=3)
    fit = fit_published("broken", x, loss, std)
    assert not fit.success
    assert not fit.fitted
    assert "3 points cannot fix 3 parameters" in fit.message
    with pytest.raises(UserError, match="was not fitted"):
        fit.predict(x=[1e4])


def test_no_criterion_without_enough_points_but_a_fit():
    x, loss, std = sample("power", n=3)
    fit = fit_published("power", x, loss, std)
    assert fit.fitted
    assert fit.aicc is None
    assert any("no AICc" in note for note in fit.notes)


@pytest.mark.parametrize("spoil", [0.0, np.nan])
@pytest.mark.parametrize("name", ["power", "kaplan"])
def test_without_a_usable_std_all_points_weigh_the_same(name, spoil):
    x, loss, std = sample(name)
    std = std.copy()
    std[0] = spoil
    fit, unweighted = fit_published(name, x, loss, std), fit_published(name, x, loss, None)
    assert fit.params == unweighted.params
    assert "1 of" in fit.notes[0]
    assert "same weight" in fit.notes[0]
    # The residuals themselves must then set the errors, also for a map.
    relative = fit.params["log10_x0" if name == "power" else "log10_Nc"][1]
    assert 0 < relative < 0.2


def test_a_floor_that_ends_at_zero_leaves_the_power_law_with_its_errors():
    x, loss, std = sample("broken")
    floor, power = fit_published("floor", x, loss, std), fit_published("power", x, loss, std)
    assert floor.params["Linf"] == (0.0, None)
    assert floor.params["a"][0] == pytest.approx(power.params["a"][0], rel=1e-5)
    assert floor.params["a"][1] == pytest.approx(power.params["a"][1], rel=1e-2)
    assert floor.aicc > power.aicc
    assert any("Linf sits at its bound 0" in note for note in floor.notes)


def test_the_same_points_give_the_same_fit():
    assert fit_published("kaplan", *sample("kaplan")) == fit_published("kaplan", *sample("kaplan"))


def test_survives_json():
    few = sample("broken", n=3)
    for fit in (fit_published("hoffmann", *sample("hoffmann")), fit_published("broken", *few)):
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
        fit_published("power", x, loss, std)


def test_an_unknown_law_names_the_known_ones():
    with pytest.raises(UserError, match="choose one of power, floor, broken"):
        fit_published("cubic", {"x": [1.0]}, [1.0], None)


@pytest.fixture
def logarithm() -> Iterator[Law]:
    law = register(
        Law(
            name="logarithm",
            label="Logarithm",
            kind="1d",
            function=lambda x, b, c: b - c * np.log10(x),
            parameters=("b", "c"),
            guess=lambda x, loss: {"b": 1.0, "c": 0.1},
        )
    )
    yield law
    del LAWS["logarithm"]


def test_a_law_of_ones_own(logarithm):
    x = np.logspace(3, 5, 8)
    fit = fit_published("logarithm", {"x": x}, 3.0 - 0.4 * np.log10(x), np.full(8, 0.01))
    np.testing.assert_allclose(fit.values(), [3.0, 0.4], rtol=1e-8)
    with pytest.raises(UserError, match="already registered"):
        register(logarithm)


def test_a_law_that_is_nowhere_finite_is_a_recorded_reason():
    nowhere = Law(
        name="nowhere",
        label="Nowhere",
        kind="1d",
        function=lambda x, a: a * x * np.nan,
        parameters=("a",),
        guess=lambda x, loss: {"a": 1.0},
    )
    register(nowhere)
    try:
        fit = fit_published("nowhere", {"x": [1.0, 2.0, 3.0]}, [1.0, 0.9, 0.8], [0.1, 0.1, 0.1])
    finally:
        del LAWS["nowhere"]
    assert not fit.fitted
    assert "none of 12 starts" in fit.message


def test_lmfit_model_guesses_near_the_truth():
    for name in TRUTH:
        x, loss, _ = sample(name)
        guess = LAWS[name].model().guess(loss, **x)
        assert np.isfinite([guess[p].value for p in LAWS[name].parameters]).all()
        for parameter, (low, high) in LAWS[name].bounds.items():
            assert (guess[parameter].min, guess[parameter].max) == (low, high)
