"""Is a stated error true? Every law sampled from known truth at several noise levels, many times.

``python benchmarks/laws_coverage.py`` writes ``benchmarks/results/laws_coverage.json``: for each law, noise and
parameter the bias over the stated error and how often the 90 % intervals hold the truth: those of the covariance, the
profile likelihood and the bootstrap over seeds; and for the forecast at twice the largest size, of the law itself and
of the ensemble that does not know which law made the points.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from laws.truths import TRUTH, sample

from optiscale.io import write_json
from optiscale.laws import LAWS, LawFit, Points, bootstrap, choose_many, fit_many, profile

RESULT = Path(__file__).parent / "results" / "laws_coverage.json"
LEVEL = 0.9
NOISES = (1e-3, 5e-3, 2e-2)
REPEATS = 40
PROFILED = 4
FORECASTS = 12
_POINTS = {"bnsl2": 60, "bnsl1": 30, "m4": 30}
_FORECAST = [name for name in TRUTH if name not in _POINTS]


def covered_by_covariance(fit: LawFit, name: str) -> list[float]:
    """Whether t times the standard error reaches the truth, a parameter; NaN where there is no error."""
    noise_dof = fit.noise.dof if fit.noise is not None else fit.n - fit.k
    dof = min(fit.n - fit.k, noise_dof) if float(fit.redchi or 0.0) > 1 else noise_dof
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, dof))
    held = []
    for one, truth in zip(LAWS[name].parameters, TRUTH[name], strict=True):
        value, error = fit.params[one]
        held.append(float("nan") if error is None else float(abs(value - truth) <= reach * error))
    return held


def covered_by_profile(fit: LawFit, points: Points, name: str) -> list[float]:
    """Whether the profile interval holds the truth, a parameter; an open end holds everything there."""
    held = []
    for one, truth in zip(LAWS[name].parameters, TRUTH[name], strict=True):
        found = profile(fit, points, one, level=LEVEL)
        above = found.low is None or found.low <= truth
        held.append(float(above and (found.high is None or truth <= found.high)))
    return held


def covered_by_bootstrap(fit: LawFit, points: Points, name: str) -> list[float]:
    """Whether the percentiles of the bootstrap over seeds hold the truth, a parameter."""
    drawn = bootstrap(fit, points, n=300)
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return [float(a <= t <= b) for a, t, b in zip(low, TRUTH[name], high, strict=True)]


def truth_of(name: str, relative: float) -> dict[str, Any]:
    """Bias and coverage of one law at one noise."""
    sets = [sample(name, seed=seed, n=_POINTS.get(name, 15), relative=relative) for seed in range(REPEATS)]
    fits = fit_many(name, sets)
    pulls = np.array(
        [
            [
                (fit.params[one][0] - truth) / (fit.params[one][1] or np.nan)
                for one, truth in zip(LAWS[name].parameters, TRUTH[name], strict=True)
            ]
            for fit in fits
        ]
    )
    some = list(zip(fits, sets, strict=True))[:PROFILED]
    return {
        "law": name,
        "noise": relative,
        "bias_over_error": dict(zip(LAWS[name].parameters, np.nanmedian(pulls, axis=0).round(2), strict=True)),
        "covariance": _mean([covered_by_covariance(fit, name) for fit in fits]),
        "profile": _mean([covered_by_profile(fit, points, name) for fit, points in some]),
        "bootstrap": _mean([covered_by_bootstrap(fit, points, name) for fit, points in some]),
        "redchi": round(float(np.mean([fit.redchi for fit in fits])), 2),
        "converged": round(float(np.mean([fit.success for fit in fits])), 2),
    }


def _mean(held: list[list[float]]) -> float:
    return round(float(np.nanmean(held)), 3)


def forecast_of(name: str, relative: float, repeats: int = FORECASTS) -> dict[str, Any]:
    """Coverage of the interval at twice the largest sizes: of the true law and of the ensemble of all laws."""
    law = LAWS[name]
    sets = [sample(name, seed=1000 + seed, n=9, relative=relative) for seed in range(repeats)]
    beyond = {one: np.array([2.0 * values.max()]) for one, values in sets[0].x.items()}
    truth = float(law.function(*beyond.values(), *TRUTH[name])[0])
    laws = [one for one, other in LAWS.items() if other.kind == law.kind and one != "bnsl2"]
    held: dict[str, list[bool]] = {"law": [], "chosen": [], "ensemble": []}
    errors: dict[str, list[float]] = {"law": [], "chosen": [], "ensemble": []}
    for choice in choose_many(sets, laws):
        for which, one in (("law", name), ("chosen", choice.best), ("ensemble", None)):
            low, high = choice.interval(level=LEVEL, law=one, **beyond)
            held[which].append(bool(low[0] <= truth <= high[0]))
            errors[which].append(float(np.log(choice.predict(law=one, **beyond)[0] / truth)))
    return {
        "law": name,
        "noise": relative,
        **{f"coverage_{which}": round(float(np.mean(one)), 3) for which, one in held.items()},
        **{f"rmsle_{which}": round(float(np.sqrt(np.mean(np.square(one)))), 5) for which, one in errors.items()},
    }


def _said(row: dict[str, Any]) -> dict[str, Any]:
    print(row, flush=True)
    return row


def main() -> None:
    """Run every law and write the result."""
    started = time.process_time()
    forecasts = [_said(forecast_of(name, relative)) for name in _FORECAST for relative in NOISES[1:]]
    truths = [_said(truth_of(name, relative)) for name in TRUTH for relative in NOISES]
    result = {
        "level": LEVEL,
        "repeats": REPEATS,
        "profiled": PROFILED,
        "truths": truths,
        "forecasts": forecasts,
        "mean": {
            key: round(float(np.mean([row[key] for row in truths])), 3)
            for key in ("covariance", "profile", "bootstrap")
        },
        "mean_forecast": {
            key: round(float(np.mean([row[key] for row in forecasts])), 3)
            for key in ("coverage_law", "coverage_chosen", "coverage_ensemble")
        },
        "forecast_repeats": FORECASTS,
        "seconds": round(time.process_time() - started, 1),
    }
    write_json(RESULT, result)
    print(result["mean"], result["mean_forecast"], f"{RESULT}: {result['seconds']} s")


if __name__ == "__main__":
    main()
