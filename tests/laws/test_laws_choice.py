from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from optiscale.errors import UserError
from optiscale.laws import (
    LAWS,
    Interval,
    Noise,
    Points,
    bootstrap,
    choose,
    choose_many,
    estimate_noise,
    fit_law,
    how_broken,
    profile,
    rolling_origin,
)
from optiscale.laws.breaks import Break
from optiscale.laws.choice import Choice
from optiscale.laws.extrapolation import LAST_VALUE, origins_of, sizes_of
from optiscale.laws.weighing import by_skill

from .truths import TRUTH, sample

FEW = ("power", "floor", "broken", "broken_amplitude")


def test_origins_never_fit_what_they_hold_out_and_hold_out_only_what_is_larger():
    for points in (sample("broken", n=12), sample("kaplan")):
        origins = origins_of(points, reach=2.0)
        assert len(origins) >= 3
        for one in origins:
            assert not (one.train & one.held).any()
            assert one.held.any()
            sizes = sizes_of(points.x)  # x; or N, D and N D, along one of which each cut goes
            assert any(values[one.held].min() > values[one.train].max() for values in sizes.values())
    one_size = points.take(np.arange(2))
    assert origins_of(one_size) == []


def test_many_crowded_sizes_are_cut_evenly_over_the_scale():
    x = np.linspace(1e3, 1e6, 200)
    origins = origins_of(Points({"x": x}, x**-0.3), reach=2.0)
    cuts = np.array([one.cut for one in origins])
    assert 4 <= len(cuts) <= 8
    assert np.ptp(np.diff(np.log(cuts))) < 1.0
    assert cuts[-1] / cuts[0] > 2.0


def test_held_out_error_is_that_of_a_fit_made_by_hand():
    points = sample("broken", n=8, relative=5e-3)
    table = rolling_origin(points, ["power"], noise=estimate_noise(points))
    x = points.x["x"]
    errors = []
    for one in origins_of(points):
        fit = fit_law("power", points.take(one.train), noise=estimate_noise(points))
        errors.append(np.log(fit.predict(x=x[one.held])) - np.log(points.loss[one.held]))
    assert table["power"].rmsle == pytest.approx(np.sqrt(np.mean([np.mean(e**2) for e in errors])), rel=1e-4)
    last = [np.log(points.loss[one.train][-1] / points.loss[one.held]) for one in origins_of(points)]
    assert table[LAST_VALUE].rmsle == pytest.approx(np.sqrt(np.mean([np.mean(e**2) for e in last])))
    assert table["power"].skill == pytest.approx(table["power"].rmsle / table[LAST_VALUE].rmsle)


@pytest.mark.parametrize("name", ["power", "broken", "floor"])
def test_the_law_that_made_the_points_has_the_lowest_held_out_error_and_most_weight(name):
    hits = 0
    for choice in choose_many([sample(name, seed=seed, n=12, relative=3e-3) for seed in range(3)], FEW):
        nested = {"power": {"power"}, "broken": {"broken", "broken_amplitude"}, "floor": {"floor"}}[name]
        hits += choice.best in nested
        assert sum(choice.weights.values()) == pytest.approx(1.0)
        assert choice.table[0].law == LAST_VALUE
        assert choice.table[0].weight == 0
    assert hits >= 2


def test_a_law_without_support_is_not_chosen_and_has_no_weight():
    choice = choose(sample("broken", n=12, relative=2e-3), FEW)
    assert choice.weights.get("power", 0.0) == 0.0
    assert "without support (BIC): power" in choice.reason


def test_weights_fall_with_the_held_out_error():
    table = rolling_origin(sample("broken", n=12, relative=2e-3), FEW)
    weights = by_skill({name: one.skill for name, one in table.items()}, dict.fromkeys(table, 5.0))
    ranked = sorted(weights, key=lambda name: table[name].skill)
    assert [weights[name] for name in ranked] == sorted(weights.values(), reverse=True)


