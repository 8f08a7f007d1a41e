"""Choose among laws by how they extrapolate, weigh them into an ensemble, and say how wrong it will be.

The first criterion is the error at held-out larger sizes (:mod:`optiscale.laws.extrapolation`), among the laws that the
points support at all; AICc and BIC stand beside it in the table, and so does the last value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from optiscale.errors import UserError
from optiscale.laws.calibration import Spread, mean_dof, spreads
from optiscale.laws.diagnose import dof_of, explained
from optiscale.laws.extrapolation import LAST_VALUE, REACH, Holdout, rolling_origins, sizes_of
from optiscale.laws.fit import FitOptions, fit_many, sigma_of
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.registry import LAWS
from optiscale.laws.result import LawFit
from optiscale.laws.support import falling, supported, well_judged
from optiscale.laws.weighing import by_score, by_skill, pick, weighted_median

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
        Law with the lowest held-out error among those that the points support, of those within 5 % of it the one with
        the fewest parameters; by BIC where nothing could be held out; None where nothing was fitted.
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
        that about a smooth curve; the median over the points.
    refused
        Laws that the points support but that rise beyond them, while another does not: no more data or parameters make
        a loss rise, and an exponent that says so has been fitted to the scatter of the last points.
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

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each law in the ensemble; they sum to one."""
        return {row.law: row.weight for row in self.table if row.weight > 0}

    def predict(self, *, law: str | None = None, **x: ArrayLike) -> Array:
        """Mean loss of one law, or of the ensemble (the weighted geometric mean of its laws)."""
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
        logs = np.stack([said[name][0] for name in weights])
        share = np.array(list(weights.values())).reshape(-1, *([1] * (logs.ndim - 1)))
        if law is None:
            mean = np.sum(share * logs, axis=0)
            variance = weighted_median(np.stack([said[name][1] for name in weights]), share)
        else:
            mean, variance = said[law]
        return mean, np.sqrt(variance + np.sum(share * (logs - mean) ** 2, axis=0))

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
    return float(np.median(sigma_of(points, options, noise).sigma / points.loss))


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
    if judged:
        skills = {name: one.skill for name, one in judged.items()}
        weights = by_skill(skills)
        best: str | None = pick(skills, {name: fits[name].k for name in judged})
        others = ", ".join(name for name, fit in fits.items() if fit.fitted and name not in {*candidates, *refused})
        reason = f"lowest error at held-out larger sizes ({judged[str(best)].skill:.2f} of the last value's)"
        reason += f"; without support (BIC): {others}" if others else ""
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
    rows = [_row(name, fits.get(name), table.get(name), weights.get(name, 0.0)) for name in [LAST_VALUE, *fits]]
    return Choice(
        best=best,
        reason=reason,
        table=tuple(rows),
        spread=spreads(
            {name: one for name, one in table.items() if name == LAST_VALUE or _eligible(name, fits, refused)},
            fits,
            noise,
            best,
        ),
        fits=dict(fits),
        largest={name: float(values.max()) for name, values in sizes_of(dict(points.x)).items()},
        noise=noise,
        scatter=scatter,
        refused=tuple(refused),
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
