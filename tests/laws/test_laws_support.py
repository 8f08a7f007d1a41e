"""Which laws may be chosen, what weak priors do, and how stated errors are calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optiscale.laws import LAWS, FitOptions, Points, choose, fit_law, profile
from optiscale.laws.calibration import Spread, calibrate, with_rule
from optiscale.laws.correlation import design_effect
from optiscale.laws.extrapolation import LAST_VALUE, Holdout, rolling_origin
from optiscale.laws.points import Noise, smooth_scatter
from optiscale.laws.support import falling, supported, well_judged
from optiscale.laws.weighing import PRIOR_WINDOWS

from .truths import TRUTH, sample

X = np.logspace(1, 2.2, 5)
UPTURN = Points({"x": X}, [6.06, 5.26, 4.87, 4.38, 4.46], [0.1] * 5, [2] * 5)  # the last point lies high by chance


def test_a_law_that_rises_beyond_falling_points_is_refused():
    choice = choose(UPTURN, ["power", "floor", "broken", "saturating"])
    assert "broken" in choice.refused
    assert choice.best != "broken"
    assert "broken" not in choice.weights
    assert "refused for rising beyond the points: broken" in choice.reason
    assert (np.diff(choice.predict(x=X[-1] * np.linspace(1, 2, 9))) <= 1e-9).all()


def test_nothing_is_refused_where_the_points_themselves_rise_or_all_laws_do():
    rising = Points({"x": X}, UPTURN.loss[::-1])
    fits = {name: fit_law(name, rising) for name in ("power", "saturating")}
    assert falling(list(fits), fits, rising, 2.0) == (["power", "saturating"], [])
    alone = {"broken": fit_law("broken", UPTURN)}
    assert falling(["broken"], alone, UPTURN, 2.0) == (["broken"], [])


def test_a_map_is_refused_along_the_variable_with_which_the_points_fall():
    points = sample("chinchilla", relative=1e-3)
    fit = fit_law("kaplan_plain", points)
    assert falling(["kaplan_plain"], {"kaplan_plain": fit}, points, 2.0)[1] == []
    params = {**fit.params, "log10_Nc": (5.3, 0.1), "aN": (-0.3, 0.1)}
    fits = {"kaplan_plain": replace(fit, params=params), "chinchilla": fit_law("chinchilla", points)}
    assert falling(list(fits), fits, points, 2.0) == (["chinchilla"], ["kaplan_plain"])


def test_a_law_that_was_held_out_seldom_is_not_chosen_by_luck():
    table = rolling_origin(sample("broken", n=7, relative=5e-3), ["power", "broken", "broken_amplitude", "m4"])
    assert table["power"].n_origins == 3
    assert table["m4"].n_origins == 1
    assert set(well_judged(table)) == {LAST_VALUE, "power", "broken", "broken_amplitude"}


def test_support_is_by_chi_square_where_seeds_tell_the_scatter():
    # Four points through which a law of three parameters happens to run are no evidence against the others.
    points = sample("power", n=4, relative=1e-2, seed=2)
    fits = {name: fit_law(name, points) for name in ("power", "broken")}
    lucky = {**fits, "broken": replace(fits["broken"], chi2=1e-6, redchi=1e-6, bic=-80.0)}
    assert "power" in supported(lucky)
    wrong = sample("broken", n=12, relative=2e-3)
    assert "power" not in supported({name: fit_law(name, wrong) for name in ("power", "broken")})


def test_weak_priors_decide_only_what_the_points_leave_open():
    points = sample("broken_amplitude", relative=5e-3)
    assert LAWS["broken_amplitude"].priors
    fit = fit_law("broken_amplitude", points)
    for name, truth in zip(LAWS["broken_amplitude"].parameters, TRUTH["broken_amplitude"], strict=True):
        assert abs(fit.params[name][0] - truth) < 3 * fit.params[name][1]
    x = np.logspace(3, 5, 10)
    straight = Points({"x": x}, (1e4 / x) ** 0.3, 3e-2 * (1e4 / x) ** 0.3, np.full(10, 3))
    open_ended = fit_law("broken_amplitude", straight)
    a1, a2 = (open_ended.params[name][0] for name in ("a1", "a2"))
    assert -1.0 < min(a1, a2) <= max(a1, a2) < 2.0  # without the priors one of them may be anything
    assert not profile(open_ended, straight, "log10_xc").bounded  # of what the points say the profile tells


def test_scatter_without_seeds_is_that_about_a_smooth_curve():
    x = np.logspace(3, 6, 30)
    loss = np.asarray(LAWS["broken"].function(x, 4.5, 0.1, 0.5))
    noisy = loss * np.exp(np.random.default_rng(0).normal(0.0, 0.02, len(x)))
    assert smooth_scatter(Points({"x": x}, noisy)) == pytest.approx(0.02, rel=0.3)
    assert smooth_scatter(Points({"x": x}, loss)) < 0.015  # three decades with a break, on a cubic
    noisy[7] *= 1.5
    assert smooth_scatter(Points({"x": x}, noisy), robust=True) == pytest.approx(0.02, rel=0.5)
    assert smooth_scatter(Points({"x": x}, noisy)) > 0.06
    assert smooth_scatter(Points({"x": [1.0, 2.0]}, [1.0, 0.5])) == 1e-2


def test_robust_costs_see_outliers_without_seeds():
    points = sample("power", n=15, relative=5e-3)
    loss = points.loss.copy()
    loss[[3, 12]] *= 1.2
    spoilt, truth = Points(points.x, loss), LAWS["power"].function(points.x["x"], *TRUTH["power"])
    misses = {}
    for cost in ("squares", "huber", "asymmetric"):
        fit = fit_law("power", spoilt, options=FitOptions(cost=cost, weights="equal"))
        misses[cost] = float(np.abs(np.log(fit.predict(**points.x) / truth)).mean())
    assert max(misses["asymmetric"], misses["huber"]) < misses["squares"] / 3


def holdout(law: str, errors: float, stated: float, *, cuts: int = 6, skill: float = 0.5) -> Holdout:
    """Errors at cuts of eleven points, normal of the given size, where a law of two parameters stated another."""
    drawn = errors * np.random.default_rng(3).standard_normal((cuts, 50))
    return Holdout(
        law=law,
        errors=tuple(drawn),
        falls=tuple(np.zeros_like(drawn)),
        deviations=(None,) * cuts if law == LAST_VALUE else tuple(np.full(50, stated) for _ in drawn),
        chi2=(8.0,) * cuts,
        effects=(1.0,) * cuts,
        fitted=(11,) * cuts,
        scatter=tuple(np.zeros(50) for _ in drawn),
        reaches=tuple(np.full(50, np.log(2.0)) for _ in drawn),
        independent=float(cuts),
        rmsle=errors,
        skill=skill,
    )


def test_held_out_errors_widen_and_narrow_an_interval_as_much_as_there_are_of_them():
    fits, noise = {"power": fit_law("power", sample("power"))}, Noise(weights="pooled", scale=0.01, dof=10_000)

    def spread(errors: float, cuts: int) -> Spread:
        table = {
            "power": holdout("power", errors, 0.03, cuts=cuts),
            LAST_VALUE: holdout(LAST_VALUE, 0.3, 0.0, cuts=cuts),
        }
        found = calibrate(table, fits, noise)
        assert (
            found.spread["power"] == found.spread[""] == found.rule
        )  # one law: the ensemble and the choice are that law
        return found.spread[""]

    for cuts in (1, 6, 100):
        for errors in (0.015, 0.03, 0.09):
            square = (PRIOR_WINDOWS + cuts * (errors / 0.03) ** 2) / (PRIOR_WINDOWS + cuts)
            one = spread(errors, cuts)
            assert one.scale**2 == pytest.approx(square, rel=0.25)  # of fifty draws a cut
            assert one.dof == PRIOR_WINDOWS + cuts
    assert spread(0.015, 100).factor(0.9, np.log(2.0)) == pytest.approx(0.5, rel=0.15)
    assert spread(0.09, 100).factor(0.9, 0.0) == 1.0  # among the points nothing was held out
    assert Spread().factor(0.9, np.log(8.0)) > 1.0  # nothing held out at all: wider than a normal interval


def test_a_law_is_not_judged_by_the_cut_that_it_was_chosen_for():
    fits = {name: fit_law(name, sample("power")) for name in ("power", "floor")}
    noise = Noise(weights="pooled", scale=0.01, dof=10_000)
    table = {name: holdout(name, 0.1, 0.03) for name in fits} | {LAST_VALUE: holdout(LAST_VALUE, 1.0, 0.0)}
    lucky = [one * 1e-3 if i == 0 else one for i, one in enumerate(table["floor"].errors)]  # at the first cut alone
    table["floor"] = replace(table["floor"], errors=tuple(lucky))
    found = calibrate(table, fits, noise)
    assert found.rule.scale == pytest.approx(found.spread["power"].scale, rel=0.02)  # by the others power is chosen
    assert found.spread["floor"].scale < found.rule.scale
    assert with_rule(found, "floor")["floor"] == found.rule


def test_residuals_that_go_together_widen_the_errors_and_independent_ones_do_not():
    rng, x = np.random.default_rng(2), {"x": np.logspace(3, 6, 400)}
    white = rng.standard_normal(400)
    assert design_effect(x, white) == 1.0
    smooth = white.copy()
    for i in range(1, 400):
        smooth[i] = 0.6 * smooth[i - 1] + 0.8 * white[i]
    assert design_effect(x, smooth) == pytest.approx(1.6 / 0.4, rel=0.3)
    assert design_effect({"x": x["x"][::-1]}, smooth[::-1]) == pytest.approx(design_effect(x, smooth))
    N, D = (one.ravel() for one in np.meshgrid(np.logspace(5, 8, 20), np.logspace(3, 6, 20), indexing="ij"))
    per_size = (np.repeat(rng.standard_normal(20), 20) + 0.5 * white) / np.sqrt(1.25)
    assert design_effect({"N": N, "D": D}, per_size) == pytest.approx(1.8 / 0.2, rel=0.4)  # along D at every N
    assert design_effect({"N": N, "D": D}, white) == 1.0


def test_errors_state_the_scatter_of_estimates_from_seeds_that_go_together():
    law, truth, pulls = LAWS["power"], TRUTH["power"], []
    x = np.logspace(3, 6, 40)
    for seed in range(40):
        noise = np.random.default_rng(seed).standard_normal(41)
        for i in range(1, 41):
            noise[i] = 0.7 * noise[i - 1] + np.sqrt(0.51) * noise[i]
        fit = fit_law("power", Points({"x": x}, law.function(x, *truth) * np.exp(0.01 * noise[1:])))
        pulls.append((fit.params["a"][0] - truth[1]) / fit.params["a"][1])
    assert 0.7 < np.std(pulls) < 1.5  # it is 2.4 if the points count as independent


def test_each_case_of_poor_identifiability_has_its_warning():
    few = fit_law("broken", sample("broken", n=4))
    assert any("4 points for 3 parameters" in note for note in few.notes)
    far = fit_law("broken", UPTURN)
    assert any("lies outside the points (10 to 158): no break was seen" in note for note in far.notes)
    at_bound = fit_law("floor", sample("broken"))
    assert any("Linf sits at its bound 0" in note for note in at_bound.notes)
    x = np.logspace(3, 3.8, 10)
    loss = np.asarray(LAWS["power"].function(x, 4.3, 0.3)) * np.exp(np.random.default_rng(1).normal(0, 1e-3, 10))
    short = Points({"x": x}, loss, 1e-3 * loss, np.full(10, 3))
    text = "; ".join(fit_law("broken_floor", short).notes)
    assert "0.8 decades of x, where 1.5 are needed to claim a break" in text
    assert "can hardly be told apart" in text or "do not fix every parameter" in text


def test_other_minima_that_are_nearly_as_good_are_told():
    fit = fit_law("bnsl2", sample("bnsl2", n=12, relative=2e-2))
    assert fit.alternatives
    assert any("nearly as good (chi-square within" in note for note in fit.notes)
    assert not any("nearly as good" in note for note in fit_law("power", sample("power")).notes)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "x",
    [
        {"x": np.full(6, 10.0)},
        {"x": np.repeat([10.0, 20.0, 40.0], 2)},
        {"N": np.full(6, 1e6), "D": np.logspace(3, 5, 6)},
    ],
    ids=["one size", "each size twice", "one N"],
)
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_odd_points_have_an_answer(x, scale):
    loss = scale * np.array([1.3, 1.1, 1.0, 0.8, 0.7, 0.72])
    choice = choose(Points(x, loss), ["power", "floor", "broken"] if "x" in x else ["kaplan_plain", "chinchilla"])
    low, high = choice.interval(**{name: 2 * values.max() for name, values in x.items()})
    assert np.isfinite([low, high]).all()
    assert 0 <= low < high
