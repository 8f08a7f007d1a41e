from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from advice.tables import BROKEN, FLOOR, LINE_D, MAP_D, MAP_N, averages, runs
from optiscale.advice import counted_cost, map_series, plan_next, series_to_plan
from optiscale.advice.answers import answer_of
from optiscale.advice.design import beliefs_of, further_noise, pick
from optiscale.errors import UserError
from optiscale.laws import fit_law, get_law, read_losses

COST = counted_cost()
COUPLED = (5.3, 4.6, 0.3, 0.18, 0.5, 0.3)
LAWS = ("coupled_broken", "kaplan")


def coupled(seed: int = 0) -> pd.DataFrame:
    return averages("coupled_broken", COUPLED, D=MAP_D, N=MAP_N, seed=seed)


@pytest.fixture(scope="module")
def corner():
    """The small half of a grid, whose break lies at D = 40k at its edge."""
    table = coupled()
    return map_series(table[(table["D"] <= 20_000) & (table["N"] <= 6_000_000)], laws=LAWS)


def test_the_predicted_interval_is_the_one_found_after_the_runs(corner):
    """The plan says by how much the interval of D_c will shrink; made, and fitted again, it does."""
    table = coupled()
    plan = plan_next(corner, COST, 1e13, ["D_c"], D=MAP_D, N=MAP_N, laws=LAWS)
    [expected] = plan.expected
    made = {(run.N, run.D) for run in plan.runs}
    have = {(n, d) for n, d in zip(corner.points["N"], corner.points["D"], strict=True)}
    after = table[[(n, d) in made | have for n, d in zip(table["N"], table["D"], strict=True)]]
    points = map_series(after, laws=LAWS).as_points()
    before = fit_law("coupled_broken", corner.as_points()).params["log10_Dc"][1]
    then = fit_law("coupled_broken", points).params["log10_Dc"][1]
    assert then < 0.7 * before
    assert expected.left == pytest.approx(then / before, abs=0.25)
    assert expected.low < expected.then_low < expected.value < expected.then_high < expected.high


def test_a_plan_keeps_to_its_budget_and_its_seeds(corner):
    plan = plan_next(corner, COST, 3e12, ["D_c", "a2"], D=MAP_D, N=MAP_N, laws=LAWS)
    assert plan.runs
    assert plan.spent <= 3e12
    assert plan.spent == pytest.approx(sum(float(COST(run.N, run.D)) for run in plan.runs))
    cells = pd.DataFrame([(run.N, run.D, run.seed) for run in plan.runs], columns=["N", "D", "seed"])
    assert not cells.duplicated().any()
    assert cells.groupby(["N", "D"]).size().max() <= 3
    old = set(zip(corner.points["N"], corner.points["D"], strict=True))
    assert not old & set(zip(cells["N"], cells["D"], strict=True))  # they have three seeds already
    assert plan.frame()["spent"].is_monotonic_increasing


def test_more_money_tells_more(corner):
    left = [
        plan_next(corner, COST, budget, ["D_c"], D=MAP_D, N=MAP_N).expected[0].left for budget in (1e12, 1e13, 1e14)
    ]
    assert left[0] > left[1] > left[2]


def test_the_plan_beats_random_plans_of_the_same_cost(corner):
    """Expected variance of D_c after runs that were picked, and after random ones: in the beliefs of the same draws."""
    n, d = (axis.ravel().astype(float) for axis in np.meshgrid(MAP_N, MAP_D))
    answers = [answer_of("D_c", corner)]
    beliefs = beliefs_of(corner, answers, n, d, laws=LAWS)
    price, budget = COST(n, d), 1e13
    done = np.where((n <= 6e6) & (d <= 2e4), 3.0, 0.0)
    best = float(pick(beliefs, price, done, budget, together=3).left[0])
    rng = np.random.default_rng(1)
    others = []
    for _ in range(40):
        allowed = [i for i in rng.permutation(len(n)) if done[i] == 0]
        kept = np.cumsum(3 * price[allowed]) <= budget
        others.append(left_after(beliefs, [i for i, keep in zip(allowed, kept, strict=True) if keep], done))
    assert best < np.quantile(others, 0.1)


def left_after(beliefs, cells: list[int], done: np.ndarray) -> float:
    """Variance of the answer after observing cells at once, by the formula for Gaussians."""
    if not cells:
        return 1.0
    noise = further_noise(beliefs, done, np.full(len(done), 3.0))[cells]
    rows = 1 + np.array(cells)
    block = beliefs.covariance[np.ix_(rows, rows)] + np.diag(noise)
    cross = beliefs.covariance[0, rows]
    return float(1 - cross @ np.linalg.solve(block, cross) / beliefs.covariance[0, 0])


