"""How well laws and the ways to choose among them extrapolate, on curves that nobody here made.

``python benchmarks/laws_extrapolation.py FOLDER`` reads the curves from FOLDER (scaling-curves: benchmark.lang.csv,
isoflops.csv, chinchilla_svg_extracted_data.csv, mace_learning.csv, nequip_learning.csv), fits to the smaller sizes,
predicts the larger ones, and writes ``benchmarks/results/laws_extrapolation.json``. Without the folder it says so and
ends. The metric is the root mean square of ln predicted - ln observed a task (RMSLE), then the mean over tasks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optiscale.io import write_json
from optiscale.laws import LAWS, FitOptions, LawFit, Points, choose_many, fit_law, fit_many
from optiscale.laws.choice import Choice, Row
from optiscale.laws.robust import HUBER_AT

Array = NDArray[np.float64]

RESULT = Path(__file__).parent / "results" / "laws_extrapolation.json"
LEVEL = 0.9
_SLOW = {"bnsl2"}  # nine parameters: more than most of these curves bear
_FILES = ("benchmark.lang.csv", "isoflops.csv", "chinchilla_svg_extracted_data.csv", "mace_learning.csv")
VARIANTS = {
    "Huber's cost": FitOptions(cost="huber"),
    "linear residuals": FitOptions(space="linear"),
    "small sizes count as much": FitOptions(weights="equal"),
}
ABLATIONS: dict[str, tuple[Callable[[Row], float], bool]] = {
    "the fall is not damped": (lambda row: row.weight, False),
    "equal weights, every law a vote": (lambda row: float(row.weight > 0), True),
    "weights by held-out error alone, every law a vote": (
        lambda row: float(row.skill or 1.0) ** -2 * (row.weight > 0),
        True,
    ),
}
"""What the weight of a law that has one would be without a part of the procedure, and whether the fall is damped."""
LEVEL_ERRORS = 1.05
_FEWEST = 20  # points of an isoflop experiment, on either side


@dataclass(frozen=True)
class Task:
    """Points to fit, and the sizes and ln losses to predict."""

    group: str
    name: str
    points: Points
    x: dict[str, Array]
    log_loss: Array


def language(folder: Path) -> Iterator[Task]:
    """Twenty tasks of arXiv:2209.06640, split as there; of points at one size the last counts."""
    frame = pd.read_csv(folder / "benchmark.lang.csv")
    for name, rows in frame.groupby(["Domain", "Task", "Model"]):
        train = rows[rows["Training"] == 1].drop_duplicates("Seen Examples", keep="last")
        test = rows[rows["Training"] == 0]
        points = Points({"x": train["Seen Examples"].to_numpy(float)}, train["Loss"].to_numpy(float))
        x = {"x": test["Seen Examples"].to_numpy(float)}
        yield Task(f"language {name[0]}", " ".join(name), points, x, np.log(test["Loss"].to_numpy(float)))


def isoflops(folder: Path) -> Iterator[Task]:
    """Fit the smaller half of the budgets, predict the larger ones."""
    frame = pd.read_csv(folder / "isoflops.csv")
    frame = frame[~frame["outlier"]]
    for name, rows in frame.groupby("experiment"):
        budgets = np.sort(rows["budget"].unique())
        limit = budgets[(len(budgets) + 1) // 2 - 1]
        train, test = rows[rows["budget"] <= limit], rows[rows["budget"] > limit]
        if min(len(train), len(test)) < _FEWEST:
            continue
        sizes = {"N": "params", "D": "tokens"}
        points = Points({key: train[column].to_numpy(float) for key, column in sizes.items()}, train["loss"].to_numpy())
        x = {key: test[column].to_numpy(float) for key, column in sizes.items()}
        yield Task("isoflops", str(name), points, x, np.log(test["loss"].to_numpy(float)))


def materials(folder: Path) -> Iterator[Task]:
    """Force errors of interatomic potentials: fit up to 250 structures, predict 500."""
    for kind in ("mace", "nequip"):
        frame = pd.read_csv(folder / f"{kind}_learning.csv")
        for name, rows in frame.groupby("model"):
            train, test = rows[rows["n"] <= 250].sort_values("n"), rows[rows["n"] > 250]
            points = Points({"x": train["n"].to_numpy(float)}, train["f"].to_numpy(float))
            x = {"x": test["n"].to_numpy(float)}
            yield Task(f"materials {kind}", str(name), points, x, np.log(test["f"].to_numpy(float)))


def last_value(task: Task) -> Array:
    """Log of the loss at the largest size; of a map, of the lowest loss."""
    points = task.points
    loss = points.loss[np.argmax(points.x["x"])] if "x" in points.x else points.loss.min()
    return np.full(len(task.log_loss), float(np.log(loss)))


def errors(task: Task, choice: Choice) -> dict[str, float]:
    """RMSLE by law and by rule of choice."""
    fits = {name: fit for name, fit in choice.fits.items() if fit.fitted}
    found = {"last value": _rmsle(last_value(task), task)} | _of_laws(task, fits)
    for rule in ("aicc", "bic"):
        ranked = {name: getattr(fit, rule) for name, fit in fits.items() if getattr(fit, rule) is not None}
        if ranked:
            found[f"pick: {rule.upper().replace('AICC', 'AICc')}"] = found[min(ranked, key=lambda name: ranked[name])]
    found["law to use"] = found[str(choice.best)]
    found["ensemble"] = _rmsle(np.log(choice.predict(**task.x)), task)
    return found


def _of_laws(task: Task, fits: Mapping[str, LawFit]) -> dict[str, float]:
    found = {name: np.maximum(fit.predict(**task.x), 1e-300) for name, fit in fits.items() if fit.fitted}
    return {name: _rmsle(np.log(loss), task) for name, loss in found.items()}


def _rmsle(log_loss: Array, task: Task) -> float:
    return float(np.sqrt(np.mean((log_loss - task.log_loss) ** 2)))


def coverage(task: Task, choice: Choice) -> dict[str, float]:
    """Share of the points within the nominal 90 % interval, and its half width in ln L."""
    found = {}
    for name, law in (("ensemble", None), ("law to use", choice.best)):
        low, high = choice.interval(level=LEVEL, law=law, **task.x)
        seen = np.exp(task.log_loss)
        found[name] = float(np.mean((low <= seen) & (seen <= high)))
        found[f"{name}, half width"] = float(np.median(np.log(high / low)) / 2.0)
    return found


def chinchilla_objective(folder: Path) -> dict[str, float]:
    """Sum of Huber(1e-3) of log residuals over the 240 points of arXiv:2404.10102, by law.

    Huber's cost of our engine turns at a fixed multiple of sigma; sigma is set so that this is 1e-3.
    """
    frame = pd.read_csv(folder / "chinchilla_svg_extracted_data.csv").sort_values("loss").iloc[:-5]
    n, c = frame["Model Size"].to_numpy(float), frame["Training FLOP"].to_numpy(float)
    points = Points({"N": n, "D": c / (6.0 * n)}, frame["loss"].to_numpy(float))
    sigma = 1e-3 / HUBER_AT
    scaled = Points(points.x, points.loss, sigma * points.loss, np.full(len(points), 3))
    found = {}
    for name in ("chinchilla", "coupled", "kaplan", "hoffmann", "coupled_broken"):
        fit = fit_law(name, scaled, options=FitOptions(weights="published", cost="huber"))
        size = np.abs(np.log(fit.predict(**points.x)) - np.log(points.loss))
        found[name] = float(np.sum(np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4))))
        if name == "chinchilla":
            print("   chinchilla:", {key: float(f"{value[0]:.4g}") for key, value in fit.params.items()})
    return found


def run(folder: Path) -> dict[str, Any]:
    """Fit every task and gather the tables."""
    result: dict[str, Any] = {"metric": "mean over tasks of RMSLE", "level": LEVEL}
    started = time.process_time()
    for kind, tasks, reach in (
        ("1d", [*language(folder), *materials(folder)], 2.0),
        ("2d", list(isoflops(folder)), 4.0),
    ):
        laws = [name for name, law in LAWS.items() if law.kind == kind and name not in _SLOW]
        choices = choose_many([task.points for task in tasks], laws, reach=reach)
        rows = [
            {"group": task.group, "task": task.name, "errors": errors(task, one), "coverage": coverage(task, one)}
            for task, one in zip(tasks, choices, strict=True)
        ]
        result[kind] = {"laws": laws, "tasks": rows, "reach": reach}
        result[kind]["variants"] = ablations(tasks, choices) | variants(tasks, laws, reach)
        result[kind]["without_priors"] = without_priors(tasks, laws)
    result["summary"] = summary([*result["1d"]["tasks"], *result["2d"]["tasks"]])
    result["chinchilla_objective"] = chinchilla_objective(folder)
    result["seconds"] = round(time.process_time() - started, 1)
    return result


def variants(tasks: Sequence[Task], laws: Sequence[str], reach: float) -> dict[str, dict[str, dict[str, float]]]:
    """Mean RMSLE of the ensemble and of the pick under other costs, residuals and weights, by variant and group."""
    found = {}
    for name, options in VARIANTS.items():
        choices = choose_many([task.points for task in tasks], laws, options=options, reach=reach)
        rows = []
        for task, one in zip(tasks, choices, strict=True):
            all_of_them = errors(task, one)
            rows.append(_only(task, {"ensemble": all_of_them["ensemble"], "pick": all_of_them["law to use"]}))
        found[name] = summary(rows)
    return found


def ablations(tasks: Sequence[Task], choices: Sequence[Choice]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean RMSLE without one part of the choice: the ensemble's, or of the law with the lowest held-out error."""
    found = {}
    for name, (weight, damped) in ABLATIONS.items():
        rows = []
        for task, choice in zip(tasks, choices, strict=True):
            weights = [weight(row) for row in choice.table]
            table = tuple(
                replace(row, weight=one / sum(weights)) for row, one in zip(choice.table, weights, strict=True)
            )
            other = replace(choice, table=table, damping=choice.damping if damped else 1.0)
            rows.append(_only(task, {"ensemble": _rmsle(np.log(other.predict(**task.x)), task)}))
        found[name] = summary(rows)
    picks = [_only(task, {"pick": _lowest(task, choice)}) for task, choice in zip(tasks, choices, strict=True)]
    return found | {"the law of the lowest held-out error": summary(picks)}


