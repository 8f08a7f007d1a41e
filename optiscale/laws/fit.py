"""Fit one law to one set of points.

Weighted least squares (Levenberg-Marquardt) from several seeded starts around the law's own guess; the lowest
chi-square wins, lmfit refines it and gives the errors, and the fit says how many starts found it. Weights, covariance
and AICc follow arXiv:2602.05702.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import lmfit
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import leastsq

from optiscale.errors import UserError
from optiscale.laws.registry import LOG_PREFIX, Law, get_law

Array = NDArray[np.float64]
Estimate = tuple[float, float | None]

N_STARTS = 12
_SEED = 20260205
_AGREEMENT = 1e-3  # two starts found the same valley if chi-square differs by less than this share of it, or of n
_TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12}
_MAX_EVALUATIONS = 4000
_MAX_EVALUATIONS_A_START = 800


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A fitted law, or the reason why there is none.

    Attributes
    ----------
    law
        Name of the law.
    params
        Value and standard error by parameter; a length appears as ``log10_x0`` and as ``x0``. The error is None where
        the fit gives none. Empty if nothing was fitted.
    covariance
        Covariance of the law's parameters in their order, (k, k); zero for a parameter held at its bound.
    aicc
        2k + n ln(RSS/n) + (2k^2 + 2k)/(n - k - 1) of the unweighted residuals; None if n - k - 1 <= 0.
    chi2, redchi
        Sum of squared weighted residuals, and that over n - k.
    n, k
        Numbers of points and of parameters.
    n_starts, n_agree
        Starts of the minimiser, and those that ended at the lowest chi-square.
    success, message
        Whether the minimiser converged, and its words or the reason why nothing was fitted.
    notes
        What a reader must know, in plain words.
    """

    law: str
    params: dict[str, Estimate]
    covariance: tuple[tuple[float, ...], ...] | None
    aicc: float | None
    chi2: float | None
    redchi: float | None
    n: int
    k: int
    n_starts: int
    n_agree: int
    success: bool
    message: str
    notes: tuple[str, ...] = ()

    @property
    def fitted(self) -> bool:
        """Whether there are parameters to predict with."""
        return bool(self.params)

    def values(self) -> Array:
        """Parameters in the law's order, (k,)."""
        if not self.fitted:
            raise UserError(f"law {self.law!r} was not fitted: {self.message}")
        return np.array([self.params[name][0] for name in get_law(self.law).parameters])

    def predict(self, **x: ArrayLike) -> Array:
        """Mean loss at ``x=…``, or at ``N=…, D=…`` for a map, shape of the arguments."""
        law = get_law(self.law)
        return np.asarray(law.function(*_variables(law, x), *self.values()), dtype=float)

    def band(self, **x: ArrayLike) -> Array:
        """One standard deviation of the mean law, by propagation of the covariance; shape of the arguments.

        Raises
        ------
        UserError
            If the fit has no covariance.
        """
        law, values = get_law(self.law), self.values()
        if self.covariance is None:
            raise UserError(f"law {self.law!r} has no covariance, so no band: fit it to more points")
        variables = _variables(law, x)
        slopes = []
        for i in range(self.k):
            step = np.zeros(self.k)
            step[i] = 1e-5 * max(abs(values[i]), 1e-2)
            upper, lower = law.function(*variables, *(values + step)), law.function(*variables, *(values - step))
            slopes.append((upper - lower) / (2.0 * step[i]))
        jacobian = np.stack(slopes)  # (k, ...)
        return np.sqrt(np.einsum("i...,ij,j...->...", jacobian, np.array(self.covariance), jacobian))

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {**asdict(self), "params": {name: list(pair) for name, pair in self.params.items()}}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> LawFit:
        """Rebuild a fit from :meth:`to_dict`, also after a round trip through JSON."""
        covariance = value["covariance"]
        return cls(
            **{
                **value,
                "params": {name: (pair[0], pair[1]) for name, pair in value["params"].items()},
                "covariance": None if covariance is None else tuple(tuple(row) for row in covariance),
                "notes": tuple(value["notes"]),
            }
        )


def fit_law(name: str, x: Mapping[str, ArrayLike], loss: ArrayLike, std: ArrayLike | None) -> LawFit:
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
    variables = _variables(law, x)
    loss = np.asarray(loss, dtype=float)
    _check(law, variables, loss)
    n, k = loss.size, len(law.parameters)
    if n <= k:
        return _not_fitted(name, n, k, f"{n} points cannot fix {k} parameters: needs at least {k + 1}")
    weights, notes = _weights(loss, std)
    scale_covar = law.kind == "1d" or weights is None
    model, by_name = law.model(), dict(zip(law.variables, variables, strict=True))
    params = model.guess(loss, **by_name)
    starts = _starts(law, np.array([params[name].value for name in law.parameters]))
    found = [_descend(law, variables, loss, weights, params, start) for start in starts]
    best_chi2, best = min(found, key=lambda pair: pair[0])
    if not np.isfinite(best_chi2):
        return _not_fitted(name, n, k, f"none of {len(starts)} starts gave a finite chi-square", n_starts=len(starts))
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


def _variables(law: Law, x: Mapping[str, ArrayLike]) -> list[Array]:
    if set(x) != set(law.variables):
        raise UserError(f"law {law.name!r} takes {', '.join(law.variables)}, not {', '.join(x) or 'nothing'}")
    return [np.asarray(x[name], dtype=float) for name in law.variables]


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
    params: dict[str, Estimate] = {}
    for i, name in enumerate(law.parameters):
        value = float(result.params[name].value)
        error = None if stderr is None or not result.params[name].vary else float(stderr[i])
        params[name] = (value, error)
        if name.startswith(LOG_PREFIX):
            length = float(np.power(10.0, value)) if abs(value) < 300.0 else float(np.inf if value > 0 else 0.0)
            params[name.removeprefix(LOG_PREFIX)] = (length, None if error is None else length * np.log(10.0) * error)
    aicc = aicc_of(loss - np.asarray(result.best_fit), k)
    if aicc is None:
        notes += (f"no AICc: {n} points and {k} parameters leave n - k - 1 = {n - k - 1}",)
    return LawFit(
        law=law.name,
        params=params,
        covariance=None if covariance is None else tuple(tuple(float(v) for v in row) for row in covariance),
        aicc=aicc,
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


def aicc_of(residuals: ArrayLike, k: int) -> float | None:
    """Akaike's criterion with the correction for few points, of unweighted residuals, (n,); None if n - k - 1 <= 0."""
    residuals = np.asarray(residuals, dtype=float)
    n = residuals.size
    if n - k - 1 <= 0:
        return None
    rss = max(float(residuals @ residuals), np.finfo(float).tiny)
    return 2.0 * k + n * float(np.log(rss / n)) + (2.0 * k**2 + 2.0 * k) / (n - k - 1)


def _not_fitted(law: str, n: int, k: int, reason: str, *, n_starts: int = 0) -> LawFit:
    return LawFit(
        law=law,
        params={},
        covariance=None,
        aicc=None,
        chi2=None,
        redchi=None,
        n=n,
        k=k,
        n_starts=n_starts,
        n_agree=0,
        success=False,
        message=reason,
        notes=(reason,),
    )