def test_intervals_hold_the_truth_beyond_the_points_as_often_as_they_say():
    held, of_law, widths = [], [], []
    for name in ("power", "floor", "broken"):
        law = LAWS[name]
        sets = [sample(name, seed=seed, n=9, relative=5e-3) for seed in range(8)]
        x = 2.0 * sets[0].x["x"].max()
        truth = float(law.function(x, *TRUTH[name]))
        for choice in choose_many(sets, FEW):
            low, high = choice.interval(level=0.9, x=x)
            held.append(low <= truth <= high)
            low, high = choice.interval(level=0.9, law=name, x=x)
            of_law.append(low <= truth <= high)
            widths.append(np.log(high / low) / 2)
    assert 0.8 < np.mean(held) <= 1.0
    assert 0.8 < np.mean(of_law) <= 1.0
    assert np.median(widths) < 0.05


def test_an_interval_of_a_run_is_wider_and_grows_beyond_the_points():
    choice = choose(sample("broken", n=9, relative=1e-2), FEW)
    x = np.array([1e5, 1e7, 1e8])
    mean, run = (choice.interval(of=of, x=x) for of in ("mean", "run"))
    widths = np.log(mean[1] / mean[0])
    assert (np.diff(widths) > 0).all()
    assert (np.log(run[1] / run[0]) > widths).all()
    no_seeds = choose(Points({"x": np.logspace(3, 6, 9)}, np.logspace(0, -1, 9)), ["power"])
    with pytest.raises(UserError, match="no scatter of seeds"):
        no_seeds.interval(of="run", x=x)


def test_too_few_sizes_are_said_and_bic_decides():
    choice = choose(sample("power", n=3, relative=1e-3), FEW)
    assert choice.best == "power"
    assert "too few sizes to hold any out" in choice.reason
    nothing = choose(sample("power", n=1), FEW)
    assert nothing.best is None
    assert "1 points cannot fix" in nothing.reason
    with pytest.raises(UserError, match="nothing was fitted"):
        nothing.predict(x=1e5)


def test_a_choice_survives_json():
    choice = choose(sample("broken", n=9), FEW)
    again = Choice.from_dict(choice.to_dict(), choice.fits)
    assert again == choice
    np.testing.assert_array_equal(again.interval(x=1e7), choice.interval(x=1e7))


def test_profile_agrees_with_the_covariance_where_that_is_right():
    points = sample("power", n=15, relative=5e-3)
    fit = fit_law("power", points)
    for parameter in ("log10_x0", "a"):
        found = profile(fit, points, parameter, level=0.68)
        value, error = fit.params[parameter]
        assert found.value == value
        assert value - found.low == pytest.approx(error, rel=0.12)
        assert found.high - value == pytest.approx(error, rel=0.12)


def test_profile_says_unbounded_where_the_points_do_not_exclude_any_value():
    x = np.logspace(3, 5, 10)
    loss = (1e4 / x) ** 0.3
    points = Points({"x": x}, loss, 3e-2 * loss, np.full(10, 3))
    fit = fit_law("broken_amplitude", points)
    place = profile(fit, points, "log10_xc")
    assert not place.bounded
    assert place.lengths().parameter == "xc"
    with pytest.raises(UserError, match="no parameter 'b'"):
        profile(fit, points, "b")


def test_bootstrap_over_seeds_has_the_spread_of_the_covariance_and_over_points_sees_a_misfit():
    points = sample("broken", n=15, relative=1e-2)
    fit = fit_law("broken", points)
    drawn = bootstrap(fit, points, n=400)
    errors = [fit.params[name][1] for name in ("log10_xc", "a1", "a2")]
    np.testing.assert_allclose(drawn.std(axis=0), errors, rtol=0.3)
    np.testing.assert_array_equal(drawn, bootstrap(fit, points, n=400))
    over_points = bootstrap(fit, points, n=400, over="points")
    assert over_points.shape == (400, 3)
    assert np.isfinite(over_points).all()
    np.testing.assert_allclose(np.median(over_points, axis=0), fit.values(), atol=0.1)


