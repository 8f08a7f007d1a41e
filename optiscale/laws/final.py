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

from optiscale.laws.engine import jacobian
from optiscale.laws.registry import Law
from optiscale.laws.search import Data

if TYPE_CHECKING:
    import lmfit

Array = NDArray[np.float64]

_TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12}
_EVALUATIONS_A_PARAMETER = 150
_AT_BOUND = 1e-6
_SINGULAR = 1e-13  # of the spectrum of the correlations: less cannot be told from zero


@dataclass(frozen=True)
class Final:
    """Where lmfit ended.

    Attributes
    ----------
    values
        Parameters in the law's order, (k,).
    chi2
        Chi-square, or the robust cost, of the points there.
    objective
        The same with the priors: what was minimised.
    covariance
        lmfit's, unscaled, (k, k), zero for what is held at its bound; None where points and priors together do not fix
        every free parameter.
    held
        Parameters at a bound, (k,).
    condition
        Condition number of the slopes of the free parameters at the points alone, each scaled to one.
    success
        Whether lmfit converged.
    """

    values: Array
    chi2: float
    objective: float
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
    units = data.units()[0]
    values, held = start, at_bounds(data.law, start, units)
    while True:
        values = np.where(held, np.where(values - low < high - values, low, high), values)
        found = _descend(data, values, held)
        reached = at_bounds(data.law, found.values, units) & ~held
        if not reached.any():
            return found
        values, held = found.values, held | reached


def _descend(data: Data, start: Array, held: NDArray[np.bool_]) -> Final:
    import lmfit

    law = data.law
    residuals, row, units = data.residuals(), np.array([0]), data.units()[0]

    def root(params: lmfit.Parameters) -> Array:
        point = units * np.array([params[name].value for name in law.parameters])
        return np.asarray(residuals(point[None], row)[0])

    params = lmfit.Parameters()
    for name, value, stuck, low, high, unit in zip(law.parameters, start, held, *law.limits(), units, strict=True):
        params.add(name, value=float(value / unit), vary=not stuck, min=low / unit, max=high / unit)
    if held.all():
        nothing = np.zeros((len(start), len(start)))
        return Final(start, *_costs(data, start), nothing, held, 1.0, success=True)
    most = _EVALUATIONS_A_PARAMETER * (len(start) + 1)
    result = lmfit.minimize(root, params, scale_covar=False, max_nfev=most, nan_policy="propagate", **_TOLERANCES)
    values = units * np.array([result.params[name].value for name in law.parameters])
    covariance = _covariance(law, result)
    covariance = None if covariance is None else covariance * units[:, None] * units
    condition = condition_of(data.likelihood(), values, ~held)
    return Final(values, *_costs(data, values), covariance, held, condition, success=bool(result.success))


def condition_of(data: Data, values: Array, free: NDArray[np.bool_]) -> float:
    """Condition number of the slopes of the free parameters, each scaled to one; infinite where one has none."""
    slopes = jacobian(data.residuals(), values[None], np.array([0]), units=data.units())[0][:, free]
    size = np.sqrt(np.einsum("ni,ni->i", slopes, slopes))
    if not (np.isfinite(slopes).all() and (size > 0).all()):
        return float("inf")
    singular = np.linalg.svd(slopes / size, compute_uv=False)
    return float(singular[0] / max(singular[-1], np.finfo(float).tiny))


def _costs(data: Data, values: Array) -> tuple[float, float]:
    """Cost of the points alone, and with the priors."""
    alone, both = (one.residuals()(values[None], np.array([0]))[0] for one in (data.likelihood(), data))
    return float(alone @ alone), float(both @ both)


def _covariance(law: Law, result: lmfit.minimizer.MinimizerResult) -> Array | None:
    part = getattr(result, "covar", None)
    if part is None or not np.isfinite(part).all() or not (np.diag(part) > 0).all():
        return None
    size = np.sqrt(np.diag(part))
    spectrum = np.linalg.eigvalsh(part / (size[:, None] * size))  # of lmfit's correlations
    if spectrum[0] < _SINGULAR * spectrum[-1]:
        return None
    free = [law.parameters.index(name) for name in result.var_names]
    full = np.zeros((len(law.parameters), len(law.parameters)))
    full[np.ix_(free, free)] = part
    return full


def at_bounds(law: Law, values: Array, units: Array) -> NDArray[np.bool_]:
    """Which parameters sit at a bound, (k,), to a millionth of the bound or of their units, (k,)."""
    low, high = law.limits()
    below, above = (
        _AT_BOUND * np.maximum(units, np.where(np.isfinite(bound), np.abs(bound), 0.0)) for bound in (low, high)
    )
    return (values <= low + below) | (values >= high - above)