def _lowest(task: Task, choice: Choice) -> float:
    """Error of the law with the lowest held-out error, of those level with it that of fewest parameters."""
    rows = [row for row in choice.table if row.weight > 0]
    lowest = min(float(row.skill if row.skill is not None else np.inf) for row in rows)
    level = [row for row in rows if row.skill is not None and row.skill <= LEVEL_ERRORS * lowest]
    law = min(level, key=lambda row: row.k).law if level else choice.best
    return _rmsle(np.log(choice.predict(law=law, **task.x)), task)


def _only(task: Task, found: dict[str, float]) -> dict[str, Any]:
    return {"group": task.group, "errors": found, "coverage": {}}


def without_priors(tasks: Sequence[Task], laws: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean RMSLE of the same laws without their weak priors, by group and law: what these are for."""
    kept = {name: LAWS[name] for name in laws}
    try:
        LAWS.update({name: replace(law, priors={}) for name, law in kept.items()})
        fits = {name: fit_many(name, [task.points for task in tasks]) for name in laws}
        rows = [_only(task, _of_laws(task, {name: fits[name][i] for name in laws})) for i, task in enumerate(tasks)]
    finally:
        LAWS.update(kept)
    return summary(rows)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean over the tasks of each group, and over all language tasks."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
        if row["group"].startswith("language"):
            groups.setdefault("language", []).append(row)
    means = {}
    for group, members in groups.items():
        names = [name for name in members[0]["errors"] if all(name in row["errors"] for row in members)]
        means[group] = {name: round(float(np.mean([row["errors"][name] for row in members])), 4) for name in names}
        for name in members[0]["coverage"]:
            kind = name if "half" in name else f"{name}, coverage"
            means[group][kind] = round(float(np.mean([row["coverage"][name] for row in members])), 3)
    return means


def main(arguments: Sequence[str]) -> None:
    """Run on the folder given and print the summary."""
    folder = Path(arguments[0]) if arguments else Path("scaling-curves")
    if not all((folder / name).is_file() for name in _FILES):
        print(f"{folder}: no curves here; give the folder that has {', '.join(_FILES)}")
        return
    result = run(folder)
    write_json(RESULT, result)
    print(pd.DataFrame(result["summary"]).to_string())
    print(pd.Series(result["chinchilla_objective"]).to_string())
    print(f"{RESULT}: {result['seconds']} s")


if __name__ == "__main__":
    main(sys.argv[1:])
