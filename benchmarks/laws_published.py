"""The published losses judged by held-out cells and seed noise: which law a study should use.

``python benchmarks/laws_published.py`` writes ``benchmarks/results/laws_published.json``; ``benchmarks/laws_docs.py``
puts it into docs/laws.md. Nothing is trained.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optiscale.io import write_json
from optiscale.laws import (
    FitOptions,
    LawFit,
    Noise,
    Points,
    average_seeds,
    bootstrap,
    choose,
    estimate_noise,
    fit_law,
    fit_published,
    fit_study,
    how_broken,
    load_published,
    profile,
    rolling_origin,
)
from optiscale.laws.compare import single_start_fit
from optiscale.laws.extrapolation import rolling_origins
from optiscale.laws.fit import sigma_of
from optiscale.laws.points import WEIGHTS, Weights
from optiscale.laws.registry import LAWS, get_law
from optiscale.laws.result import aicc_of
from optiscale.laws.search import Data, refit

Array = NDArray[np.float64]

RESULT = Path(__file__).parent / "results" / "laws_published.json"
NETWORKS = ("OptiMetal2B-CGC", "OptiMetal2B-TC", "OptiMetal3B-TC")
MAPS = [name for name, law in LAWS.items() if law.kind == "2d"]
LEVEL = 0.9


def points_of(study: str, model: str, variables: dict[str, str]) -> Points:
    """Points of one published study, ``variables`` from the law's names to the table's columns."""
    losses = load_published()
    rows = losses[(losses["study"] == study) & (losses["model"] == model)]
    x = {name: rows[column].to_numpy(float) for name, column in variables.items()}
    return Points(x, *(rows[name].to_numpy(float) for name in ("val_loss_mean", "val_loss_std", "n_seeds")))


def grid(model: str) -> Points:
    """Points of the published map of one network."""
    return points_of("grid-2d", model, {"N": "N", "D": "D"})


def noise_evidence(points: Points) -> dict[str, float]:
    """Leave-one-cell-out deviance of the seeds' variance, a cell: how well each way to pool predicts the next one's.

    The variance of three seeds is chi-square with two degrees of freedom around the true one.
    """
    seeds = points.n_seeds
    variance = np.asarray(points.std) ** 2 * seeds / (seeds - 1.0)
    found = {}
    for way in ("pooled", "pooled-absolute", "by-scale"):
        total = 0.0
        for i in range(len(points)):
            others = points.take(np.arange(len(points)) != i)
            noise = estimate_noise(others, way)
            expected = float(_run(noise, points)[i] ** 2)
            total += np.log(expected) + variance[i] / expected
        found[way] = float(total / len(points))
    return found


def _run(noise: Noise | None, points: Points) -> Array:
    assert noise is not None  # noqa: S101 - the published table has seeds
    return noise.run(points.loss, points.size)


def weights_evidence() -> list[dict[str, Any]]:
    """Held-out error of the same laws under every way to weigh and both kinds of residuals, mean over series."""
    frame = average_seeds(load_published())
    lines, noises = [], []
    for (study, _), rows in frame.groupby(["study", "model"]):
        whole = Points({"N": rows["N"], "D": rows["D"]}, rows["val_loss_mean"], rows["val_loss_std"], rows["n_seeds"])
        for along, fixed in (("D", "N"), ("N", "D")):
            for _, line in rows.groupby(fixed):
                if line[along].nunique() == 7:
                    lines.append(
                        Points({"x": line[along]}, line["val_loss_mean"], line["val_loss_std"], line["n_seeds"])
                    )
                    noises.append((study, whole))
    maps = [grid(model) for model in NETWORKS[1:]]
    table = []
    for weights in WEIGHTS:
        for space in ("log", "linear"):
            options = FitOptions(weights=weights, space=space)
            pooled = [_noise_of(whole, one, weights) for (_, whole), one in zip(noises, lines, strict=True)]
            row: dict[str, Any] = {"weights": weights, "residuals": space}
            for law in ("broken", "broken_amplitude"):
                tables = rolling_origins(lines, [law], options=options, noises=pooled)
                row[law] = float(np.nanmean([one[law].rmsle for one in tables]))
            for law in ("kaplan", "coupled_broken"):
                row[law] = float(np.mean([rolling_origin(one, [law], options=options)[law].rmsle for one in maps]))
            table.append(row)
    return table


def _noise_of(whole: Points, line: Points, weights: Weights) -> Noise | None:
    return estimate_noise(line if weights == "by-scale" else whole, weights)


def left_out_cells(points: Points, law: str, fit: LawFit) -> dict[str, float]:
    """Leave each cell out in turn: root mean square error in sigma of its mean, and in per cent."""
    definition = get_law(law)
    sigma = sigma_of(points, FitOptions(), fit.noise).sigma
    spread = np.where(np.eye(len(points), dtype=bool), np.inf, sigma)
    stacked = [np.broadcast_to(points.x[name], spread.shape) for name in definition.variables]
    data = Data(definition, stacked, np.broadcast_to(points.loss, spread.shape), spread)
    found = refit(data, np.tile(fit.values(), (len(points), 1)), iterations=100)
    predicted = np.array(
        [
            float(definition.function(*(points.x[name][i] for name in definition.variables), *parameters))
            for i, parameters in enumerate(found.values)
        ]
    )
    error = np.log(predicted / points.loss)
    return {
        "sigma": float(np.sqrt(np.mean((error * points.loss / sigma) ** 2))),
        "per_cent": float(100 * np.sqrt(np.mean(error**2))),
    }


def held_out_edges(points: Points, law: str | None) -> list[dict[str, Any]]:
    """Fit without the largest D, the largest N, and the two largest of both; predict them with a 90 % interval.

    `law` None is the choice made without them (ensemble).
    """
    d, n = points.x["D"], points.x["N"]
    top = {
        "largest D": d == d.max(),
        "largest N": n == n.max(),
        "two largest D": d >= np.unique(d)[-2],
        "two largest N": n >= np.unique(n)[-2],
    }
    rows = []
    for name, held in top.items():
        known, new = points.take(~held), points.take(held)
        choice = choose(known, MAPS, reach=4.0)
        predicted = choice.predict(law=law, **new.x)
        low, high = choice.interval(level=LEVEL, law=law, **new.x)
        seeds = 1.645 * np.asarray(choice.noise.mean(new)) if choice.noise is not None else 0.0
        half = np.hypot(np.log(high / low) / 2.0, seeds / new.loss)
        error = np.log(predicted / new.loss)
        rows.append(
            {
                "held_out": name,
                "law": law or f"ensemble (best: {choice.best})",
                "per_cent": float(100 * np.sqrt(np.mean(error**2))),
                "coverage": float(np.mean(np.abs(error) <= half)),
                "half_width_per_cent": float(100 * np.median(half)),
            }
        )
    return rows


def map_table(model: str) -> dict[str, Any]:
    """Every law of N and D on one published grid."""
    points = grid(model)
    choice = choose(points, MAPS)
    held = {row.law: row for row in choice.table}
    rows = []
    for law in MAPS:
        fit = choice.fits[law]
        linear = fit_law(law, points, options=FitOptions(space="linear"))
        residuals = points.loss - linear.predict(**points.x)
        row = {
            "law": law,
            "k": fit.k,
            "redchi": fit.redchi,
            "redchi_as_if_sigma_of_a_run": float(linear.redchi or 0) / 3.0,
            "aicc": fit.aicc,
            "bic": fit.bic,
            "aicc_unweighted_residuals": aicc_of(residuals, fit.k),
            "rolling_origin": held[law].rmsle,
            "left_out_cell": left_out_cells(points, law, fit),
            "verdict": fit.notes[0],
            "params": {name: list(pair) for name, pair in fit.params.items()},
        }
        if law in {"kaplan", "coupled_broken", "coupled_drift"}:
            names = [one for one in ("log10_Dc", "g", "d", "a1", "a2") if one in get_law(law).parameters]
            row["intervals"] = {one: profile(fit, points, one, level=LEVEL).to_dict() for one in names}
            row["edges"] = held_out_edges(points, law)
        rows.append(row)
    broken = how_broken(points, choice, draws=499)
    return {
        "laws": rows,
        "last_value": held["last value"].rmsle,
        "best": choice.best,
        "weights": choice.weights,
        "breaks": None if broken is None else broken.to_dict(),
        "edges_ensemble": held_out_edges(points, None),
        "noise": None if choice.noise is None else choice.noise.to_dict(),
        "noise_evidence": noise_evidence(points),
    }


def line_table(study: str, along: str) -> list[dict[str, Any]]:
    """Ask the one-dimensional studies about a break, under each form of it."""
    rows = []
    for model in NETWORKS:
        points = points_of(study, model, {"x": along})
        choice = choose(points)
        for law in ("broken", "broken_amplitude", "broken_floor"):
            found = how_broken(points, choice, broken=law, draws=499)
            if found is not None:
                fit = choice.fits[law]
                rows.append({"model": model, "redchi": fit.redchi, "chosen": choice.best, **found.to_dict()})
    return rows


def failed_fit() -> dict[str, float]:
    """Find where the optimiser of the published power law over N of 2B TC stopped, and the minimum."""
    points = points_of("parameter-1d", "OptiMetal2B-TC", {"x": "N"})
    fit = fit_published("power", points.x, points.loss, points.std)
    stalled = single_start_fit("parameter-1d", "OptiMetal2B-TC", "-27.99")
    a, aicc, chi2 = stalled if stalled is not None else (np.nan, np.nan, np.nan)
    return {
        "stalled_a": float(a),
        "stalled_aicc": float(aicc),
        "stalled_chi2": float(chi2),
        "a": fit.params["a"][0],
        "x0": fit.params["x0"][0],
        "aicc": float(fit.aicc or np.nan),
        "chi2": float(fit.chi2 or np.nan),
    }


def timed_study(losses: pd.DataFrame, kind: str) -> float:
    """Measure the processor seconds of a whole study: every law fitted, held out, tested for a break, bootstrapped.

    Of the grid only the two maps are bootstrapped; its 28 one-dimensional series are fitted and held out.
    """
    begun = time.process_time()
    for one in fit_study(average_seeds(losses)).series:
        if kind == "1d" or one.kind == "map":
            for fit in one.fits.values():
                if fit.fitted and fit.law != "bnsl2":
                    bootstrap(fit, one.as_points(), n=1000)
    return round(time.process_time() - begun, 1)


def main() -> None:
    """Write the result and print the maps."""
    started = time.process_time()
    result: dict[str, Any] = {"level": LEVEL, "maps": {model: map_table(model) for model in NETWORKS[1:]}}
    result["lines"] = {"data-1d": line_table("data-1d", "D"), "parameter-1d": line_table("parameter-1d", "N")}
    result["weights_evidence"] = weights_evidence()
    result["failed_fit"] = failed_fit()
    losses = load_published()
    for name, rows in (("1d", losses["study"] != "grid-2d"), ("2d", losses["study"] == "grid-2d")):
        result[f"seconds_{name}_study"] = timed_study(losses[rows], name)
    result["seconds"] = round(time.process_time() - started, 1)
    write_json(RESULT, result)
    for model, table in result["maps"].items():
        print(model, table["best"], table["noise_evidence"])
        print(pd.DataFrame(table["laws"]).drop(columns=["params", "intervals", "edges"]).to_string())
    print(pd.DataFrame(result["weights_evidence"]).to_string())
    print(f"{RESULT}: {result['seconds']} s")


if __name__ == "__main__":
    main()
