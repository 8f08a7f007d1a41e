"""Fit one law to one set of points, as a careful statistician would.

Residuals are differences of logarithms, weighed by the scatter of the seeds pooled over all points; many seeded starts;
errors that grow where seed noise does not explain the residuals. The protocol of arXiv:2602.05702 is in
:mod:`optiscale.laws.published`; why ours differs is in docs/laws.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.laws.diagnose import identifiability, verdict
from optiscale.laws.engine import Cost, influence, jacobian
from optiscale.laws.points import WEIGHTS, Noise, Points, Weights, estimate_noise
from optiscale.laws.registry import Law, get_law
from optiscale.laws.result import Alternative, LawFit, aicc_of, bic_of, estimates, not_fitted, variables_of
from optiscale.laws.search import Data, Space, descend, draw_starts

Array = NDArray[np.float64]

AGREEMENT = 1e-3
"""Two starts found the same valley if chi-square differs by less than this share of it, or of n."""
NEAR_OPTIMAL = 4.0
"""Chi-square above the lowest within which other parameters count as near-optimal: two standard errors."""
_MOST_ALTERNATIVES = 3
_FEW_STARTS, _MANY_STARTS, _ENOUGH_AGREE = 10, 24, 3
_AT_BOUND = 1e-6
_SINGULAR = 1e-13


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How to fit.

    Parameters
    ----------
    weights
        Standard deviation of a mean: ``"pooled"`` (proportional to the loss, pooled over all points; the default),
        ``"pooled-absolute"`` (constant), ``"by-scale"`` (proportional to the loss times a power of the size),
        ``"published"`` (each point's own deviation, as in arXiv:2602.05702) or ``"equal"`` (proportional to the loss,
        its size from the residuals).
    space
        Residuals of the ``"log"`` of the losses or ``"linear"`` ones.
    cost
        ``"squares"``, ``"huber"`` (an outlier counts linearly) or ``"asymmetric"`` (a point above the law, which may be
        a run trained too short, counts little).
    seed
        Of the starts.
    """

    weights: Weights = "pooled"
    space: Space = "log"
    cost: Cost = "squares"
    seed: int = 20260205

    def __post_init__(self) -> None:
        for name, known in (("weights", WEIGHTS), ("space", ("log", "linear")), ("cost", ("squares", "huber", "asymmetric"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(known)}")


def fit_law(
    name: str, points: Points, *, options: FitOptions | None = None, noise: Noise | None = None
) -> LawFit:
    """Fit the law `name`.

    Parameters
    ----------
    name
        Key of the law.
    points
        Mean losses.
    options
        How to fit.
    noise
        Scatter of a run, if known from more points than these; estimated from them if not given.

    Returns
    -------
    LawFit
        The covariance is multiplied by the reduced chi-square where that exceeds one, and always where the seeds tell
        no scatter. With no more points than parameters there is no fit but a reason.
    """
    law, options = get_law(name), options or FitOptions()
    variables = variables_of(law, points.x)
    n, k = len(points), len(law.parameters)
    if n <= k:
        return not_fitted(name, n, k, f"{n} points cannot fix {k} parameters: needs at least {k + 1}")
    noise = noise if noise is not None else estimate_noise(points, options.weights)
    sigma, known, notes = sigma_of(points, options, noise)
    data = Data(law, variables, points.loss[None], sigma[None], options.space, options.cost)
    values, cost, converged = multi_start(data, options.seed, known=known)
    if not np.isfinite(cost).any():
        return not_fitted(name, n, k, f"none of {len(cost)} starts gave a finite chi-square", n_starts=len(cost))
    best = int(np.argmin(cost))
    stretch = cost[best] / (n - k) if not known else max(1.0, cost[best] / (n - k))
    held = at_bounds(law, values[best])
    covariance, condition = covariance_of(data, values[best], held)
    if covariance is not None:
        covariance = covariance * stretch
    stderr = None if covariance is None else np.sqrt(np.diag(covariance))
    residuals = data.residuals()(values[best][None], np.array([0]))[0]
    weighed = residuals * float(np.exp(np.log(sigma).mean()))  # weights of geometric mean one: the unit of the loss
    params = estimates(law, values[best], stderr, tuple(np.array(law.parameters)[held]))
    redchi = float(cost[best]) / (n - k)
    notes += verdict(law, points, residuals, redchi, k, noise if known else None)
    notes += identifiability(law, points, values[best], stderr, held, condition)
    others = _alternatives(values, cost, best, max(1.0, stretch) if known else max(stretch, 1e-300))
    return LawFit(
        law=law.name,
        params=params,
        covariance=None if covariance is None else tuple(tuple(float(v) for v in row) for row in covariance),
        aicc=aicc_of(weighed, k),
        bic=bic_of(weighed, k),
        chi2=float(cost[best]),
        redchi=redchi,
        n=n,
        k=k,
        n_starts=len(cost),
        n_agree=int(np.sum(cost <= cost[best] + _slack(cost[best], n, known))),
        success=bool(converged[best]),
        message="converged" if converged[best] else "stopped before it converged: the valley is flat",
        notes=notes,
        alternatives=others,
        noise=noise,
    )


def sigma_of(points: Points, options: FitOptions, noise: Noise | None) -> tuple[Array, bool, tuple[str, ...]]:
    """Standard deviation of each mean, (n,), whether it is known from seeds, and what to say about it.

    Where it is not known it is the loss itself times a constant that the residuals then set.
    """
    if options.weights == "published" and points.std is not None:
        unusable = int(np.sum(~(np.isfinite(points.std) & (points.std > 0))))
        if not unusable:
            return points.std, True, ()
        note = f"{unusable} of {len(points)} standard deviations are zero or missing: all points weigh the same"
        return points.loss, False, (note,)
    if noise is None:
        if options.weights == "equal":
            return points.loss, False, ()
        return points.loss, False, ("no scatter of seeds to weigh by: the residuals set the errors",)
    return noise.mean(points), True, ()


def multi_start(data: Data, seed: int, *, known: bool) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Starts of the first data set until three agree, or all: values (s, k), costs (s,), whether each converged (s,)."""
    rng = np.random.default_rng(seed)
    n = data.loss.shape[1]
    values, cost, converged = (out[0] for out in descend(data, draw_starts(data, 0, _FEW_STARTS, rng)[None]))
    lowest = cost.min()
    if np.isfinite(lowest) and np.sum(cost <= lowest + _slack(lowest, n, known)) >= _ENOUGH_AGREE:
        return values, cost, converged
    more = (out[0] for out in descend(data, draw_starts(data, 0, _MANY_STARTS, rng)[None]))
    pairs = zip((values, cost, converged), more, strict=True)
    values, cost, converged = (np.concatenate(pair) for pair in pairs)
    return values, cost, converged


def _slack(lowest: float, n: int, known: bool) -> float:
    return AGREEMENT * (max(float(lowest), float(n)) if known else float(lowest)) + 1e-12


def at_bounds(law: Law, values: Array) -> NDArray[np.bool_]:
    """Which parameters sit at a bound, (k,)."""
    low, high = law.limits()
    room = _AT_BOUND * np.maximum(1.0, np.where(np.isfinite(low), np.abs(low), 0.0))
    return (values <= low + room) | (values >= high - _AT_BOUND * np.maximum(1.0, np.where(np.isfinite(high), high, 0.0)))


def covariance_of(data: Data, values: Array, held: NDArray[np.bool_]) -> tuple[Array | None, float]:
    """Inverse of the curvature, (k, k), zero for what is held, and the condition number of the scaled slopes.

    None where the slopes do not fix every free parameter.
    """
    residuals, row = data.residuals(), np.array([0])
    here = residuals(values[None], row)
    slopes = jacobian(residuals, values[None], row)[0] * influence(here, data.cost)[0][:, None]
    free = np.flatnonzero(~held)
    full = np.zeros((len(values), len(values)))
    if not free.size:
        return full, 1.0
    part = slopes[:, free]
    size = np.sqrt(np.einsum("ni,ni->i", part, part))
    if not (np.isfinite(part).all() and (size > 0).all()):
        return None, float("inf")
    _, singular, rotation = np.linalg.svd(part / size, full_matrices=False)
    condition = float(singular[0] / max(singular[-1], np.finfo(float).tiny))
    if singular[-1] ** 2 < _SINGULAR * singular[0] ** 2:
        return None, condition
    full[np.ix_(free, free)] = (rotation.T / singular**2) @ rotation / (size[:, None] * size)
    return full, condition


def _alternatives(values: Array, cost: Array, best: int, unit: float) -> tuple[Alternative, ...]:
    """Near-optimal parameters that differ from the best and from each other by more than a twentieth in any."""
    kept = [values[best]]
    found = []
    for i in np.argsort(cost):
        delta = float(cost[i] - cost[best]) / unit
        if delta > NEAR_OPTIMAL or len(found) == _MOST_ALTERNATIVES:
            break
        if all((np.abs(values[i] - one) > 0.05 * np.maximum(np.abs(one), 0.2)).any() for one in kept):
            kept.append(values[i])
            found.append(Alternative(values=tuple(float(v) for v in values[i]), delta_chi2=delta))
    return tuple(found)
