"""Choose among laws by how they extrapolate, weigh them into an ensemble, and say how wrong it will be.

The first criterion is the error at held-out larger sizes (:mod:`optiscale.laws.extrapolation`), among the laws that the
points support at all; AICc and BIC stand beside it in the table, and so does the last value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from optiscale.laws.calibration import calibrate, with_rule
from optiscale.laws.choice import Choice, Row
from optiscale.laws.extrapolation import LAST_VALUE, REACH, Holdout, largest_of, rolling_origins
from optiscale.laws.fit import FitOptions, fit_many, sigma_of
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.registry import LAWS
from optiscale.laws.result import LawFit
from optiscale.laws.support import beyond, falling, logs_of, supported, well_judged
from optiscale.laws.weighing import by_score, by_skill, one_vote, pick


def choose(
    points: Points,
    laws: Iterable[str] | None = None,
    *,
    options: FitOptions | None = None,
    noise: Noise | None = None,
    reach: float = REACH,
) -> Choice:
    """Fit the laws, hold out, choose.

    Parameters
    ----------
    points
        Mean losses.
    laws
        Names; all registered ones for these variables if not given.
    options
        How to fit.
    noise
        Scatter of a run, if known from more points than these.
    reach
        Factor in size by which the answer will be extrapolated; held-out points lie that far beyond each cut.
    """
    return choose_many([points], laws, options=options, noises=[noise], reach=reach)[0]


def choose_many(
    sets: Sequence[Points],
    laws: Iterable[str] | None = None,
    *,
    options: FitOptions | None = None,
    noises: Sequence[Noise | None] | None = None,
    reach: float = REACH,
) -> list[Choice]:
    """:func:`choose` for many sets of points of the same variables, which takes little longer than for one."""
    if not sets:
        return []
    options = options or FitOptions()
    kind = "1d" if "x" in sets[0].x else "2d"
    names = list(laws) if laws is not None else [name for name, law in LAWS.items() if law.kind == kind]
    given = list(noises) if noises is not None else [None] * len(sets)
    noise = [
        one if one is not None else estimate_noise(points, options.weights)
        for one, points in zip(given, sets, strict=True)
    ]
    fits = {name: fit_many(name, sets, options=options, noises=noise) for name in names}
    tables = rolling_origins(sets, names, options=options, noises=noise, reach=reach)
    return [
        _choose(
            points,
            {name: fits[name][i] for name in names},
            tables[i],
            noise=noise[i],
            scatter=_scatter(points, options, noise[i]),
            reach=reach,
        )
        for i, points in enumerate(sets)
    ]


def _scatter(points: Points, options: FitOptions, noise: Noise | None) -> float:
    weighed = sigma_of(points, options, noise)
    relative = weighed.sigma / points.loss
    return float(np.median(relative) if weighed.known else relative.min())  # the least is that at the largest sizes


def _choose(
    points: Points,
    fits: Mapping[str, LawFit],
    table: Mapping[str, Holdout],
    *,
    noise: Noise | None,
    scatter: float,
    reach: float,
) -> Choice:
    candidates, refused = falling(supported(fits), fits, points, reach)
    judged = well_judged({name: table[name] for name in candidates if name in table})
    best: str | None = None
    if judged:
        skills = {name: one.skill for name, one in judged.items()}
        windows = {name: min(one.independent, float(one.n_origins)) for name, one in judged.items()}
        weights = by_skill(skills, windows)
        others = ", ".join(name for name, fit in fits.items() if fit.fitted and name not in {*candidates, *refused})
        reason = f"; without support (BIC): {others}" if others else ""
        seldom = [name for name in candidates if name not in judged]
        reason += f"; held out too seldom: {', '.join(seldom)}" if seldom else ""
    else:
        ranked = {name: (float(fits[name].bic or 0.0), fits[name].k) for name in candidates}
        best = min(ranked, key=lambda name: ranked[name]) if ranked else None
        weights = by_score({name: bic for name, (bic, _) in ranked.items()})
        reason = "too few sizes to hold any out: the lowest BIC, and weights by BIC"
        if best is None:
            reason = next((fit.message for fit in fits.values()), "no law to fit")
    if refused:
        reason += f"; refused for rising beyond the points: {', '.join(refused)}"
    if weights:
        weights = one_vote(weights, logs_of(weights, fits, points, reach), scatter)
    rows = [_row(name, fits.get(name), table.get(name), weights.get(name, 0.0)) for name in [LAST_VALUE, *fits]]
    eligible = {name: one for name, one in table.items() if name == LAST_VALUE or _eligible(name, fits, refused)}
    # Maps did not overshoot where they were held out (docs/laws.md), and a share of one at most could only err below.
    calibration = calibrate(eligible, fits, noise, damp="x" in points.x)
    choice = Choice(
        best=best,
        reason=reason,
        table=tuple(rows),
        spread=calibration.spread,
        damping=calibration.damping,
        fits=dict(fits),
        largest=largest_of(points.x),
        noise=noise,
        scatter=scatter,
        refused=tuple(refused),
    )
    if judged:
        best = _simplest(choice, points, reach)
        reason = f"the simplest to go with the ensemble; {judged[best].skill:.2f} of the last value's held-out error"
        choice = replace(choice, best=best, reason=reason + choice.reason)
    return replace(choice, spread=with_rule(calibration, best))


def _simplest(choice: Choice, points: Points, reach: float) -> str:
    """Law to use: judged beyond the points, up to the reach."""
    x = beyond(points, reach)
    logs = {name: np.log(np.maximum(choice.fits[name].predict(**x), 1e-300)) for name in choice.weights}
    return pick(
        logs, np.log(choice.predict(law=None, **x)), {name: choice.fits[name].k for name in logs}, choice.scatter
    )


def _eligible(name: str, fits: Mapping[str, LawFit], refused: Sequence[str]) -> bool:
    return fits[name].fitted and name not in refused


def _row(name: str, fit: LawFit | None, held: Holdout | None, weight: float) -> Row:
    has = held is not None and held.n_origins > 0
    return Row(
        law=name,
        k=0 if fit is None else fit.k,
        aicc=None if fit is None else fit.aicc,
        bic=None if fit is None else fit.bic,
        redchi=None if fit is None else fit.redchi,
        rmsle=held.rmsle if held is not None and has else None,
        skill=held.skill if held is not None and has else None,
        origins=held.n_origins if held is not None else 0,
        weight=weight,
    )
