from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from advice.tables import BROKEN, FLOOR, LINE_D, MAP, MAP_D, MAP_N, averages, fitted, runs
from optiscale.advice import forecast, forecast_gains, forecast_losses, forecast_targets, frame_of
from optiscale.errors import UserError
from optiscale.laws import average_seeds, fit_study, get_law, read_losses

N = 5_000_000


def truth(law: str, values: tuple[float, ...], *sizes: float) -> float:
    return float(get_law(law).function(*map(np.float64, sizes), *values))


@pytest.fixture(scope="module")
def lines():
    """Studies with the same floor, which are networks of one table: each is fitted by itself."""
    tables = [averages("floor", FLOOR, D=LINE_D, N=[N], seed=seed).assign(model=f"net {seed}") for seed in range(14)]
    return fit_study(pd.concat(tables, ignore_index=True))


@pytest.fixture(scope="module")
def grid():
    return fitted("chinchilla", MAP, D=MAP_D, N=MAP_N, seed=3)


def test_intervals_of_losses_hold_the_truth_about_as_often_as_they_say(lines):
    """Of the mean law at twice and of a new run; they are allowed to be wider than needed where the law is exact."""
    rng = np.random.default_rng(5)
    mean = truth("floor", FLOOR, 512_000)
    held, new = [], []
    for one in forecast_losses(lines, D=[512_000]):
        held.append(one.low <= mean <= one.high)
        new.append(one.run_low <= mean * np.exp(5e-3 * rng.normal()) <= one.run_high)
        assert one.run_high - one.run_low > one.high - one.low
        assert one.beyond == pytest.approx(2)
        assert not one.warning
    assert np.mean(held) >= 0.85
    assert np.mean(new) >= 0.85


def test_the_size_that_reaches_a_loss_is_recovered_and_its_interval_holds(lines):
    size = 400_000
    target = truth("floor", FLOOR, size)
    answers = forecast_targets(lines, target)
    assert all(one.variable == "D" and one.fixed == N for one in answers)
    assert np.median([one.size for one in answers]) == pytest.approx(size, rel=0.1)
    held = [one.low <= size and (one.high is None or size <= one.high) for one in answers]
    assert np.mean(held) >= 0.85


def test_gains_are_the_slope_of_the_law(lines):
    fall = truth("floor", FLOOR, 256_000) - truth("floor", FLOOR, 266_000)
    gains = forecast_gains(lines)
    assert all(one.D == 256_000 and one.further == 10_000 for one in gains)
    assert np.median([one.gain for one in gains]) == pytest.approx(fall, rel=0.15)
    assert np.mean([one.low <= fall <= one.high for one in gains]) >= 0.85


def test_a_loss_below_the_floor_is_unreachable(lines):
    """The floor is 0.4: of 0.3 the answer is the floor, with an interval that mostly holds it."""
    answers = forecast_targets(lines, 0.3)
    assert sum(one.size is None for one in answers) >= 9
    # A law without floor that keeps some weight says otherwise only where no data have judged it.
    assert all(one.beyond > 100 for one in answers if one.size is not None)
    assert all(one.high is None for one in answers), "no answer rules the floor out"
    assert all(
        one.verdict.startswith("unreachable: the floor is 0.")
        for one in answers
        if one.size is None and one.floor > 0.3
    )
    assert np.median([one.floor for one in answers]) == pytest.approx(0.4, abs=0.05)
    assert np.mean([one.floor_low <= 0.4 <= one.floor_high for one in answers]) >= 0.8


def test_a_law_without_a_floor_has_none():
    [one] = forecast_targets(fitted("power", (4.3, 0.4), D=LINE_D, N=[N], relative=1e-3), 0.2)
    assert one.floor_low == 0
    assert one.size == pytest.approx(10**4.3 * 0.2 ** (-1 / 0.4), rel=0.05)


def test_a_target_that_the_smallest_run_reaches_is_said_so():
    [one] = forecast_targets(fitted("broken", BROKEN, D=LINE_D, N=[N]), 5.0)
    assert one.verdict.startswith("reached at the smallest size measured, D = 2,000")


def test_reaching_further_than_the_data_bear_is_said_in_words():
    fits = fitted("broken", BROKEN, D=LINE_D, N=[N])
    near, far, below = forecast_losses(fits, D=[500_000, 25_600_000, 100])
    assert not near.warning
    assert "25,600,000 lies 100 times (2.0 decades) beyond the data" in far.warning
    assert "D = 100 lies below the smallest measured, 2,000" in below.warning
    assert far.high / far.low > near.high / near.low


def test_a_map_answers_pairs_and_both_variables(grid):
    [one] = forecast_losses(grid, D=[320_000], N=[40_000_000])
    assert one.kind == "map"
    assert one.low <= truth("chinchilla", MAP, 4e7, 3.2e5) <= one.high
    rows = frame_of(forecast_losses(grid, D=[320_000]))
    assert rows["N"].tolist() == MAP_N
    target = truth("chinchilla", MAP, 2e7, 3e5)
    both = forecast_targets(grid, target, N=[20_000_000], D=[300_000])
    assert [one.variable for one in both] == ["D", "N"]
    for answer in both:
        sizes = (answer.fixed, answer.size) if answer.variable == "D" else (answer.size, answer.fixed)
        assert truth("chinchilla", MAP, *sizes) == pytest.approx(target, rel=0.02)


