from __future__ import annotations

import numpy as np
import pytest

from optiscale.laws import LAWS, fit_published

from .truths import TRUTH, exact

PUBLISHED = [name for name, law in LAWS.items() if law.published]


def sample(name: str, **how):
    points = exact(name, **how)
    return points.x, points.loss, points.std


@pytest.mark.parametrize("name", PUBLISHED)
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


def test_lmfit_model_guesses_near_the_truth():
    for name in PUBLISHED:
        x, loss, _ = sample(name)
        guess = LAWS[name].model().guess(loss, **x)
        assert np.isfinite([guess[p].value for p in LAWS[name].parameters]).all()
        for parameter, (low, high) in LAWS[name].bounds.items():
            assert (guess[parameter].min, guess[parameter].max) == (low, high)
