"""Does `next` know what to run? The published grids run again, cell by cell, on a budget.

``python benchmarks/advice_replay.py`` writes ``benchmarks/results/advice_replay.json`` and ``docs/advice/replay.png``.

A replay begins with the nine smallest cells of a published grid (three D by three N, three seeds each) and may spend a
fraction of what the whole grid cost, in four rounds: an eighth, a quarter, a half, all of it. In each round the plan of
`optiscale next` for D_c, a1, a2 and aN is made from what is known, and the losses of its cells are revealed, all three
seeds at once (the publication gives their mean). Then the coupled broken map is fitted, and its D_c and exponents are
compared with those of the full grid, in standard errors of the full grid. Beside it: the cheapest cells first, and
random orders; both skip what the rest of the budget does not pay. Two costs: N D, the count of operations, and D, which
is what a run costs where loading the crystals sets the speed (as in the publication).

One grid is one draw of luck. So each set of cells is also judged by Fisher's information at the full grid's fit: the
standard errors that these cells can give, over those of the full grid. At sqrt(2) the answer of the part is expected to
differ from that of the whole by the whole's own error.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track
from scipy import stats

from optiscale.advice import map_series
from optiscale.advice.answers import answer_of
from optiscale.advice.design import beliefs_of, pick
from optiscale.figures.advice import draw_replay
from optiscale.io import write_json
from optiscale.laws import LawFit, Points, average_seeds, fit_law, fit_many, get_law, load_published

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

RESULT = Path(__file__).parent / "results" / "advice_replay.json"
PICTURE = Path(__file__).parents[1] / "docs" / "advice"
LAW = "coupled_broken"
LAWS = (LAW, "kaplan", "coupled_drift")
ANSWERS = ("D_c", "a1", "a2", "aN")
PARAMETERS = ("log10_Dc", "a1", "a2", "aN")
SEEDS = 3
START = 3
ROUNDS = (0.125, 0.25, 0.5, 1.0)
BUDGETS = tuple(float(f"{budget:.3g}") for budget in np.geomspace(0.01, 0.8, 16))
COSTS = {"N D": lambda grid: grid["N"] * grid["D"], "D": lambda grid: grid["D"]}
LEVEL = 0.9
ORDERS = 40
ENOUGH = float(np.sqrt(2.0))
_STEP = 1e-5


def grids() -> dict[str, pd.DataFrame]:
    """Averages of each network of the published two-dimensional study."""
    averages = average_seeds(load_published())
    study = averages[averages["study"] == "grid-2d"]
    return {str(model): rows.reset_index(drop=True) for model, rows in study.groupby("model")}


def points_of(grid: pd.DataFrame) -> Points:
    """Points of some cells."""
    renamed = grid.rename(columns={"val_loss_mean": "mean", "val_loss_std": "std"})
    return Points.from_frame(renamed, ("N", "D"))


def cost_share(grid: pd.DataFrame, cost: str) -> Array:
    """Cost of every cell as a share of the whole grid's, (n,)."""
    spent = COSTS[cost](grid).to_numpy(dtype=float)
    return np.asarray(spent / spent.sum())


def first_cells(grid: pd.DataFrame) -> Mask:
    """Cells with which every replay begins."""
    small = {name: np.sort(grid[name].unique())[START - 1] for name in ("D", "N")}
    return ((grid["D"] <= small["D"]) & (grid["N"] <= small["N"])).to_numpy()


def in_order(order: Sequence[int] | NDArray[np.intp], cost: Array, have: Mask, budget: float) -> Mask:
    """Take cells in the given order, leaving out what the rest of the budget does not pay."""
    have, spent = have.copy(), float(cost[have].sum())
    for i in order:
        if not have[i] and spent + cost[i] <= budget:
            have[i] = True
            spent += float(cost[i])
    return have