def test_broken_points_are_broken_where_they_are_and_straight_ones_are_not():
    points = sample("broken", n=12, relative=5e-3)
    found = how_broken(points, choose(points, FEW), broken="broken")
    assert found.p_value <= 0.01
    assert found.delta_aicc > 10
    assert found.verdict.startswith("broken: the loss steepens")
    assert found.position.low < 10 ** TRUTH["broken"][0] < found.position.high
    assert Break.from_dict(found.to_dict()) == found
    # A curve can also flatten.
    x = points.x["x"]
    flat = Points(points.x, np.asarray(LAWS["broken_amplitude"].function(x, 4.5, 0.5, 0.1, 1.0)), None)
    assert "flattens" in how_broken(flat, choose(flat, FEW), broken="broken_amplitude").verdict


def test_the_p_value_of_straight_points_is_not_small_too_often():
    values = []
    for seed in range(12):
        points = sample("power", seed=seed, n=8, relative=1e-2)
        found = how_broken(points, choose(points, ["power", "broken"]), draws=40)
        values.append(found.p_value)
    assert np.mean(np.array(values) <= 0.1) < 0.3
    assert np.median(values) > 0.25


def test_no_break_is_asked_of_what_was_not_fitted():
    points = sample("power", n=3)
    assert how_broken(points, choose(points, FEW)) is None


def test_pooled_noise_is_the_true_one_and_follows_the_loss():
    points = sample("power", n=60, relative=2e-2, seed=4)
    noise = estimate_noise(points)
    assert noise.scale == pytest.approx(2e-2, rel=0.15)
    assert noise.dof == 120
    np.testing.assert_allclose(noise.mean(points), noise.scale * points.loss / np.sqrt(3))
    constant = estimate_noise(points, "pooled-absolute")
    assert np.ptp(constant.run(points.loss, points.size)) == 0


def test_noise_by_scale_finds_how_it_changes():
    rng = np.random.default_rng(0)
    x = np.logspace(3, 6, 80)
    runs = np.exp(rng.normal(size=(3, 80)) * 2e-2 * (x / x[0]) ** -0.3)
    points = Points({"x": x}, runs.mean(axis=0), runs.std(axis=0), np.full(80, 3))
    noise = estimate_noise(points, "by-scale")
    assert noise.slope == pytest.approx(-0.3, abs=0.08)
    assert float(noise.run(1.0, x[0])) == pytest.approx(2e-2, rel=0.3)


def test_no_noise_without_seeds():
    x = np.logspace(3, 5, 6)
    for std, seeds in ((None, None), (np.zeros(6), np.full(6, 1)), (np.full(6, 0.1), np.full(6, 1))):
        assert estimate_noise(Points({"x": x}, x**-0.2, std, seeds)) is None
    unknown = estimate_noise(Points({"x": x}, x**-0.2, 0.01 * x**-0.2, np.zeros(6)))
    assert unknown.mean(Points({"x": x}, x**-0.2)) == pytest.approx(0.01 * x**-0.2)  # the deviation is that of the mean


def test_points_from_a_frame():
    frame = pd.DataFrame({"x": [1, 2], "mean": [1.0, 0.5], "std": [0.1, 0.1], "n_seeds": [3, 3]})
    points = Points.from_frame(frame, ("x",))
    assert len(points) == 2
    assert isinstance(Noise(weights="pooled", scale=0.1).run(1.0, 1.0), np.ndarray | float)
    assert Interval(parameter="a", level=0.9, value=1.0, low=None, high=2.0).bounded is False


def test_a_length_beyond_all_numbers_is_an_open_end() -> None:
    far = Interval(parameter="log10_xc", level=0.9, value=412.0, low=3.0, high=500.0).lengths()
    assert (far.parameter, far.low, far.high) == ("xc", 1000.0, None)
    assert far.value == 1e300