def test_lines_answer_what_lies_on_them():
    """A cross of one line over D and one over N: a pair is answered by the line that it lies on."""
    over_n = averages("floor", (6.0, 0.5, 0.4), D=LINE_D, N=[N]).rename(columns={"D": "N", "N": "D"}).assign(D=20_000)
    table = pd.concat([averages("floor", FLOOR, D=LINE_D, N=[N]), over_n.assign(model="other")])
    [one] = forecast(table, D=[20_000], N=[512_000]).losses
    assert (one.model, one.kind, one.D, one.N) == ("other", "parameters", 20_000, 512_000)
    assert one.low <= truth("floor", (6.0, 0.5, 0.4), 512_000) <= one.high
    [one] = forecast(table, N=[512_000]).losses
    assert one.model == "other"


def test_a_cross_of_two_lines_is_no_map():
    table = averages("chinchilla", MAP, D=MAP_D, N=MAP_N)
    cross = table[(table["D"] == MAP_D[3]) | (table["N"] == MAP_N[2])]
    assert [one.kind for one in forecast(cross, D=[320_000]).losses] == ["data"]


def test_a_grid_with_holes_is_still_a_map():
    """A plan runs the cells that tell most, not a full grid; every pair of sizes is answered all the same."""
    table = averages("chinchilla", MAP, D=MAP_D, N=MAP_N)
    kept = table[(table.index % 3 != 0) | (table["D"] == MAP_D[0])]
    assert len(kept) < 0.75 * len(table)
    [one] = forecast(kept, D=[320_000], N=[20_000_000]).losses
    assert one.kind == "map"
    assert one.low <= truth("chinchilla", MAP, 2e7, 3.2e5) <= one.high


def test_the_floor_of_a_map_depends_on_the_fixed_size(grid):
    small, large = forecast_targets(grid, 0.2, N=[200_000, 20_000_000])[:2]
    for one in (small, large):
        floor = MAP[4] + 10 ** MAP[0] * one.fixed ** -MAP[2]
        assert one.floor == pytest.approx(floor, rel=0.05)
        assert one.verdict.startswith("unreachable")


def test_groups_and_their_order_do_not_mix():
    """Two groups of materials in one table are two studies; shuffled rows change nothing."""
    easy = runs("floor", FLOOR, D=LINE_D, N=[N], group="metals")
    hard = runs("floor", (4.4, 0.5, 0.9), D=LINE_D, N=[N], group="oxides")
    table = pd.concat([easy, hard]).sample(frac=1, random_state=1)
    found = forecast(average_seeds(read_losses(table, by="group")), D=[512_000])
    by = {one.study: one for one in found.losses}
    for study, values in (("group = metals", FLOOR), ("group = oxides", (4.4, 0.5, 0.9))):
        mean = truth("floor", values, 512_000)
        assert by[study].low <= mean <= by[study].high
    alone = forecast(average_seeds(read_losses(easy)), D=[512_000])
    assert alone.losses[0].loss == pytest.approx(by["group = metals"].loss, rel=1e-6)


def test_each_size_is_judged_at_its_own_reach():
    """What is said of a near size does not depend on a far one asked for beside it."""
    table = averages("floor", FLOOR, D=LINE_D, N=[N])
    alone = forecast(table, D=[512_000]).losses[0]
    beside = forecast(table, D=[512_000, 5_120_000]).losses[0]
    assert beside == alone


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "ask for a size"),
        ({"D": [0]}, "D 0: a size must be positive"),
        ({"target": -1.0}, "must be a positive loss"),
        ({"target": float("nan")}, "must be a positive loss"),
        ({"D": [512_000], "level": 1.0}, "level 1: must lie between 0 and 1"),
        ({"N": [9_000_000]}, "no series varies N: there is one over D at N = 5000000"),
        ({"D": [512_000], "N": [7]}, "no series varies D at N = 7: there is one over D"),
    ],
)
def test_a_question_without_an_answer_is_one_line(asked: dict, message: str):
    table = averages("floor", FLOOR, D=LINE_D, N=[N])
    with pytest.raises(UserError, match=message) as caught:
        forecast(table, **asked)
    assert "\n" not in str(caught.value)


def test_fits_as_published_have_no_intervals():
    fits = fit_study(averages("floor", FLOOR, D=LINE_D, N=[N]), protocol="published")
    with pytest.raises(UserError, match="fit it again without --published"):
        forecast_losses(fits, D=[512_000])


def test_where_the_loss_rises_with_the_size_no_size_reaches_less():
    """Wider is worse: the answer names the lowest loss, which is that of the smallest size, and no floor far above."""
    over_n = averages("power", (6.0, 0.1), D=LINE_D, N=[5_000_000]).rename(columns={"D": "N", "N": "D"})
    over_n = over_n.assign(D=20_000, val_loss_mean=np.linspace(4.0, 4.7, len(over_n)))
    fits = fit_study(over_n)
    (one,) = (row for row in forecast_targets(fits, target=3.5) if row.variable == "N")
    assert one.size is None
    assert one.verdict.startswith("unreachable: the loss rises with N, the lowest is ")
    assert one.floor == pytest.approx(4.0, abs=0.1)
