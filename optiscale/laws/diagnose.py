"""Say in words what a fit is worth: does seed noise explain the residuals, do the points fix the parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from optiscale.laws.points import Noise, Points
from optiscale.laws.registry import LOG_PREFIX, Law
from optiscale.laws.result import Alternative

Array = NDArray[np.float64]

ILL_CONDITIONED = 1e4
"""Condition number of the slopes, scaled to unit columns, above which parameters can hardly be told apart."""
UNDETERMINED = 3e6
"""The same, above which the points do not fix every parameter: the curvature has its square."""
SIGNIFICANT = 0.05
"""Probability below which seed noise does not explain the residuals."""
_AGAINST_RESIDUALS = 5
_DECADES_FOR_A_BREAK = 1.5
_DECADES_FOR_A_SLOPE = 1.0
_POINTS_BEYOND_A_BREAK = 2


def goodness_p(chi2: float, n: int, k: int, noise: Noise) -> float:
    """Probability of a chi-square this high by seed noise alone.

    An F test: the noise was itself estimated from `noise.dof` degrees of freedom.
    """
    return float(stats.f.sf(chi2 / (n - k), n - k, noise.dof))


def stretch_of(chi2: float, n: int, k: int, noise: Noise | None) -> float:
    """Factor on the variances that the weights say.

    The reduced chi-square where the residuals set the errors, because no seeds tell the scatter or because these do not
    explain the residuals. Where they do, both are estimates of one variance, and are pooled; but no law is exact, so
    that against residuals that are larger than their seeds say these count little.
    """
    seeds = _trusted(chi2, n, k, noise)
    return (seeds + chi2) / (seeds + max(n - k, 1))


def dof_of(chi2: float, n: int, k: int, effect: float, noise: Noise | None) -> float:
    """Degrees of freedom that the errors of :func:`stretch_of` are known to; those of residuals over their effect."""
    return _trusted(chi2, n, k, noise) + max(1.0, (n - k) / effect)


def _trusted(chi2: float, n: int, k: int, noise: Noise | None) -> float:
    """Degrees of freedom of the seeds that count beside those of the residuals."""
    if noise is None or not explained(chi2, n, k, noise):
        return 0.0
    return float(noise.dof if chi2 <= n - k else min(noise.dof, _AGAINST_RESIDUALS))


def explained(chi2: float, n: int, k: int, noise: Noise) -> bool:
    """Whether seed noise explains the residuals."""
    return goodness_p(chi2, n, k, noise) >= SIGNIFICANT


def verdict(law: Law, points: Points, residuals: Array, redchi: float, k: int, noise: Noise | None) -> tuple[str, ...]:
    """Judge the residuals, (n,) in standard deviations of the means."""
    n = len(points)
    if noise is None:
        return ()
    p = goodness_p(redchi * (n - k), n, k, noise)
    if p >= SIGNIFICANT:
        return (f"seed noise explains the residuals (reduced chi-square {redchi:.2f}, p = {p:.2g})",)
    by_size = residuals[np.argsort(points.size, kind="stable")]
    runs = int(np.sum(by_size[1:] * by_size[:-1] < 0)) + 1
    trend = ""
    if law.kind == "1d" and runs <= max(2, (n + 1) // 2 - 1):
        trend = f", and they keep their sign over neighbouring sizes ({runs} runs of sign in {n} points)"
    return (f"seed noise does not explain the residuals (reduced chi-square {redchi:.2f}, p = {p:.1g}){trend}",)


def identifiability(
    law: Law, points: Points, values: Array, stderr: Array | None, held: NDArray[np.bool_], condition: float
) -> tuple[str, ...]:
    """Warn of too few points, bounds, breaks outside the data, slopes that cannot be told apart, too short a range."""
    n, k = len(points), len(values)
    notes = []
    if n <= k + 1:
        notes.append(f"{n} points for {k} parameters: nothing is left to test the law with, and there is no AICc")
    notes += [
        f"{name} sits at its bound {value:g}: the points do not ask for it"
        for name, value, stuck in zip(law.parameters, values, held, strict=True)
        if stuck
    ]
    if stderr is None or condition > UNDETERMINED:
        notes.append("the points do not fix every parameter: trust the curve, and of the parameters only the profile")
    elif condition > ILL_CONDITIONED:
        notes.append(
            f"parameters can hardly be told apart (condition number {condition:.0e}): trust the curve, not them"
        )
    notes += _break_notes(law, points, values, stderr)
    for name in law.variables:
        decades = float(np.ptp(np.log10(points.x[name])))
        needed = _DECADES_FOR_A_BREAK if name in law.breaks.values() else _DECADES_FOR_A_SLOPE
        if decades < needed - 1e-9:
            notes.append(f"{decades:.1f} decades of {name}, where {needed:g} are needed to claim {_claim(law)}")
    return tuple(notes)


def near_optimal(law: Law, values: Array, others: Sequence[Alternative], units: Array) -> tuple[str, ...]:
    """Say which other minima the points can hardly tell from the best, by the parameter that differs most."""
    if not others:
        return ()
    found = np.array([values, *(one.values for one in others)])
    apart = np.ptp(found, axis=0) / np.maximum(np.abs(values), 0.2 * units)
    i = int(np.argmax(apart))
    rise = max(one.delta_chi2 for one in others)
    return (
        f"{len(others)} other {'minimum is' if len(others) == 1 else 'minima are'} nearly as good (chi-square within "
        f"{rise:.2g}): {law.parameters[i]} from {found[:, i].min():.3g} to {found[:, i].max():.3g}",
    )


def _claim(law: Law) -> str:
    return "a break" if law.breaks else "an exponent"


def _break_notes(law: Law, points: Points, values: Array, stderr: Array | None) -> list[str]:
    notes = []
    for name, variable in law.breaks.items():
        i = law.parameters.index(name)
        x, place = np.unique(points.x[variable]), float(np.clip(10.0 ** np.clip(values[i], -300, 300), 0, np.inf))
        plain = name.removeprefix(LOG_PREFIX)
        if not x[0] <= place <= x[-1]:
            notes.append(
                f"{plain} = {place:.3g} lies outside the points ({x[0]:.3g} to {x[-1]:.3g}): no break was seen"
            )
        else:
            fewest = int(min(np.sum(x < place), np.sum(x > place)))
            if fewest < _POINTS_BEYOND_A_BREAK:
                notes.append(f"only {fewest} size lies beyond {plain} = {place:.3g}: one slope rests on it")
        if stderr is not None and stderr[i] > 0.5:
            notes.append(f"{plain} is uncertain by a factor of {10.0 ** min(stderr[i], 9.0):.1f}")
    return notes
