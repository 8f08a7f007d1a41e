"""What was chosen among laws: their ensemble, the law to use, and how wrong either will be beyond the points.

How it comes about is in :mod:`optiscale.laws.choosing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from optiscale.errors import UserError
from optiscale.laws.calibration import Spread, mean_dof
from optiscale.laws.diagnose import dof_of, explained
from optiscale.laws.extrapolation import at_edge, sizes_of
from optiscale.laws.points import Noise
from optiscale.laws.result import LawFit
from optiscale.laws.weighing import unconditional, weighted_median

Array = NDArray[np.float64]
Of = Literal["mean", "run"]

_SMALLEST_WEIGHT = 1e-3
_WIDEST = 300.0  # in ln L: an interval that is open for all purposes, still a number


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of laws.

    Attributes
    ----------
    law
        Name, or ``"last value"``.
    k, aicc, bic, redchi
        As of its fit; None where there is none.
    rmsle
        Root mean square of ln predicted - ln observed at held-out larger sizes; None if it was never held out.
    skill
        That over the same of the last value, on the same points.
    origins
        Cuts that it was judged at.
    weight
        Its weight in the ensemble.
    """

    law: str
    k: int
    aicc: float | None
    bic: float | None
    redchi: float | None
    rmsle: float | None
    skill: float | None
    origins: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The law to use, the ensemble, and how far either can be trusted beyond the points.

    Attributes
    ----------
    best
        The simplest law that goes with the ensemble beyond the points (:func:`optiscale.laws.weighing.pick`); by BIC
        where nothing could be held out; None where nothing was fitted.
    reason
        Why, in words.
    table
        A row a law, the last value first.
    spread
        What held-out errors say of the stated ones, by law, and of the ensemble under ``""``.
    fits
        Fit by name of the law.
    largest
        Largest value of each variable, and of N D for a map, among the points.
    noise
        Scatter of a run.
    scatter
        Deviation of ln L of a point that residuals are measured in: that of a mean over seeds, or where there are none
        that about a smooth curve, at the largest sizes.
    refused
        Laws that the points support but that rise beyond them, while another does not: no more data or parameters make
        a loss rise, and an exponent that says so has been fitted to the scatter of the last points.
    damping
        Share of the change of ln L beyond the points, from what it is at their edge, that the ensemble is believed of;
        one for a map.
    """

    best: str | None
    reason: str
    table: tuple[Row, ...]
    spread: Mapping[str, Spread]
    fits: Mapping[str, LawFit]
    largest: Mapping[str, float]
    noise: Noise | None = None
    scatter: float = 0.0
    refused: tuple[str, ...] = ()
    damping: float = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each law in the ensemble; they sum to one."""
        return {row.law: row.weight for row in self.table if row.weight > 0}

    def predict(self, *, law: str | None = None, **x: ArrayLike) -> Array:
        """Mean loss of one law, or of the ensemble: the weighted geometric mean, damped beyond the points."""
        return np.exp(self._mean_and_spread(law, x)[0])

    def interval(
        self, *, level: float = 0.9, law: str | None = None, of: Of = "mean", **x: ArrayLike
    ) -> tuple[Array, Array]:
        """Interval of the mean loss, or of a new run, at ``x=…`` or ``N=…, D=…``.

        It is the uncertainty of the parameters, and of the choice: the disagreement of the weighed laws with the
        prediction, be that of one of them or of all (S. T. Buckland, K. P. Burnham, N. H. Augustin, Biometrics 53, 603
        (1997)). Beyond the points it is widened or narrowed by what held-out extrapolations were wrong by, over what
        was stated of them (:class:`Spread`). Scatter of the points that no seeds explain counts, so that where no seeds
        tell a mean from a run it is the interval of a further point like those fitted.

        Parameters
        ----------
        level
            Nominal coverage.
        law
            Law that predicts, or None for the ensemble.
        of
            ``"mean"`` of infinitely many seeds, or one ``"run"``.

        Returns
        -------
        tuple of arrays
            Lower and upper end, shape of the arguments.
        """
        log_loss, deviation = self._mean_and_spread(law, x)
        half = _quantile(level, self._dof(law)) * np.hypot(deviation, self._unexplained(law))
        half = half * self.spread.get(law or "", Spread()).factor(level, self._reach(x))
        if of == "run":
            if self.noise is None:
                raise UserError("no scatter of seeds is known, so no interval of a run: ask for that of the mean")
            size = np.asarray(x["x"] if "x" in x else x["D"], dtype=float)
            relative = self.noise.run(np.exp(log_loss), size) / np.exp(log_loss)
            half = np.hypot(half, _quantile(level, max(1, self.noise.dof)) * relative)
        half = np.minimum(half, _WIDEST)
        return np.exp(log_loss - half), np.exp(log_loss + half)

    def widening(self, level: float, **x: ArrayLike) -> Array:
        """Factor on the half width of an interval that is drawn from laws and parameters, and normal in size.

        Draws know neither how well the size of the errors is known nor what held-out extrapolations say.
        """
        known = _quantile(level, self._dof(None)) / float(stats.norm.ppf(0.5 + level / 2.0))
        return known * self.spread.get("", Spread()).factor(level, self._reach(x))

    def _mean_and_spread(self, law: str | None, x: Mapping[str, ArrayLike]) -> tuple[Array, Array]:
        """Log of the prediction and its standard deviation from the parameters and the laws' disagreement."""
        weights = self._shares()
        if not weights:
            raise UserError(f"nothing was fitted, so nothing can be predicted: {self.reason}")
        if law is not None and law not in self.fits:
            raise UserError(f"law {law!r} was not fitted here: choose one of {', '.join(self.fits)}")
        said = {name: self._of_law(name, x) for name in {**weights, **({law: 0.0} if law is not None else {})}}
        share = np.array(list(weights.values())).reshape(-1, *([1] * said[next(iter(weights))][0].ndim))
        logs = np.stack([said[name][0] for name in weights])
        if law is None:
            if self.damping < 1.0:
                edge = at_edge({one: np.asarray(values, dtype=float) for one, values in x.items()}, self.largest)
                at = np.stack([self._of_law(name, edge)[0] for name in weights])
                logs = at + self.damping * (logs - at)
            mean = np.sum(share * logs, axis=0)
            variance = weighted_median(np.stack([said[name][1] for name in weights]), share)
        else:
            mean, variance = said[law]
        return mean, unconditional(variance, logs - mean, share)

    def _of_law(self, name: str, x: Mapping[str, ArrayLike]) -> tuple[Array, Array]:
        """Log of the prediction of one law and its variance from the parameters."""
        fit = self.fits[name]
        loss = np.maximum(fit.predict(**x), 1e-300)
        return np.log(loss), (fit.band(**x) / loss) ** 2 if fit.covariance is not None else np.zeros_like(loss)

    def _shares(self, law: str | None = None) -> dict[str, float]:
        """Weights that count, summing to one; of one law alone if it is named."""
        weights = {law: 1.0} if law is not None else {k: v for k, v in self.weights.items() if v > _SMALLEST_WEIGHT}
        total = sum(weights.values())
        return {name: value / total for name, value in weights.items()}

    def _unexplained(self, law: str | None) -> float:
        """Deviation of ln L of a further point about a law beyond the scatter of its seeds.

        Without seeds it is all of the residuals; with seeds what these do not explain, if they do not.
        """
        variance = sum(weight * _beyond_seeds(self.fits[name]) for name, weight in self._shares(law).items())
        return self.scatter * float(np.sqrt(variance))

    def _dof(self, law: str | None) -> float:
        """Degrees of freedom that the size of the errors is known to."""
        shares = self._shares(law)
        fits = [self.fits[name] for name in shares]
        return mean_dof(
            list(shares.values()),
            [dof_of(float(fit.chi2 or 0.0), fit.n, fit.k, fit.effect, self.noise) for fit in fits],
        )

    def _reach(self, x: Mapping[str, ArrayLike]) -> Array:
        return reach_beyond({name: np.asarray(values, dtype=float) for name, values in x.items()}, self.largest)

    def to_dict(self) -> dict[str, Any]:
        """JSON value, without the fits."""
        return {
            "best": self.best,
            "reason": self.reason,
            "table": [asdict(row) for row in self.table],
            "spread": {name: asdict(one) for name, one in self.spread.items()},
            "largest": dict(self.largest),
            "noise": None if self.noise is None else self.noise.to_dict(),
            "scatter": self.scatter,
            "refused": list(self.refused),
            "damping": self.damping,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], fits: Mapping[str, LawFit]) -> Choice:
        """Rebuild a choice from :meth:`to_dict` and its fits."""
        return cls(
            best=value["best"],
            reason=value["reason"],
            table=tuple(Row(**row) for row in value["table"]),
            spread={name: Spread(**one) for name, one in value["spread"].items()},
            fits=fits,
            largest=value["largest"],
            noise=None if value["noise"] is None else Noise(**value["noise"]),
            scatter=value["scatter"],
            refused=tuple(value["refused"]),
            damping=value["damping"],
        )


def _beyond_seeds(fit: LawFit) -> float:
    """Variance of the residuals that no seeds explain, in units of what the weights say."""
    redchi = float(fit.redchi or 0.0)
    if fit.noise is None:
        return redchi
    return 0.0 if explained(float(fit.chi2 or 0.0), fit.n, fit.k, fit.noise) else max(redchi - 1.0, 0.0)


def _quantile(level: float, dof: float) -> float:
    """Quantile of Student's t that holds `level` between itself and its negative."""
    return float(stats.t.ppf(0.5 + level / 2.0, dof))


def reach_beyond(x: Mapping[str, Array], largest: Mapping[str, float]) -> Array:
    """Return ln of the factor by which x lies beyond the points, in the direction where that is largest; >= 0."""
    beyond = [np.log(values / largest[name]) for name, values in sizes_of(x).items()]
    return np.maximum(np.max(np.broadcast_arrays(*beyond), axis=0), 0.0)