def advised(grid: pd.DataFrame, cost: Array, have: Mask, budget: float) -> Mask:
    """Take the cells that `next` asks for, in rounds with a fit before each."""
    have = have.copy()
    N, D = (grid[name].to_numpy(dtype=float) for name in ("N", "D"))
    for share in ROUNDS:
        left = budget * share - float(cost[have].sum())
        if left <= 0:
            continue
        series = map_series(grid[have], laws=LAWS)
        beliefs = beliefs_of(series, [answer_of(text, series) for text in ANSWERS], N, D)
        done = np.where(have, float(SEEDS), 0.0)
        have[list(pick(beliefs, cost / SEEDS, done, left, together=SEEDS, most_seeds=SEEDS).cells)] = True
    return have


def distances(grid: pd.DataFrame, masks: Sequence[Mask], values: Array, errors: Array) -> Array:
    """How far each set of cells leads from the given values, in the given errors, (sets, parameters)."""
    fits = fit_many(LAW, [points_of(grid[mask]) for mask in masks])
    found = np.array([[fit.params[name][0] for name in PARAMETERS] for fit in fits])
    return np.asarray((found - values) / errors)


def reference(fit: LawFit) -> tuple[Array, Array]:
    """Values and standard errors of the parameters compared, (4,) each."""
    pairs = [fit.params[name] for name in PARAMETERS]
    return np.array([value for value, _ in pairs]), np.array([error or np.nan for _, error in pairs])


def reached(sizes: Array, limit: float, budgets: Sequence[float]) -> float | None:
    """Smallest budget from which on sizes (budgets,) stay within the limit; None if there is none."""
    outside = np.flatnonzero(sizes > limit)
    after = 0 if not outside.size else int(outside[-1]) + 1
    return budgets[after] if after < len(budgets) else None


def replay(grid: pd.DataFrame, cost_name: str) -> dict[str, Any]:
    """All orders on one published grid with one cost."""
    cost, have = cost_share(grid, cost_name), first_cells(grid)
    fit = fit_law(LAW, points_of(grid))
    slopes = information(grid, fit)
    values, errors = reference(fit)
    limit = float(stats.t.ppf(0.5 + LEVEL / 2, fit.n - fit.k))
    budgets = [budget for budget in BUDGETS if budget > cost[have].sum()]
    cheapest = np.argsort(cost, kind="stable")
    rng = np.random.default_rng(20260205)
    orders = [rng.permutation(len(grid)) for _ in range(ORDERS)]
    sets = {
        "next": [advised(grid, cost, have, budget) for budget in track(budgets, f"next, cost {cost_name}")],
        "smallest first": [in_order(cheapest, cost, have, budget) for budget in budgets],
    }
    result: dict[str, Any] = {
        "start": float(cost[have].sum()),
        "budgets": budgets,
        "limit": limit,
        "full": {name: [float(v), float(e)] for name, v, e in zip(PARAMETERS, values, errors, strict=True)},
        "orders": {},
    }
    for name, masks in sets.items():
        found = distances(grid, masks, values, errors)
        ratios = np.array([error_ratio(slopes, mask) for mask in masks])
        result["orders"][name] = {
            "distances": found.round(3).tolist(),
            "rms": np.sqrt(np.mean(found**2, axis=1)).round(3).tolist(),
            "error": ratios.round(3).tolist(),
            "cells": [int(mask.sum()) for mask in masks],
            "reached": reached(np.abs(found).max(axis=1), limit, budgets),
            "expected": reached(ratios, ENOUGH, budgets),
        }
    knowing = [error_ratio(slopes, informed(slopes, cost, have, budget)) for budget in budgets]
    result["orders"]["informed"] = {
        "error": np.round(knowing, 3).tolist(),
        "expected": reached(np.array(knowing), ENOUGH, budgets),
    }
    drawn = [[in_order(order, cost, have, budget) for budget in budgets] for order in orders]
    random = [distances(grid, masks, values, errors) for masks in track(drawn, "random orders")]
    ratios = np.array([[error_ratio(slopes, mask) for mask in masks] for masks in drawn])
    by_name = {"rms": np.sqrt(np.mean(np.square(random), axis=2)), "error": ratios}
    quartiles = {name: np.quantile(found, [0.25, 0.5, 0.75], axis=0).round(3) for name, found in by_name.items()}
    ends = [reached(np.abs(one).max(axis=1), limit, budgets) for one in random]
    result["orders"]["random"] = {
        **{name: found[1].tolist() for name, found in quartiles.items()},
        **{f"{name}_quartiles": [found[0].tolist(), found[2].tolist()] for name, found in quartiles.items()},
        "reached": _median([_infinite(end) for end in ends]),
        "expected": _median([_infinite(reached(one, ENOUGH, budgets)) for one in ratios]),
        "as_early_as_next": float(np.mean([_not_later(end, result["orders"]["next"]["reached"]) for end in ends])),
    }
    return result


