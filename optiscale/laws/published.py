"""Fit one law as arXiv:2602.05702 did, so that its tables come out to the last printed digit.

Weighted least squares (Levenberg-Marquardt) from several seeded starts around the law's own guess; the lowest
chi-square wins, lmfit refines it and gives the errors, and the fit says how many starts found it. Weights, covariance
and AICc follow arXiv:2602.05702.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import leastsq

from optiscale.errors import UserError
from optiscale.laws.registry import LOG_PREFIX, Law, get_law
from optiscale.laws.result import LawFit, aicc_of, bic_of, estimates, not_fitted, variables_of

if TYPE_CHECKING:
    import lmfit

Array = NDArray[np.float64]

N_STARTS = 12
_SEED = 20260205
_AGREEMENT = 1e-3  # two starts found the same valley if chi-square differs by less than this share of it, or of n
_TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12}
_MAX_EVALUATIONS = 4000
_MAX_EVALUATIONS_A_START = 800


def fit_published(name: str, x: Mapping[str, ArrayLike], loss: ArrayLike, std: ArrayLike | None) -> LawFit:
    """Fit the law `name` to mean losses, weighted by 1 / std.

    Parameters
    ----------
    name
        Key of the law.
    x
        ``{"x": …}`` for a law of one variable, ``{"N": …, "D": …}`` for a map; each of shape (n,), > 0.
    loss
        Mean validation loss over seeds, (n,), > 0.
    std
        Its population standard deviation over seeds (ddof = 0), (n,). None, or any value that is zero or not finite,
        gives every point the same weight, which the fit notes.

    Returns
    -------
    LawFit
        In one dimension the covariance is scaled by the reduced chi-square; for a map `std` is taken as absolute. With
        no more points than parameters there is no fit but a reason.

    Raises
    ------
    UserError
        If the arrays do not match or hold values that no law can take.
    """
    law = get_law(name)
    variables = variables_of(law, x)
    loss = np.asarray(loss, dtype=float)
    _check(law, variables, loss)
    n, k = loss.size, len(law.parameters)
    if n <= k:
        return not_fitted(name, n, k, f"{n} points cannot fix {k} parameters: needs at least {k + 1}")
    weights, notes = _weights(loss, std)
    scale_covar = law.kind == "1d" or weights is None
    model, by_name = law.model(), dict(zip(law.variables, variables, strict=True))
    params = model.guess(loss, **by_name)
    starts = _starts(law, np.array([params[name].value for name in law.parameters]))
    found = [_descend(law, variables, loss, weights, params, start) for start in starts]
    best_chi2, best = min(found, key=lambda pair: pair[0])
    if not np.isfinite(best_chi2):
        return not_fitted(name, n, k, f"none of {len(starts)} starts gave a finite chi-square", n_starts=len(starts))
    slack = _AGREEMENT * (best_chi2 if weights is None else max(best_chi2, float(n)))
    agree = sum(chi2 <= best_chi2 + slack for chi2, _ in found)
    for one, value in zip(law.parameters, best, strict=True):
        params[one].set(value=float(value))
    notes += tuple(f"{one} sits at its bound {params[one].value:g}" for one in _hold_at_bounds(law, params))
    final = model.fit(
        loss,
        params,
        weights=weights,
        scale_covar=scale_covar,
        max_nfev=_MAX_EVALUATIONS,
        fit_kws=_TOLERANCES,
        **by_name,
    )
    return _collect(law, loss, final, n_starts=len(starts), n_agree=agree, notes=notes)


def _check(law: Law, variables: list[Array], loss: Array) -> None:
    for name, array in [*zip(law.variables, variables, strict=True), ("loss", loss)]:
        if array.ndim != 1 or array.shape != loss.shape:
            raise UserError(f"{name} has shape {array.shape}, loss has {loss.shape}: give one value a point")
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise UserError(f"{name} holds a value that is not a positive number: remove that point")


def _weights(loss: Array, std: ArrayLike | None) -> tuple[Array | None, tuple[str, ...]]:
    """1 / std, or None for equal weights together with the reason."""
    if std is None:
        return None, ("no standard deviations: every point has the same weight and chi-square has the unit of loss^2",)
    std = np.asarray(std, dtype=float)
    if std.shape != loss.shape:
        raise UserError(f"std has shape {std.shape}, loss has {loss.shape}: give one value a point")
    unusable = int(np.sum(~(np.isfinite(std) & (std > 0))))
    if unusable:
        return None, (
            f"{unusable} of {std.size} standard deviations are zero or missing (a single seed?): "
            "every point has the same weight and chi-square has the unit of loss^2",
        )
    return 1.0 / std, ()


def _starts(law: Law, guess: Array) -> list[Array]:
    """Scatter seeded starts around the guess: lengths within a decade or so, the rest within a factor of about two."""
    rng = np.random.default_rng(_SEED)
    is_log = np.array([name.startswith(LOG_PREFIX) for name in law.parameters])
    low, high = np.array([law.bounds.get(name, (-np.inf, np.inf)) for name in law.parameters]).T
    starts = [guess]
    while len(starts) < N_STARTS:
        spread = rng.normal(0.0, 0.5, size=len(guess))
        other = guess * np.exp(spread) + rng.normal(0.0, 0.02, size=len(guess))
        starts.append(np.clip(np.where(is_log, guess + spread, other), low, high))
    return starts


def _descend(
    law: Law, variables: list[Array], loss: Array, weights: Array | None, params: lmfit.Parameters, start: Array
) -> tuple[float, Array]:
    """Lowest chi-square reached from one start (infinite if there is none), and the parameters there, (k,).

    The minimiser and the mapping of bounds are lmfit's; its bookkeeping, which takes ten times as long as the search
    itself, is left to the one final fit.
    """
    scale = 1.0 if weights is None else weights
    free = [params[name] for name in law.parameters]
    for one, value in zip(free, start, strict=True):
        one.set(value=float(value))
    internal = [one.setup_bounds() for one in free]

    def values(point: Array) -> Array:
        return np.array([one.from_internal(value) for one, value in zip(free, point, strict=True)], dtype=float)

    def residual(point: Array) -> Array:
        return np.asarray((law.function(*variables, *values(point)) - loss) * scale, dtype=float)

    reached = leastsq(residual, internal, full_output=True, maxfev=_MAX_EVALUATIONS_A_START, **_TOLERANCES)[0]
    chi2 = float(np.sum(residual(reached) ** 2))
    return (chi2 if np.isfinite(chi2) else float("inf")), values(reached)


def _hold_at_bounds(law: Law, params: lmfit.Parameters) -> list[str]:
    """Fix what ended on its bound, in place: there the curvature vanishes and would spoil every other error."""
    held = []
    for name, limits in law.bounds.items():
        for bound in limits:
            if np.isfinite(bound) and abs(params[name].value - bound) <= 1e-6 * max(1.0, abs(bound)):
                params[name].set(value=bound, vary=False)
                held.append(name)
    return held


def _collect(
    law: Law, loss: Array, result: lmfit.model.ModelResult, *, n_starts: int, n_agree: int, notes: tuple[str, ...]
) -> LawFit:
    n, k = loss.size, len(law.parameters)
    covariance = _covariance(law, result)
    if covariance is None:
        notes += ("the covariance could not be estimated: the points do not fix every parameter",)
    stderr = None if covariance is None else np.sqrt(np.diag(covariance))
    values = np.array([result.params[name].value for name in law.parameters])
    held = tuple(name for name in law.parameters if not result.params[name].vary)
    params = estimates(law, values, stderr, held)
    aicc = aicc_of(loss - np.asarray(result.best_fit), k)
    if aicc is None:
        notes += (f"no AICc: {n} points and {k} parameters leave n - k - 1 = {n - k - 1}",)
    return LawFit(
        law=law.name,
        params=params,
        covariance=None if covariance is None else tuple(tuple(float(v) for v in row) for row in covariance),
        aicc=aicc,
        bic=bic_of(loss - np.asarray(result.best_fit), k),
        chi2=float(result.chisqr),
        redchi=float(result.chisqr) / (n - k),
        n=n,
        k=k,
        n_starts=n_starts,
        n_agree=n_agree,
        success=bool(result.success),
        message=str(result.message),
        notes=notes,
    )


def _covariance(law: Law, result: lmfit.model.ModelResult) -> Array | None:
    """Covariance in the law's order with zeros for what was held; None if lmfit found none."""
    if result.covar is None or not np.isfinite(result.covar).all() or (np.diag(result.covar) < 0).any():
        return None
    full = np.zeros((len(law.parameters), len(law.parameters)))
    free = [law.parameters.index(name) for name in result.var_names]
    full[np.ix_(free, free)] = result.covar
    return full