def test_picks_leave_what_the_formula_for_gaussians_says(corner):
    n, d = (axis.ravel().astype(float) for axis in np.meshgrid(MAP_N, MAP_D))
    beliefs = beliefs_of(corner, [answer_of("D_c", corner)], n, d, laws=LAWS)
    done = np.zeros(len(n))
    picks = pick(beliefs, COST(n, d), done, 1e13, together=3)
    assert len(picks.cells) > 3
    assert float(picks.left[0]) == pytest.approx(left_after(beliefs, list(picks.cells), done), rel=1e-6)


def test_a_further_seed_of_a_cell_tells_less_than_a_new_cell(corner):
    n, d = corner.points["N"].to_numpy(float), corner.points["D"].to_numpy(float)
    beliefs = beliefs_of(corner, [answer_of("D_c", corner)], n, d, laws=LAWS)
    more = np.ones(len(n))
    first, second = further_noise(beliefs, 0 * more, more), further_noise(beliefs, more, more)
    assert first == pytest.approx(beliefs.run + beliefs.cell)
    assert (second >= first * (1 - 1e-9)).all()


def test_a_line_is_planned_and_its_seeds_are_those_of_the_study():
    table = read_losses(runs("broken", BROKEN, D=LINE_D[:6], N=[5_000_000]).replace({"seed": {3: 42}}))
    table = table[(table["D"] != 64_000) | (table["seed"] == 42)]
    [series] = series_to_plan(table)
    assert series.kind == "data"
    plan = plan_next(series, COST, 1e13, ["D_c"], made=table, D=LINE_D)
    assert {run.N for run in plan.runs} == {5_000_000}
    assert max(run.D for run in plan.runs) > 64_000
    assert next(run.seed for run in plan.runs if run.D == plan.runs[0].D) == 1
    assert not any(run.D == 64_000 and run.seed == 42 for run in plan.runs)


def test_a_loss_to_come_is_pinned_down_by_runs_towards_it():
    table = coupled()
    series = map_series(table[table["D"] <= 40_000], laws=LAWS)
    plan = plan_next(series, lambda N, D: np.ones_like(D), 6, ["loss@320000,20000000"], D=[80_000, 160_000])
    assert np.mean([run.D for run in plan.runs]) > 80_000
    truth = float(get_law("coupled_broken").function(2e7, 3.2e5, *COUPLED))
    assert plan.expected[0].low < truth < plan.expected[0].high


def test_a_study_whose_cells_have_their_seeds_needs_further_sizes(corner):
    plan = plan_next(corner, COST, 1e15, ["D_c"], laws=LAWS)
    assert plan.runs == ()
    assert "name further sizes" in plan.notes[0]


def test_answers_are_read(corner):
    assert answer_of("D_c", corner).is_length
    assert answer_of("alpha", corner).has("kaplan")
    assert answer_of("log10_Dc", corner).parameters == dict.fromkeys(LAWS, "log10_Dc")
    assert answer_of("loss@5,7", corner).at == {"D": 5, "N": 7}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"budget": 0.0}, "budget 0: must be a positive number"),
        ({"answers": []}, "say what the runs are to pin down"),
        ({"answers": ["zeta"]}, "no law fitted to .* has it: choose D_c, alpha, loss@D,N or one of"),
        ({"answers": ["loss@5"]}, "write loss@D,N, such as"),
        ({"answers": ["loss@a,b"]}, "write loss@D,N, such as"),
        ({"D": [-5]}, "D -5: a size must be positive"),
        ({"cost": lambda N, D: 0 * D}, "not a positive number"),
        ({"laws": ["power"]}, "no law that the points can fix gives D_c"),
    ],
)
def test_bad_questions_are_one_line(corner, asked, message):
    given = {"cost": COST, "budget": 1e13, "answers": ["D_c"], **asked}
    with pytest.raises(UserError, match=message) as caught:
        plan_next(corner, **given)
    assert "\n" not in str(caught.value)


def test_a_network_with_too_few_sizes_is_one_line():
    with pytest.raises(UserError, match="run three or more sizes"):
        list(series_to_plan(read_losses(runs("floor", FLOOR, D=[1000, 2000], N=[5], seed=1))))


def test_a_budget_for_nothing_is_said(corner):
    plan = plan_next(corner, COST, 1.0, ["D_c"], D=MAP_D, laws=LAWS)
    assert plan.runs == ()
    assert plan.notes[0].startswith("no run within the budget of 1: the cheapest costs")
