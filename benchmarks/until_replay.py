"""What `grid --until` saves, and whether its intervals can be believed, though it stops when they are narrow.

``python benchmarks/until_replay.py`` writes ``benchmarks/results/until_replay.json`` and fills the table of
``docs/sweeps.md``; ``--document`` does only this.

The published grids are run again, cell by cell: of each cell the publication gives mean and deviation of three runs,
and three losses with just these are revealed one by one. A run costs N D. The search ends when the 90 % interval of
D_c is as narrow as asked; its answer is compared with the fit of the whole grid. Beside it grids of a known law, whose
runs scatter by one per cent, in twenty draws of luck: how often does the interval hold the truth at the end?
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track

from optiscale.adaptive import Candidate, Finding, read_goal, search
from optiscale.advice import map_series
from optiscale.advice.answers import answer_of
from optiscale.advice.design import beliefs_of
from optiscale.advice.tables import number, span
from optiscale.io import atomic_write, read_json, write_json
from optiscale.laws import average_seeds, get_law, load_published
from optiscale.laws.uncertainty import LEVEL

RESULT = Path(__file__).parent / "results" / "until_replay.json"
PAGE = Path(__file__).parents[1] / "docs" / "sweeps.md"
GOALS = ("D_c ± 0.15 decades", "D_c ± 0.1 decades", "D_c ± 0.05 decades")
DRAWS = 20
SEEDS = (1, 2, 3)
TRUTH = {"log10_Nc": 5.0, "log10_Dc": np.log10(9000.0), "aN": 0.3, "a1": 0.2, "a2": 0.5, "g": 1.0}
D_SIZES = (1000, 2000, 4000, 8000, 16000, 32000, 64000)
N_SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)


class Grid:
    """Runs whose losses are known beforehand, and revealed when they are made.

    Parameters
    ----------
    runs
        A row a run with N, D, seed and val_loss.
    """

    def __init__(self, runs: pd.DataFrame) -> None:
        cost = runs["N"] * runs["D"] / float((runs["N"] * runs["D"]).sum())
        cells = [f"N{N}_D{D}_s{seed}" for N, D, seed in zip(runs["N"], runs["D"], runs["seed"], strict=True)]
        self.runs = runs.assign(cell=cells, study="grid", model="network", status="finished", wall_s=cost)
        self.made: list[str] = []

    def candidates(self) -> list[Candidate]:
        """Every run; the whole grid costs one."""
        return [Candidate(row.cell, row.model, row.N, row.D, row.wall_s) for row in self.runs.itertuples()]

    def run(self, wanted: Sequence[Candidate]) -> pd.DataFrame:
        """Reveal some."""
        self.made += [one.cell for one in wanted]
        return self.runs[self.runs["cell"].isin(self.made)]

    def search(self, goal: str) -> tuple[Finding, dict[str, Any]]:
        """Search from nothing."""
        self.made = []
        lines: list[str] = []
        [found] = search(read_goal(goal), self.candidates(), self.run, time_left=lambda: float("inf"), say=lines.append)
        spent = float(self.run([])["wall_s"].sum())
        return found, {"runs": len(self.made), "of": len(self.runs), "cost_share": spent, "rounds": len(lines) - 1}


def published() -> Iterator[tuple[str, Grid, pd.DataFrame]]:
    """Give each published grid, its runs made of mean and deviation."""
    averages = average_seeds(load_published())
    averages = averages[averages["study"] == "grid-2d"]
    apart = np.sqrt(1.5) * np.array([-1.0, 0.0, 1.0])  # three values with the mean 0 and the deviation 1
    chance = np.random.default_rng(0)
    for model, points in averages.groupby("model"):
        rows = [
            {"N": int(row.N), "D": int(row.D), "seed": seed, "val_loss": row.val_loss_mean + shift * row.val_loss_std}
            for row in points.itertuples()
            for seed, shift in zip(SEEDS, chance.permutation(apart), strict=True)
        ]
        yield str(model), Grid(pd.DataFrame(rows)), points


def whole_grid(points: pd.DataFrame) -> tuple[float, float, float]:
    """Interval of D_c from all cells."""
    series = map_series(points)
    answer = answer_of("D_c", series)
    n, d = (series.points[name].to_numpy(dtype=float) for name in ("N", "D"))
    drawn = beliefs_of(series, [answer], n, d).answers[:, 0]
    low, value, high = (answer.shown(float(q)) for q in np.quantile(drawn, [0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2]))
    return low, value, high


def made_up(draw: int) -> Grid:
    """Give a grid of the known law."""
    law = get_law("coupled_broken")
    values = [TRUTH[name] for name in law.parameters]
    chance = np.random.default_rng(100 + draw)
    rows = [
        {"N": N, "D": D, "seed": seed, "val_loss": float(law.function(float(N), float(D), *values)) * float(np.exp(e))}
        for N in N_SIZES
        for D in D_SIZES
        for seed, e in zip(SEEDS, 0.01 * chance.standard_normal(len(SEEDS)), strict=True)
    ]
    return Grid(pd.DataFrame(rows))


def measure() -> dict[str, Any]:
    """Replay everything."""
    begin = time.process_time()
    of_published = []
    for model, grid, points in published():
        whole = whole_grid(points)
        for goal in GOALS:
            found, spent = grid.search(goal)
            of_published.append({**vars(found), **spent, "model": model, "goal": goal, "whole": whole})
    of_truth = []
    for goal in GOALS[:2]:
        ends = [made_up(draw).search(goal) for draw in track(range(DRAWS), description=goal)]
        holds = [bool(found.low <= 10 ** TRUTH["log10_Dc"] <= found.high) for found, _ in ends]
        share = float(np.median([spent["cost_share"] for _, spent in ends]))
        met = sum(bool(found.met) for found, _ in ends)
        of_truth.append({"goal": goal, "draws": DRAWS, "met": met, "holds": sum(holds), "cost_share": share})
    found_all = {"published": of_published, "truth": of_truth, "cpu_s": time.process_time() - begin}
    plain: dict[str, Any] = json.loads(json.dumps(found_all, default=lambda value: value.item()))
    return plain


def page(result: dict[str, Any]) -> str:
    """Write the table."""
    names = ("grid", "asked for", "runs made", "cost, share of the grid", "D_c", "D_c of the whole grid")
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one in result["published"]:
        asked = one["goal"] if one["met"] else f"{one['goal']} (not met: {one['why']})"
        whole = f"{number(one['whole'][1])} {span(one['whole'][0], one['whole'][2])}"
        found = f"{number(one['value'])} {span(one['low'], one['high'])}"
        share = f"{100 * one['cost_share']:.{3 if one['cost_share'] > 0.99 else 2}g} %"
        rows.append(f"| {one['model']} | {asked} | {one['runs']} of {one['of']} | {share} | {found} | {whole} |")
    met = [one for one in result["published"] if one["met"]]
    away = [abs(float(np.log10(one["value"] / one["whole"][1]))) for one in met]
    near = sum(far <= read_goal(one["goal"]).width for far, one in zip(away, met, strict=True))
    inside = sum(one["low"] <= one["whole"][1] <= one["high"] for one in met)
    rows += [
        "",
        f"- published grids: met in {len(met)} of {len(result['published'])}; {near} of these answers lie within the "
        f"wanted width of the whole grid's, the farthest {max(away):.2f} decades from it; {inside} intervals hold it",
    ]
    rows.extend(
        f"- {one['draws']} grids of a known law, `{one['goal']}`: met in {one['met']}, for "
        f"{100 * one['cost_share']:.2g} % of the grid's cost (median); the 90 % interval held the truth in "
        f"{one['holds']}"
        for one in result["truth"]
    )
    rows.append(f"- {result['cpu_s']:.0f} s of one core")
    return "\n".join(rows)


def main() -> None:
    """Replay, write the numbers, fill the page."""
    if sys.argv[1:] != ["--document"]:
        write_json(RESULT, measure())
    begin, end = "<!-- until: begin -->", "<!-- until: end -->"
    text = PAGE.read_text(encoding="utf-8")
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    with atomic_write(PAGE, "w") as stream:
        stream.write(f"{before}\n{page(read_json(RESULT))}\n{after}")


if __name__ == "__main__":
    main()