def _infinite(end: float | None) -> float:
    return float("inf") if end is None else end


def _median(values: Sequence[float]) -> float | None:
    middle = float(np.median(values))
    return middle if np.isfinite(middle) else None


def _not_later(end: float | None, other: float | None) -> bool:
    return other is None or (end is not None and end <= other)


def information(grid: pd.DataFrame, fit: LawFit) -> Array:
    """Differentiate ln L of every cell by the law's parameters at a fit, (n, k)."""
    law, values = get_law(LAW), fit.values()
    sizes = [grid[name].to_numpy(dtype=float) for name in law.variables]
    steps = _STEP * np.eye(len(values))
    return np.stack(
        [
            np.log(law.function(*sizes, *(values + h)) / law.function(*sizes, *(values - h))) / (2 * _STEP)
            for h in steps
        ],
        axis=1,
    )


def error_ratio(slopes: Array, mask: Mask) -> float:
    """Root mean square, over the parameters compared, of the standard error of some cells over that of all."""
    which = [get_law(LAW).parameters.index(name) for name in PARAMETERS]
    part, whole = (np.diag(np.linalg.pinv(rows.T @ rows))[which] for rows in (slopes[mask], slopes))
    return float(np.sqrt(np.mean(part / whole)))


def informed(slopes: Array, cost: Array, have: Mask, budget: float) -> Mask:
    """Take cells greedily by Fisher's information at the full grid's fit, which nobody has beforehand."""
    which = [get_law(LAW).parameters.index(name) for name in PARAMETERS]
    scale = 1.0 / np.linalg.norm(slopes, axis=0)  # the parameters' units differ by decades
    rows = slopes * scale
    taken = []
    for power in (0.0, 0.5, 1.0):
        mine, left = have.copy(), budget - float(cost[have].sum())
        while (open_ := ~mine & (cost <= left)).any():
            covariance = np.linalg.inv(rows[mine].T @ rows[mine] + 1e-12 * np.eye(rows.shape[1]))
            along = rows @ covariance
            noise = 1.0 + np.einsum("ni,ni->n", along, rows)
            told = (along[:, which] ** 2 / noise[:, None] / np.diag(covariance)[which]).mean(axis=1)
            best = int(np.argmax(np.where(open_, told / cost**power, -np.inf)))
            mine[best] = True
            left -= float(cost[best])
        taken.append(mine)
    return min(taken, key=lambda mask: error_ratio(slopes, mask))


def main() -> None:
    """Replay, write the result, draw it."""
    started = time.process_time()
    known = grids()
    result: dict[str, Any] = {
        "law": LAW,
        "laws": list(LAWS),
        "answers": list(ANSWERS),
        "level": LEVEL,
        "rounds": list(ROUNDS),
        "random_orders": ORDERS,
        "enough": ENOUGH,
        "published": {model: {cost: replay(grid, cost) for cost in COSTS} for model, grid in known.items()},
    }
    result["cpu_seconds"] = round(time.process_time() - started)
    write_json(RESULT, result)
    draw_replay(result, PICTURE, "replay")
    print(f"{RESULT}: {result['cpu_seconds']} s of one core")


if __name__ == "__main__":
    main()
