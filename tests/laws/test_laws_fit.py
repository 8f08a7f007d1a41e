from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from optiscale.errors import UserError
from optiscale.laws import LAWS, FitOptions, Points, fit_law, fit_many
from optiscale.laws.diagnose import dof_of, stretch_of
from optiscale.laws.fit import sigma_of
from optiscale.laws.result import aicc_of
from optiscale.laws.search import Data, refit

from .truths import TRUTH, sample

# Two breaks in one curve need many points at little noise; the full study is benchmarks/laws_coverage.py.
_POINTS = {"bnsl2": 60, "bnsl1": 30, "m4": 30}
_NOISES = (1e-3, 1e-2)
_HARD = {"bnsl2"}


def test_every_law_of_the_package_has_a_truth():
    assert set(TRUTH) == set(LAWS)
    assert all(len(TRUTH[name]) == len(law.parameters) for name, law in LAWS.items())


@pytest.mark.parametrize("name", TRUTH)
def test_each_law_recovers_its_truth_within_its_errors(name):
    law = LAWS[name]
    noises = _NOISES[:1] if name in _HARD else _NOISES
    for relative in noises:
        sets = [sample(name, seed=seed, n=_POINTS.get(name, 15), relative=relative) for seed in range(3)]
        fits = fit_many(name, sets)
        pulls = []
        for points, fit in zip(sets, fits, strict=True):
            assert fit.success
            assert 0.2 < fit.redchi < 2.5
            truth = law.function(*points.x.values(), *TRUTH[name])
            assert np.abs(np.log(fit.predict(**points.x) / truth)).max() < 2.5 * relative
            pulls.append([(fit.params[one][0] - true) / fit.params[one][1] for one, true in _truth(name)])
        assert np.abs(np.mean(pulls, axis=0)).max() < 2.5, pulls
        assert np.abs(pulls).max() < 4.5, pulls


def _truth(name: str) -> list[tuple[str, float]]:
    return list(zip(LAWS[name].parameters, TRUTH[name], strict=True))


@pytest.mark.parametrize("name", ["power", "broken", "coupled_broken"])
def test_ninety_per_cent_intervals_hold_the_truth_in_ninety_per_cent(name):
    fits = fit_many(name, [sample(name, seed=seed, relative=1e-2) for seed in range(100)])
    held = []
    for fit in fits:
        dof = dof_of(fit.chi2, fit.n, fit.k, fit.effect, fit.noise)
        t = stats.t.ppf(0.95, dof)
        held.append([abs(fit.params[one][0] - truth) <= t * fit.params[one][1] for one, truth in _truth(name)])
    coverage = np.mean(held, axis=0)
    assert (coverage > 0.82).all(), coverage
    assert (coverage <= 1.0).all()


@pytest.mark.parametrize("name", ["floor", "broken_amplitude", "kaplan", "coupled"])
def test_agrees_with_scipy_curve_fit(name):
    law, points = LAWS[name], sample(name, seed=3)
    fit = fit_law(name, points, options=FitOptions(space="linear"))
    sigma = fit.noise.mean(points)

    def function(x, *parameters):
        return law.function(*x, *parameters)

    expected, covariance = curve_fit(
        function, tuple(points.x.values()), points.loss, p0=TRUTH[name], sigma=sigma, absolute_sigma=True
    )
    stderr = np.sqrt(np.diag(covariance) * fit.effect * stretch_of(fit.chi2, fit.n, fit.k, fit.noise))
    np.testing.assert_allclose(fit.values(), expected, atol=float(stderr.min()) * 2e-2)
    np.testing.assert_allclose([fit.params[one][1] for one in law.parameters], stderr, rtol=2e-2)
    residual = (points.loss - fit.predict(**points.x)) / sigma
    assert fit.chi2 == pytest.approx(float(residual @ residual))
    weighed = residual * np.exp(np.log(sigma).mean())
    assert fit.aicc == pytest.approx(aicc_of(weighed, fit.k))
    assert fit.bic == pytest.approx(len(points) * np.log(np.mean(weighed**2)) + fit.k * np.log(len(points)))


def test_many_fits_are_those_of_one_at_a_time():
    sets = [sample("broken", seed=seed, n=n) for seed, n in ((0, 7), (1, 15), (2, 9))]
    for one, points in zip(fit_many("broken", sets), sets, strict=True):
        alone = fit_law("broken", points)
        np.testing.assert_allclose(one.values(), alone.values(), rtol=1e-5)
        assert one.n == len(points)


def test_the_same_points_give_the_same_fit_and_their_order_is_nothing():
    points = sample("coupled_broken")
    assert fit_law("coupled_broken", points) == fit_law("coupled_broken", points)
    mixed = np.random.default_rng(0).permutation(len(points))
    shuffled = fit_law("coupled_broken", points.take(mixed))
    np.testing.assert_allclose(shuffled.values(), fit_law("coupled_broken", points).values(), rtol=1e-4)


def test_an_outlier_moves_the_robust_fits_less_and_runs_trained_too_short_the_asymmetric_one_least():
    points = sample("power", n=15, relative=5e-3)
    loss = points.loss.copy()
    loss[[3, 8, 12]] *= 1.08
    spoilt = Points(points.x, loss, points.std, points.seeds)
    misses = {}
    for cost in ("squares", "huber", "asymmetric"):
        fit = fit_law("power", spoilt, options=FitOptions(cost=cost))
        truth = LAWS["power"].function(points.x["x"], *TRUTH["power"])
        misses[cost] = float(np.abs(np.log(fit.predict(**points.x) / truth)).mean())
    assert misses["asymmetric"] < misses["huber"] < misses["squares"] / 2
    below = Points(points.x, np.where(loss > points.loss, points.loss / 1.08, points.loss), points.std, points.seeds)
    asymmetric, huber = (fit_law("power", below, options=FitOptions(cost=c)) for c in ("asymmetric", "huber"))
    assert asymmetric.predict(x=3e4) < huber.predict(x=3e4)  # it follows what lies low


