"""Fit one law to one set of points, as a careful statistician would.

Residuals are differences of logarithms, weighed by the scatter of the seeds pooled over all points; many seeded starts;
errors that grow where seed noise does not explain the residuals. The protocol of arXiv:2602.05702 is in
:mod:`optiscale.laws.published`; why ours differs is in docs/laws.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.laws.correlation import design_effect
from optiscale.laws.diagnose import identifiability, near_optimal, stretch_of, verdict
from optiscale.laws.final import Final, final_descent
from optiscale.laws.points import WEIGHTS, Noise, Points, Weights, estimate_noise, smooth_scatter
from optiscale.laws.registry import Law, get_law
from optiscale.laws.result import Alternative, LawFit, aicc_of, bic_of, estimates, not_fitted, variables_of
from optiscale.laws.robust import COSTS, Cost
from optiscale.laws.search import Data, Found, Space, agreement, multi_start

Array = NDArray[np.float64]

NEAR_OPTIMAL = 4.0
"""Chi-square above the lowest within which other parameters count as near-optimal: two standard errors."""
DISCOUNT = 0.5 * float(np.log10(2.0))
"""Power of the size by which the deviation of a point falls where no seeds tell it: at a tenth of the size one counts
half. What is left there is mostly the law's own error, which matters the less the farther away it is made (discounted
least squares: R. G. Brown, "Smoothing, forecasting and prediction of discrete time series", 1962)."""
_MOST_ALTERNATIVES = 3
_FEW_STARTS, _MANY_STARTS, _ENOUGH_AGREE = 10, 24, 3
_SHARE_OF_N = 1e-3  # chi-square a point within which two starts found the same valley


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
        for name, known in (
            ("weights", WEIGHTS),
            ("space", ("log", "linear")),
            ("cost", COSTS),
        ):
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(known)}")


def fit_law(name: str, points: Points, *, options: FitOptions | None = None, noise: Noise | None = None) -> LawFit:
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
        The covariance is multiplied by the reduced chi-square where seeds do not explain the residuals or tell no
        scatter, where they do by that of seeds and residuals pooled, and by the design effect. With no more points than
        parameters there is no fit but a reason.
    """
    return fit_many(name, [points], options=options, noises=[noise])[0]


def fit_many(
    name: str,
    sets: Sequence[Points],
    *,
    options: FitOptions | None = None,
    noises: Sequence[Noise | None] | None = None,
) -> list[LawFit]:
    """Fit the law `name` to many sets of points at once, which takes little longer than to one.

    Parameters and returns as of :func:`fit_law`, a list each.
    """
    law, options = get_law(name), options or FitOptions()
    k = len(law.parameters)
    for points in sets:
        variables_of(law, points.x)
    given = list(noises) if noises is not None else [None] * len(sets)
    fits = [not_fitted(name, len(points), k, too_few(len(points), k)) for points in sets]
    usable = [i for i, points in enumerate(sets) if len(points) > k]
    if not usable:
        return fits
    noise = [given[i] if given[i] is not None else estimate_noise(sets[i], options.weights) for i in usable]
    sigmas = [sigma_of(sets[i], options, one) for i, one in zip(usable, noise, strict=True)]
    stacked = [(sets[i].x, sets[i].loss, one.sigma) for i, one in zip(usable, sigmas, strict=True)]
    data = Data.of(law, stacked, space=options.space, cost=options.cost)
    slack = np.array([_SHARE_OF_N * len(sets[i]) if one.known else 0.0 for i, one in zip(usable, sigmas, strict=True)])
    found = multi_start(data, slack, options.seed, few=_FEW_STARTS, many=_MANY_STARTS, enough=_ENOUGH_AGREE)
    for row, i in enumerate(usable):
        own = Data.of(law, [stacked[row]], space=options.space, cost=options.cost)
        ends = Found(found.values[row], found.cost[row], found.converged[row])
        fits[i] = _judge(law, sets[i], own, ends, float(slack[row]), sigmas[row], noise[row])
    return fits


def too_few(n: int, k: int) -> str:
    """Say why n points are no fit of k parameters."""
    return f"{n} points cannot fix {k} parameters: needs at least {k + 1}"


