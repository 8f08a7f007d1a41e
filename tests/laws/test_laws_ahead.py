"""What few held-out windows are believed: weights, votes, the fall beyond the points, and what small sizes count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optiscale.advice.draws import Draws
from optiscale.laws import LAWS, Choice, FitOptions, Points, choose, choose_many, fit_law
from optiscale.laws.fit import sigma_of
from optiscale.laws.weighing import PRIOR_WINDOWS, by_skill, damping, one_vote, pick, unconditional

from .truths import sample

FALLS = [np.array([-0.1, -0.2]), np.array([-0.2, -0.4])]


def levelling(seed: int) -> Points:
    """Thirteen losses without seeds that fall along a sigmoid and level off at the end."""
    x = np.logspace(3, 5.4, 13)
    loss = 0.3 + 1.0 / (1.0 + (x / 1e4) ** 1.2)
    return Points({"x": x}, loss * np.exp(np.random.default_rng(seed).normal(0.0, 0.01, len(x))))


def test_few_windows_leave_the_weights_near_equal_and_many_make_them_those_of_bates_and_granger():
    skills = {"a": 0.1, "b": 0.3}
    few, many = (by_skill(skills, dict.fromkeys(skills, windows)) for windows in (1.0, 1e6))
    assert many["a"] / many["b"] == pytest.approx(9.0, rel=1e-3)
    level = 0.1 * 0.3
    ratio = (0.09 + PRIOR_WINDOWS * level) / (0.01 + PRIOR_WINDOWS * level)
    assert few["a"] / few["b"] == pytest.approx(ratio)
    assert 1.0 < ratio < 2.0
    # A hit that is ten times better at the one or two cuts it was held out at would have a hundred times the weight.
    lucky = by_skill({"a": 0.01, "b": 0.1}, {"a": 2.0, "b": 3.0})
    assert lucky["a"] < 7 * lucky["b"]


def test_laws_that_say_the_same_have_one_vote():
    logs = {"a": np.zeros(4), "copy": np.full(4, 1e-4), "b": np.array([0.0, 0.0, 0.0, 0.1])}
    votes = one_vote(dict.fromkeys(logs, 1.0), logs, scatter=0.01)
    assert votes == pytest.approx({"a": 0.25, "copy": 0.25, "b": 0.5})
    assert one_vote(dict.fromkeys(logs, 1.0), logs, scatter=1e-4)["copy"] == pytest.approx(1 / 3)


def test_a_law_registered_twice_does_not_outvote_the_others(monkeypatch):
    points, x = sample("floor", n=9, relative=2e-2, seed=3), 1e7
    names = ["floor", "broken", "broken_amplitude"]
    once = choose(points, names)
    monkeypatch.setitem(LAWS, "again", replace(LAWS["floor"], name="again"))
    twice = choose(points, [*names, "again"])
    assert once.weights["floor"] > 0.05
    assert twice.weights["floor"] == pytest.approx(twice.weights["again"])
    assert twice.weights["floor"] + twice.weights["again"] == pytest.approx(once.weights["floor"], rel=0.1)
    assert float(twice.predict(x=x)) == pytest.approx(float(once.predict(x=x)), rel=3e-3)


def test_the_damping_is_the_share_that_came_drawn_towards_one():
    for share in (-3.0, 0.0, 0.5, 1.0, 1.5):
        errors = [(1.0 - share) * fall for fall in FALLS]
        came = min(max(share, 0.0), 1.0)
        believed = (2 * came + PRIOR_WINDOWS) / (2 + PRIOR_WINDOWS)
        assert damping(FALLS, errors, windows=2.0) == pytest.approx(believed)
        assert damping(FALLS * 500, errors * 500, windows=1000.0) == pytest.approx(came, abs=0.01)
    assert damping([], [], windows=0.0) == 1.0
    assert damping([np.zeros(3)], [np.ones(3)], windows=1.0) == 1.0  # nothing predicted, nothing to damp


def test_the_ensemble_is_damped_beyond_the_points_only_and_says_so_of_its_draws():
    points = levelling(0)
    choice = choose(points, ["power", "broken"])  # neither levels off
    assert 0.3 < choice.damping < 0.9
    plain = replace(choice, damping=1.0)
    inside, edge, beyond = points.x["x"], points.x["x"].max(), points.x["x"].max() * np.array([1.001, 2.0, 20.0])
    np.testing.assert_array_equal(choice.predict(x=inside), plain.predict(x=inside))
    at = float(choice.predict(x=edge))
    falls, full = (np.log(one.predict(x=beyond) / at) for one in (choice, plain))
    np.testing.assert_allclose(falls, choice.damping * full)
    for law in choice.fits:
        np.testing.assert_array_equal(choice.predict(law=law, x=beyond), choice.fits[law].predict(x=beyond))
    values = {"power": choice.fits["power"].values()[None]}
    drawn = Draws(values, choice.damping, choice.largest).predict({"x": np.array([inside[0], edge, 2 * edge])})[0]
    bare = Draws(values).predict({"x": np.array([inside[0], edge, 2 * edge])})[0]
    np.testing.assert_allclose(drawn[:2], bare[:2])
    assert np.log(drawn[2] / drawn[1]) == pytest.approx(choice.damping * np.log(bare[2] / bare[1]))
    assert Choice.from_dict(choice.to_dict(), choice.fits).damping == choice.damping


def test_a_map_is_not_damped():
    assert choose(sample("hoffmann", seed=2000, relative=2e-2), ["hoffmann", "chinchilla", "coupled"]).damping == 1.0


def test_damping_lowers_the_error_where_laws_overshoot_and_is_little_where_they_are_true():
    laws = ["power", "broken", "saturating"]
    sets = [levelling(seed).take(np.arange(11)) for seed in range(6)]
    errors = []
    for seed, choice in enumerate(choose_many(sets, laws)):
        whole = levelling(seed)
        truth = np.log(0.3 + 1.0 / (1.0 + (whole.x["x"][-2:] / 1e4) ** 1.2))
        found = [np.log(one.predict(x=whole.x["x"][-2:])) - truth for one in (choice, replace(choice, damping=1.0))]
        errors.append([float(np.sqrt(np.mean(one**2))) for one in found])
    damped, plain = np.mean(errors, axis=0)
    assert damped < 0.95 * plain
    true = choose_many([sample("broken", seed=seed, n=12, relative=2e-3) for seed in range(4)], ["power", "broken"])
    assert np.mean([choice.damping for choice in true]) > 0.95


def test_without_seeds_small_sizes_are_discounted_and_with_them_they_are_not():
    points = sample("broken", n=12, relative=1e-3)
    bare = Points(points.x, points.loss)
    steep = [fit_law("power", one).params["a"][0] for one in (points, bare)]
    equal = fit_law("power", bare, options=FitOptions(weights="equal")).params["a"][0]
    assert steep[0] == pytest.approx(equal, rel=1e-3)  # seeds that scatter alike weigh alike
    assert steep[1] > equal + 0.01  # the curve steepens, and its end counts more
    ten = Points({"x": [1.0, 10.0, 100.0]}, [3.0, 2.0, 1.5])
    sigma = sigma_of(ten, FitOptions(), None)
    np.testing.assert_allclose((sigma.sigma / ten.loss)[:-1] ** 2 / (sigma.sigma / ten.loss)[1:] ** 2, 2.0)


def test_the_law_to_use_is_the_simplest_that_goes_with_the_ensemble():
    logs = {name: np.full(3, value) for name, value in (("a", 0.0), ("b", 0.02), ("c", 0.021), ("d", 0.1))}
    k = {"a": 2, "b": 5, "c": 3, "d": 1}
    assert pick(logs, np.full(3, 0.02), k, scatter=1e-4) == "b"
    assert pick(logs, np.full(3, 0.02), k, scatter=1e-2) == "c"
    assert pick(logs, np.full(3, 0.02), k, scatter=0.1) == "a"
    for seed in range(3):
        points = levelling(seed)
        choice = choose(points, ["power", "floor", "broken", "saturating", "m4", "broken_floor"])
        x = points.x["x"].max() * np.geomspace(1.0, 2.0, 9)
        far = {
            law: float(np.mean(np.abs(np.log(choice.predict(law=law, x=x) / choice.predict(x=x)))))
            for law in choice.weights
        }
        near = [law for law in far if far[law] <= min(far.values()) + 0.3 * choice.scatter]
        assert choice.fits[str(choice.best)].k == min(choice.fits[law].k for law in near)
        assert "the simplest to go with the ensemble" in choice.reason


def test_disagreement_adds_to_an_error_as_buckland_and_others_say():
    variance, share = np.array([4.0]), np.array([[0.25], [0.75]])
    np.testing.assert_allclose(unconditional(variance, np.zeros((2, 1)), share), 2.0)
    away = np.array([[1.5], [0.0]])
    np.testing.assert_allclose(unconditional(variance, away, share), 0.25 * 2.5 + 0.75 * 2.0)