def test_weights_say_which_points_count():
    points = sample("power", relative=5e-3)
    std = np.full(len(points), 5e-3) * points.loss
    std[:5] *= 1e3
    uneven = Points(points.x, np.where(std > points.loss, 2.0 * points.loss, points.loss), std, points.seeds)
    published = fit_law("power", uneven, options=FitOptions(weights="published"))
    assert published.params["a"][0] == pytest.approx(TRUTH["power"][1], abs=0.01)
    assert abs(fit_law("power", uneven).params["a"][0] - TRUTH["power"][1]) > 0.05


def test_without_seeds_the_residuals_set_the_errors():
    points = sample("broken", relative=5e-3)
    alone = Points(points.x, points.loss)
    fit = fit_law("broken", alone)
    assert fit.noise is None
    assert "the residuals set the errors" in fit.notes[0]
    known = fit_law("broken", points)
    np.testing.assert_allclose(fit.values(), known.values(), rtol=5e-3)  # small sizes count less
    equal = fit_law("broken", alone, options=FitOptions(weights="equal"))
    np.testing.assert_allclose(equal.values(), known.values(), rtol=1e-4)
    assert fit.params["a1"][1] == pytest.approx(known.params["a1"][1], rel=0.6)


def test_the_verdict_says_whether_seed_noise_explains_the_residuals():
    points = sample("broken", relative=2e-3)
    assert "seed noise explains the residuals" in fit_law("broken", points).notes[0]
    wrong = fit_law("power", points)
    assert "seed noise does not explain the residuals" in wrong.notes[0]
    assert "keep their sign" in wrong.notes[0]
    assert wrong.redchi > 50


def test_too_few_points_have_a_reason_and_one_more_has_a_warning():
    for n in (1, 2, 3):
        fit = fit_law("broken", sample("broken", n=n))
        assert not fit.fitted
        assert f"{n} points cannot fix 3 parameters" in fit.message
    with pytest.raises(UserError, match="was not fitted"):
        fit.predict(x=1e4)
    fit = fit_law("broken", sample("broken", n=4))
    assert fit.aicc is None
    assert any("4 points for 3 parameters" in note for note in fit.notes)


def test_what_the_points_do_not_fix_is_said():
    x = np.logspace(3, 4, 8)
    loss = LAWS["power"].function(x, 6.0, 0.3)
    narrow = fit_law("broken", Points({"x": x}, loss, 2e-3 * loss, np.full(8, 3)))
    text = " ".join(narrow.notes)
    assert "1.0 decades of x, where 1.5 are needed to claim a break" in text
    assert "lies outside the points" in text or "uncertain by a factor" in text
    floor = fit_law("floor", sample("broken"))
    assert floor.params["Linf"] == (0.0, None)
    assert any("Linf sits at its bound 0" in note for note in floor.notes)


def test_near_optimal_alternatives_are_near_and_different():
    points = sample("bnsl2", n=12, relative=2e-2)
    fit = fit_law("bnsl2", points)
    assert fit.alternatives
    for other in fit.alternatives:
        assert 0 <= other.delta_chi2 <= 4
        assert np.abs(np.array(other.values) - fit.values()).max() > 0.01


@pytest.mark.parametrize("bad", [{"weights": "best"}, {"space": "square"}, {"cost": "cauchy"}])
def test_unknown_options_name_the_known_ones(bad):
    with pytest.raises(UserError, match="choose one of"):
        FitOptions(**bad)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["floor", "broken_amplitude", "m4", "broken_floor", "chinchilla", "coupled"])
@pytest.mark.parametrize("unit", [1e-6, 1e5])
def test_a_fit_does_not_depend_on_the_unit_of_the_loss(name, unit):
    points = sample(name, n=_POINTS.get(name, 15))
    scaled = Points(points.x, unit * points.loss, unit * points.std, points.seeds)
    one, other = fit_law(name, points), fit_law(name, scaled)
    assert other.chi2 == pytest.approx(one.chi2, rel=1e-3)
    np.testing.assert_allclose(other.predict(**points.x), unit * one.predict(**points.x), rtol=1e-4)
    np.testing.assert_allclose(other.band(**points.x), unit * one.band(**points.x), rtol=0.02)
    for level in LAWS[name].levels:
        assert other.params[level] == pytest.approx(tuple(unit * value for value in one.params[level]), rel=0.03)


def test_the_search_of_a_short_curve_ends_in_the_valley_of_its_truth():
    truth, x = (6.2, 0.15, 1.16, 0.55, 0.38), np.logspace(5.7, 8.41, 10)  # a floor that a guess by eye misses
    law = LAWS["broken_floor"]
    means = [law.function(x, *truth) * np.exp(np.random.default_rng(seed).normal(0.0, 2e-3, 10)) for seed in range(4)]
    sets = [Points({"x": x}, loss, 2e-3 * loss, np.full(10, 3)) for loss in means]
    for points, fit in zip(sets, fit_many("broken_floor", sets), strict=True):
        data = Data.of(law, [(points.x, points.loss, sigma_of(points, FitOptions(), fit.noise).sigma)])
        assert fit.chi2 <= refit(data.likelihood(), np.array([truth]), iterations=200).cost[0] + 0.5
