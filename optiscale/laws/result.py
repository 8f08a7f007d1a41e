"""What a fit of one law returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optiscale.errors import UserError
from optiscale.laws.points import Noise
from optiscale.laws.registry import LOG_PREFIX, Law, get_law

Array = NDArray[np.float64]
Estimate = tuple[float, float | None]
_EXACT = 1e-12  # residuals of a millionth: less is what the minimiser and the weak priors leave


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another set of parameters that the points can hardly tell from the best one.

    Attributes
    ----------
    values
        Parameters in the law's order, (k,).
    delta_chi2
        Its chi-square above the lowest.
    """

    values: tuple[float, ...]
    delta_chi2: float


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
        Covariance of the law's parameters in their order, (k, k); zero for a parameter held at its bound; lmfit's,
        times what the residuals call for.
    aicc, bic
        n ln(RSS/n) plus 2k + (2k^2 + 2k)/(n - k - 1), or plus k ln n; RSS of the residuals, weighted in our protocol
        (weights of geometric mean one) and unweighted in the published one. AICc is None if n - k - 1 <= 0.
    chi2, redchi
        Sum of squared weighted residuals, and that over n - k. In our protocol a residual is measured in standard
        deviations of the mean over seeds, so that redchi is near 1 where seed noise explains the residuals.
    n, k
        Numbers of points and of parameters.
    n_starts, n_agree
        Starts of the minimiser, and those that ended at the lowest chi-square.
    success, message
        Whether the minimiser converged, and its words or the reason why nothing was fitted.
    notes
        What a reader must know, in plain words: warnings, and the verdict on the residuals.
    alternatives
        Distinct parameters within 4 of the lowest chi-square (two standard errors), lowest first.
    noise
        Scatter of a run; None where the seeds tell none.
    effect
        Factor on the variances because residuals of neighbouring sizes go together; 1 where they do not.
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
    bic: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    noise: Noise | None = None
    effect: float = 1.0

    @property
    def fitted(self) -> bool:
        """Whether there are parameters to predict with."""
        return bool(self.params)

    def values(self) -> Array:
        """Parameters in the law's order, (k,)."""
        if not self.fitted:
            raise UserError(f"law {self.law!r} was not fitted: {self.message}")
        return np.array([self.params[name][0] for name in get_law(self.law).parameters])

    @property
    def correlations(self) -> Array | None:
        """Correlations of the parameters, (k, k); zero for what is held, None without covariance."""
        if self.covariance is None:
            return None
        covariance = np.array(self.covariance)
        size = np.sqrt(np.diag(covariance))
        return covariance / np.where(size > 0, size, 1.0)[:, None] / np.where(size > 0, size, 1.0)

    def predict(self, **x: ArrayLike) -> Array:
        """Mean loss at ``x=…``, or at ``N=…, D=…`` for a map, shape of the arguments."""
        law = get_law(self.law)
        return np.asarray(law.function(*variables_of(law, x), *self.values()), dtype=float)

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
        variables = variables_of(law, x)
        slopes, units = [], law.units(self.predict(**x))
        for i in range(self.k):
            step = np.zeros(self.k)
            step[i] = 1e-5 * max(abs(values[i]), 1e-2 * units[i])
            upper, lower = law.function(*variables, *(values + step)), law.function(*variables, *(values - step))
            slopes.append((upper - lower) / (2.0 * step[i]))
        jacobian = np.stack(slopes)  # (k, ...)
        variance = np.einsum("i...,ij,j...->...", jacobian, np.array(self.covariance), jacobian)
        return np.sqrt(np.maximum(variance, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {**asdict(self), "params": {name: list(pair) for name, pair in self.params.items()}}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> LawFit:
        """Rebuild a fit from :meth:`to_dict`, also after a round trip through JSON."""
        covariance, noise = value["covariance"], value["noise"]
        others = [{**one, "values": tuple(one["values"])} for one in value["alternatives"]]
        return cls(
            **{
                **value,
                "params": {name: (pair[0], pair[1]) for name, pair in value["params"].items()},
                "covariance": None if covariance is None else tuple(tuple(row) for row in covariance),
                "notes": tuple(value["notes"]),
                "alternatives": tuple(Alternative(**one) for one in others),
                "noise": None if noise is None else Noise(**noise),
            }
        )


def variables_of(law: Law, x: Mapping[str, ArrayLike]) -> list[Array]:
    """Variables in the order of the law's function.

    Raises
    ------
    UserError
        If they are not those of the law.
    """
    if set(x) != set(law.variables):
        raise UserError(f"law {law.name!r} takes {', '.join(law.variables)}, not {', '.join(x) or 'nothing'}")
    return [np.asarray(x[name], dtype=float) for name in law.variables]


def estimates(law: Law, values: Array, stderr: Array | None, held: tuple[str, ...]) -> dict[str, Estimate]:
    """Value and error by parameter, a length both by its logarithm and as itself."""
    params: dict[str, Estimate] = {}
    for i, name in enumerate(law.parameters):
        value = float(values[i])
        error = None if stderr is None or name in held else float(stderr[i])
        params[name] = (value, error)
        if name.startswith(LOG_PREFIX):
            length = float(np.power(10.0, value)) if abs(value) < 300.0 else float(np.inf if value > 0 else 0.0)
            params[name.removeprefix(LOG_PREFIX)] = (
                length,
                None if error is None else length * float(np.log(10.0)) * error,
            )
    return params


def aicc_of(residuals: ArrayLike, k: int) -> float | None:
    """Akaike's criterion with the correction for few points, of residuals (n,); None if n - k - 1 <= 0."""
    residuals = np.asarray(residuals, dtype=float)
    n = residuals.size
    if n - k - 1 <= 0:
        return None
    return _log_likelihood(residuals) + 2.0 * k + (2.0 * k**2 + 2.0 * k) / (n - k - 1)


def bic_of(residuals: ArrayLike, k: int) -> float | None:
    """Schwarz's criterion of residuals (n,), n ln(RSS/n) + k ln n; None if n <= k."""
    residuals = np.asarray(residuals, dtype=float)
    n = residuals.size
    return _log_likelihood(residuals) + k * float(np.log(n)) if n > k else None


def _log_likelihood(residuals: Array) -> float:
    # Below this the residuals of a law that is exact are those of the minimiser, and rank nothing.
    variance = max(float(residuals @ residuals) / residuals.size, _EXACT)
    return residuals.size * float(np.log(variance))


def not_fitted(law: str, n: int, k: int, reason: str, *, n_starts: int = 0) -> LawFit:
    """Record why there is no fit."""
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
