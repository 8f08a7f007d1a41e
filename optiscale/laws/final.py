"""The last descent of a fit, by lmfit: from the lowest minimum that the search found to the reported parameters.

The search (:mod:`optiscale.laws.search`) tells the valleys apart; what is reported of the lowest one, its parameters,
their errors and their correlations, is what ``lmfit.minimize`` says there (Levenberg-Marquardt of MINPACK, bounds by
lmfit's mapping).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.engine import cost_root
from optiscale.laws.registry import Law
from optiscale.laws.search import Data

if TYPE_CHECKING:
    import lmfit

Array = NDArray[np.float64]

_TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12}
_EVALUATIONS_A_PARAMETER = 150
_AT_BOUND = 1e-6
_LARGEST_CONDITION = 3e6  # the curvature has its square, which double precision can no longer invert


@dataclass(frozen=True)
class Final:
    """Where lmfit ended.

    Attributes
    ----------
    values
        Parameters in the law's order, (k,).
    cost
        Chi-square, or the robust cost, there.
    covariance
        lmfit's, unscaled, (k, k), with zeros for what is held at its bound; None where the slopes do not fix every
        free parameter.
    held
        Parameters at a bound, (k,).
    condition
        Condition number of the slopes of the free parameters, each scaled to one.
    success
        Whether lmfit converged.
    """

    values: Array
    cost: float
    covariance: Array | None
    held: NDArray[np.bool_]
    condition: float
    success: bool


def final_descent(data: Data, start: Array) -> Final:
    """Descend with lmfit from the best values of the search, (k,), for the first set of `data`.

    What sits at a bound, before or after, is held there: the curvature vanishes there and would spoil every other
    error.
    """
    low, high = data.law.limits()
    values, held = start, at_bounds(data.law, start)
    while True:
        values = np.where(held, np.where(values - low < high - values, low, high), values)
        found = _descend(data, values, held)
        reached = at_bounds(data.law, found.values) & ~held
        if not reached.any():
            return found
        values, held = found.values, held | reached


def _descend(data: Data, start: Array, held: NDArray[np.bool_]) -> Final:
    import lmfit

    law = data.law
    residuals, row = data.residuals(), np.array([0])

    def root(params: lmfit.Parameters) -> Array:
        point = np.array([params[name].value for name in law.parameters])
        return cost_root(residuals(point[None], row), data.cost)[0]

    params = lmfit.Parameters()
    for name, value, stuck, low, high in zip(law.parameters, start, held, *law.limits(), strict=True):
        params.add(name, value=float(value), vary=not stuck, min=low, max=high)
    if held.all():
        rest = root(params)
        return Final(start, float(rest @ rest), np.zeros((len(start), len(start))), held, 1.0, success=True)
    most = _EVALUATIONS_A_PARAMETER * (len(start) + 1)
    result = lmfit.minimize(root, params, scale_covar=False, max_nfev=most, nan_policy="propagate", **_TOLERANCES)
    values = np.array([result.params[name].value for name in law.parameters])
    covariance, condition = _covariance(law, result)
    return Final(values, float(result.chisqr), covariance, held, condition, success=bool(result.success))


def _covariance(law: Law, result: lmfit.minimizer.MinimizerResult) -> tuple[Array | None, float]:
    free = [law.parameters.index(name) for name in result.var_names]
    part = getattr(result, "covar", None)
    if part is None or not np.isfinite(part).all() or not (np.diag(part) > 0).all():
        return None, float("inf")
    size = np.sqrt(np.diag(part))
    spectrum = np.linalg.eigvalsh(part / (size[:, None] * size))  # lmfit's correlations
    condition = float(np.sqrt(spectrum[-1] / max(float(spectrum[0]), 1e-300)))
    if condition > _LARGEST_CONDITION:
        return None, condition
    full = np.zeros((len(law.parameters), len(law.parameters)))
    full[np.ix_(free, free)] = part
    return full, condition


def at_bounds(law: Law, values: Array) -> NDArray[np.bool_]:
    """Which parameters sit at a bound, (k,)."""
    low, high = law.limits()
    room = _AT_BOUND * np.maximum(1.0, np.where(np.isfinite(low), np.abs(low), 0.0))
    return (values <= low + room) | (
        values >= high - _AT_BOUND * np.maximum(1.0, np.where(np.isfinite(high), high, 0.0))
    )
