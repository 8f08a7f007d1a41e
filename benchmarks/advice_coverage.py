"""Do the intervals of the advice hold the truth? Known laws sampled, fitted without being told which, and asked.

``python benchmarks/advice_coverage.py`` writes ``benchmarks/results/advice_coverage.json``: for each true law how often
the 90 % intervals hold the true loss at twice the largest size, a new run there, the size that reaches a loss, the fall
of the loss by 10,000 more materials, the floor, and for maps the best N, D and loss of a budget; and how far the answer
itself is off (median).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.optimize import minimize_scalar

from optiscale.advice import (
    counted_cost,
    forecast_gains,
    forecast_losses,
    forecast_targets,
    frontier,
    map_series,
)
from optiscale.io import write_json
from optiscale.laws import StudyFits, average_seeds, fit_study, get_law, read_losses

RESULT = Path(__file__).parent / "results" / "advice_coverage.json"
LEVEL, RELATIVE, SETS = 0.9, 5e-3, 20
FAR, TARGET_AT, BUDGET = 2.0, 3.0, 1e12
N_OF_LINES = 5_000_000
LINE_D = tuple(2_000 * 2**i for i in range(8))
MAP_D = (2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000)
MAP_N = (200_000, 600_000, 2_000_000, 6_000_000, 20_000_000)
LINES = {
    "floor": (4.4, 0.5, 0.4),
    "broken": (4.7, 0.15, 0.42),
    "broken_amplitude": (4.6, 0.15, 0.45, 0.8),
    "broken_floor": (4.6, 0.15, 0.9, 0.8, 0.3),
}
MAPS = {
    "chinchilla": (2.0, 1.5, 0.4, 0.35, 0.4),
    "kaplan": (5.3, 4.5, 0.3, 0.2, 0.4),
    "coupled_broken": (5.3, 4.6, 0.3, 0.18, 0.5, 0.3),
}


def averages(law: str, values: tuple[float, ...], seed: int) -> pd.DataFrame:
    """Three runs a cell of a true law, averaged."""
    rng = np.random.default_rng(seed)
    cells = [(N_OF_LINES, d) for d in LINE_D] if law in LINES else [(n, d) for n in MAP_N for d in MAP_D]
    rows = [
        {
            "model": f"net {seed}",
            "N": n,
            "D": d,
            "seed": s,
            "val_loss": truth(law, values, n, d) * rng.lognormal(0, RELATIVE),
        }
        for n, d in cells
        for s in (1, 2, 3)
    ]
    return average_seeds(read_losses(pd.DataFrame(rows)))


def truth(law: str, values: tuple[float, ...], N: float, D: float) -> float:
    """Loss of the true law."""
    sizes = (D,) if law in LINES else (N, D)
    return float(get_law(law).function(*map(np.float64, sizes), *values))


def asked(
    fits: StudyFits, law: str, values: tuple[float, ...], N: int, largest: int
) -> dict[str, list[tuple[bool, float]]]:
    """Whether each interval holds and how far each answer is off (ln answer / truth), a network each."""
    rng = np.random.default_rng(7)
    far, goal = int(FAR * largest), int(TARGET_AT * largest)
    target = truth(law, values, N, goal)
    fall = truth(law, values, N, largest) - truth(law, values, N, largest + 10_000)
    floor = truth(law, values, N, 1e60)
    mean = truth(law, values, N, far)
    found: dict[str, list[tuple[bool, float]]] = {}

    def note(name: str, low: float | None, high: float | None, true: float, value: float | None) -> None:
        held = (low is not None or high is not None) and (low or 0.0) <= true and (high is None or true <= high)
        found.setdefault(name, []).append((held, float("inf") if not value else float(np.log(value / true))))

    for loss in forecast_losses(fits, D=[far], N=[N]):
        note("loss", loss.low, loss.high, mean, loss.loss)
        note("new run", loss.run_low, loss.run_high, mean * rng.lognormal(0, RELATIVE), loss.loss)
    for size in forecast_targets(fits, target, N=[N]):
        if size.variable == "D":
            note("size that reaches a loss", size.low, size.high, goal, size.size)
            if floor > 1e-6:
                note("floor", size.floor_low, size.floor_high, floor, size.floor)
    for gain in forecast_gains(fits, D=[largest], N=[N]):
        note("gain of 10,000 more", gain.low, gain.high, fall, gain.gain)
    return found


def best_sizes(law: str, values: tuple[float, ...], budget: float) -> tuple[float, float]:
    """Best N and D of the true law for a budget of 6 N D."""
    found = minimize_scalar(
        lambda log_n: truth(law, values, np.exp(log_n), budget / 6 / np.exp(log_n)), bounds=(np.log(1e4), np.log(1e9)),
        method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x)), float(budget / 6 / np.exp(found.x))


def rows_of(law: str, values: tuple[float, ...]) -> list[dict[str, Any]]:
    """One row an answer of one true law."""
    tables = [averages(law, values, seed) for seed in range(SETS)]
    if law in LINES:
        fits = fit_study(pd.concat(tables, ignore_index=True))
        found = asked(fits, law, values, N_OF_LINES, LINE_D[-1])
    else:
        series = [map_series(table, model=f"net {i}") for i, table in enumerate(tables)]
        found = asked(StudyFits(series=series), law, values, MAP_N[-2], MAP_D[-1])
        N, D = best_sizes(law, values, BUDGET)
        for one in series:
            [point] = frontier(one, counted_cost(), [BUDGET]).points
            loss = truth(law, values, N, D)
            for name, low, high, true, value in (
                ("best N", point.N_low, point.N_high, N, point.N),
                ("best D", point.D_low, point.D_high, D, point.D),
                ("loss at the best", point.low, point.high, loss, point.loss),
            ):
                held = (low is None or low <= true) and (high is None or true <= high)
                found.setdefault(name, []).append((held, float(np.log(value / true))))
    return [
        {
            "law": law,
            "answer": name,
            "coverage": round(float(np.mean([held for held, _ in pairs])), 3),
            "off": round(float(np.median([abs(off) for _, off in pairs])), 5),
            "sets": len(pairs),
        }
        for name, pairs in found.items()
    ]


def main() -> None:
    """Ask everything of every law and write the result."""
    started = time.process_time()
    rows = [row for law, values in track({**LINES, **MAPS}.items(), "laws") for row in rows_of(law, values)]
    result = {"level": LEVEL, "relative": RELATIVE, "rows": rows, "cpu_seconds": round(time.process_time() - started)}
    write_json(RESULT, result)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
