"""The stopping of a search, on losses of a known law: no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from optiscale.adaptive import Candidate, Finding, read_goal, search
from optiscale.adaptive.goal import Goal
from optiscale.adaptive.network import Network
from optiscale.errors import UserError
from optiscale.laws import average_seeds, get_law, load_published

D_SIZES = (1000, 2000, 4000, 8000, 16000, 32000, 64000)
N_SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
TRUE_BREAK = 9000.0


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("D_c ± 0.1 decades", Goal("D_c", 0.1, "decades")),
        ("D_c+-0.1 decade", Goal("D_c", 0.1, "decades")),
        ("alpha +/- 0.02", Goal("alpha", 0.02, "")),
        ("a2 ± 5 %", Goal("a2", 5.0, "%")),
        ("loss@320000,8140195 ± 1%", Goal("loss@320000,8140195", 1.0, "%")),
    ],
)
def test_a_goal_is_an_answer_and_a_half_width(text: str, goal: Goal) -> None:
    assert read_goal(text) == goal


@pytest.mark.parametrize("text", ["", "D_c", "D_c ± ", "D_c ± 0", "D_c ± -1", "± 0.1", "D_c 0.1", "D_c ± 0.1 octaves"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"write an answer, ± \(or \+-\) and a positive half width") as error:
        read_goal(text)
    assert "\n" not in str(error.value)


def test_the_larger_half_of_an_interval_counts() -> None:
    assert Goal("D_c", 0.1, "decades").width_of(500, 1000, 10000) == pytest.approx(1.0)
    assert Goal("a", 1, "%").width_of(0.4, 0.5, 0.55) == pytest.approx(20.0)
    assert Goal("a", 1, "").width_of(0.4, 0.5, 0.55) == pytest.approx(0.1)
    assert np.isinf(Goal("D_c", 0.1, "decades").width_of(0, 1000, 2000))


class World:
    """Runs whose losses follow a law, and scatter by one per cent."""

    def __init__(self, law: str, parameters: dict[str, float], sizes: Sequence[int], widths: Sequence[int]) -> None:
        function = get_law(law)
        values = [parameters[name] for name in function.parameters]
        chance = np.random.default_rng(5)
        self.candidates, self.rows = [], {}
        for N in widths:
            for D in sizes:
                for seed in (1, 2, 3):
                    cell = f"N{N}_D{D}_s{seed}"
                    cost = 1e-9 * N * D
                    x = (float(N), float(D)) if function.kind == "2d" else (float(D),)
                    loss = float(function.function(*x, *values)) * float(np.exp(0.01 * chance.standard_normal()))
                    self.candidates.append(Candidate(cell, "2B", N, D, cost))
                    self.rows[cell] = {
                        "study": "synthetic",
                        "model": "2B",
                        "cell": cell,
                        "N": N,
                        "D": D,
                        "seed": seed,
                        "val_loss": loss,
                        "status": "finished",
                        "wall_s": cost,
                    }
        self.made: list[str] = []
        self.lines: list[str] = []

    def run(self, wanted: Sequence[Candidate]) -> pd.DataFrame:
        assert not {one.cell for one in wanted} & set(self.made), "no run is made twice"
        self.made += [one.cell for one in wanted]
        columns = [*next(iter(self.rows.values()))]
        return pd.DataFrame([self.rows[cell] for cell in self.made], columns=columns)

    def spent(self) -> float:
        return sum(float(self.rows[cell]["wall_s"]) for cell in self.made)

    def total(self) -> float:
        return sum(one.cost for one in self.candidates)

    def search(self, text: str, *, budget: float = np.inf, workers: int = 1) -> Finding:
        begin = self.spent()
        [finding] = search(
            read_goal(text),
            self.candidates,
            self.run,
            time_left=lambda: max(0.0, (budget - self.spent() + begin) / workers),
            workers=workers,
            say=self.lines.append,
        )
        return finding


def grid() -> World:
    true = {"log10_Nc": 5.0, "log10_Dc": np.log10(TRUE_BREAK), "aN": 0.3, "a1": 0.2, "a2": 0.5, "g": 1.0}
    return World("coupled_broken", true, D_SIZES, N_SIZES)


def test_a_search_ends_when_the_interval_is_narrow_enough() -> None:
    world = grid()
    finding = world.search("D_c ± 0.15 decades")
    assert finding.met
    assert finding.width <= 0.15
    assert finding.low < TRUE_BREAK < finding.high
    assert world.spent() < 0.6 * world.total(), "the dear cells that tell little are saved"
    assert {f"N{N}_D{D}_s1" for N in N_SIZES[:3] for D in D_SIZES[:3]} <= set(world.made[:18]), "the smallest first"
    assert "as wanted" in world.lines[-1]
    made = list(world.made)
    assert world.search("D_c ± 0.15 decades").met
    assert world.made == made, "a search that goes on finds that nothing is left to do"


def test_a_search_stops_at_its_budget_and_a_later_one_goes_on() -> None:
    world = grid()
    budget = 0.05 * world.total()
    first = world.search("D_c ± 0.02 decades", budget=budget, workers=2)
    assert not first.met
    assert first.why == "no run that is left fits into the time"
    assert world.spent() <= budget
    before = len(world.made)
    second = world.search("D_c ± 0.02 decades", budget=budget, workers=2)
    assert len(world.made) > before
    assert budget < world.spent() <= 2 * budget
    later = [world.search("D_c ± 0.02 decades", budget=budget, workers=2) for _ in range(2)]
    for found in (first, second, *later):
        assert found.low < TRUE_BREAK < found.high
    # a step may widen it, where more runs speak for another law; all of them together narrow it
    assert later[-1].width < 0.8 * first.width


def test_a_search_that_cannot_be_met_spends_the_grid_and_says_so() -> None:
    world = World("broken", {"log10_xc": 3.5, "a1": 0.2, "a2": 0.6}, D_SIZES[:5], [1000])
    finding = world.search("alpha ± 0.0001")
    assert not finding.met
    assert finding.why in ("every cell of the grid has been run", "no further run of the grid tells anything more")
    assert f"wanted ± 0.0001; {finding.why}" in world.lines[-1]
    at, before = (float(get_law("broken").function(size, 3.5, 0.2, 0.6)) for size in (16000.0, 16000.0 / 1.01))
    assert finding.low < np.log(before / at) / np.log(1.01) < finding.high


def test_a_run_without_a_loss_is_not_made_again() -> None:
    world = grid()
    for cell in ("N100000_D1000_s1", "N100000_D2000_s2"):
        world.rows[cell]["status"] = "failed"
    assert world.search("D_c ± 0.15 decades").met


def test_an_answer_that_no_law_has_is_refused_before_any_run() -> None:
    world = grid()
    for answer in ("D_x", "N_c", "Linf", "loss@10"):
        with pytest.raises(UserError, match=rf"no law of a map over N and D, as the grid of 2B is, has '{answer}'"):
            world.search(f"{answer} ± 0.1")
    line = World("power", {"log10_x0": 3.0, "a": 0.3}, D_SIZES, [1000])
    for answer in ("aN", "N_c", "loss@10,2000"):
        with pytest.raises(UserError, match=f"no law of a line over D, as the grid of 2B is, has '{answer}'"):
            line.search(f"{answer} ± 0.1")
    assert not world.made
    assert not line.made


def test_a_narrow_interval_that_hangs_on_one_size_is_not_the_answer() -> None:
    exact = grid()
    network = Network(read_goal("D_c ± 0.15 decades"), exact.candidates)
    network.learn(exact.run(exact.candidates))
    assert (network.met, network.hangs) == (True, "")
    averages = average_seeds(load_published())  # no law is exact for these, and the cheap cells agree on a break
    cells = averages[(averages["study"] == "grid-2d") & (averages["model"] == "OptiMetal3B-TC")]
    cells = cells.assign(cell=[f"N{row.N}_D{row.D}" for row in cells.itertuples()], wall_s=cells["N"] * cells["D"])
    cheap = cells.nsmallest(26, "wall_s").assign(seed=1, val_loss=cells["val_loss_mean"], status="finished")
    network = Network(
        read_goal("D_c ± 0.15 decades"),
        [Candidate(row.cell, row.model, row.N, row.D, row.wall_s) for row in cheap.itertuples()],
    )
    network.learn(cheap[["study", "model", "cell", "N", "D", "seed", "val_loss", "status", "wall_s"]])
    assert network.width <= 0.15, "narrow"
    assert network.hangs.startswith("it hangs on N = 291,827: ")
    assert not network.met