def _judge(
    law: Law, points: Points, data: Data, ends: Found, slack: float, sigma: Sigma, noise: Noise | None
) -> LawFit:
    """Turn the ends of the starts, values (s, k), into a fit with errors, criteria and notes."""
    n, k = len(points), len(law.parameters)
    tried = int(np.sum(np.isfinite(ends.values).all(axis=1)))
    if not np.isfinite(ends.cost).any():
        return not_fitted(law.name, n, k, f"none of {tried} starts gave a finite chi-square", n_starts=tried)
    best = int(np.argmin(ends.cost))
    last = final_descent(data, ends.values[best])
    values, chi2, held = last.values, last.chi2, last.held
    redchi = chi2 / (n - k)
    residuals = replace(data, cost="squares", prior=False).residuals()(values[None], np.array([0]))[0]
    effect = design_effect(points.x, residuals)
    stretch = effect * stretch_of(chi2, n, k, noise if sigma.known else None)
    covariance = None if last.covariance is None else last.covariance * stretch
    stderr = None if covariance is None else np.sqrt(np.diag(covariance))
    weighed = residuals * float(np.exp(np.log(sigma.sigma).mean()))  # weights of geometric mean one: the loss's unit
    notes = sigma.notes + verdict(law, points, residuals, redchi, k, noise if sigma.known else None)
    if effect > 1.0:
        notes += (f"residuals of neighbouring sizes go together: errors are {np.sqrt(effect):.1f} times as large",)
    notes += identifiability(law, points, values, stderr, held, last.condition)
    units = law.units(points.loss)
    others = _alternatives(ends, last, max(stretch, 1e-300), units)
    notes += near_optimal(law, values, others, units)
    limit = float(agreement(np.array([last.objective]), np.array([slack]))[0])
    return LawFit(
        law=law.name,
        params=estimates(law, values, stderr, tuple(np.array(law.parameters)[held])),
        covariance=None if covariance is None else tuple(tuple(float(v) for v in row) for row in covariance),
        aicc=aicc_of(weighed, k),
        bic=bic_of(weighed, k),
        chi2=chi2,
        redchi=redchi,
        effect=effect,
        n=n,
        k=k,
        n_starts=tried,
        n_agree=int(np.sum(ends.cost <= limit)),
        success=last.success,
        message="converged" if last.success else "stopped in a flat valley: the points do not fix every parameter",
        notes=notes,
        alternatives=others,
        noise=noise,
    )


@dataclass(frozen=True)
class Sigma:
    """Standard deviation of each mean, (n,), whether seeds tell it, and what to say about it.

    Where they do not, it is the loss times the scatter of the points about a smooth curve, and the residuals then set
    the errors; points of small sizes are discounted.
    """

    sigma: Array
    known: bool
    notes: tuple[str, ...] = ()


def sigma_of(points: Points, options: FitOptions, noise: Noise | None) -> Sigma:
    """Weigh the points as the options say."""
    notes: tuple[str, ...] = ()
    discount = np.ones(len(points))
    if options.weights == "published" and points.std is not None:
        unusable = int(np.sum(~(np.isfinite(points.std) & (points.std > 0))))
        if not unusable:
            return Sigma(points.std, known=True)
        notes = (f"{unusable} of {len(points)} standard deviations are zero or missing: all points weigh the same",)
    elif noise is not None and options.weights != "equal":
        return Sigma(noise.mean(points), known=True)
    elif options.weights != "equal":
        notes = ("no scatter of seeds to weigh by: the residuals set the errors, and a tenth of the size counts half",)
        log_size = np.log(points.size)
        discount = np.exp(-DISCOUNT * (log_size - log_size.mean()))
    scatter = smooth_scatter(points, robust=options.cost != "squares")
    return Sigma(points.loss * scatter * discount, known=False, notes=notes)


def _alternatives(ends: Found, best: Final, unit: float, units: Array) -> tuple[Alternative, ...]:
    """Near-optimal parameters that differ from the best and from each other by more than a twentieth in any."""
    kept = [best.values]
    found: list[Alternative] = []
    for i in np.argsort(ends.cost):
        delta = max(float(ends.cost[i]) - best.objective, 0.0) / unit
        if not delta <= NEAR_OPTIMAL or len(found) == _MOST_ALTERNATIVES:
            break
        one = ends.values[i]
        if all((np.abs(one - other) > 0.05 * np.maximum(np.abs(other), 0.2 * units)).any() for other in kept):
            kept.append(one)
            found.append(Alternative(values=tuple(float(v) for v in one), delta_chi2=delta))
    return tuple(found)
