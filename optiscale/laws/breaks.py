"""Is it broken? A law with a break against the same law without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.choice import Choice
from optiscale.laws.fit import FitOptions, sigma_of
from optiscale.laws.points import Points
from optiscale.laws.registry import LAWS, Law, get_law
from optiscale.laws.result import LawFit
from optiscale.laws.search import Data, refit
from optiscale.laws.uncertainty import LEVEL, Interval, profile

Array = NDArray[np.float64]

_DRAWS = 199
_PLACES = (0.25, 0.5, 0.75)
_ITERATIONS = 40
_SMALL_P = 0.05
_EXACT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Break:
    """What the points say about a break.

    Attributes
    ----------
    broken, simple
        Names of the two laws.
    delta_aicc, delta_bic
        Criterion of the simple law less that of the broken one; positive speaks for the break. None without criterion.
    skill_broken, skill_simple
        Error at held-out larger sizes over that of the last value; None if nothing was held out.
    p_value
        Share of data sets, made by the simple law with Gaussian noise of the size that it itself leaves, in which the
        broken law improves chi-square by as large a factor as here.
    draws
        Number of those data sets.
    position
        Profile-likelihood interval of where the slope changes, as a length.
    exponents
        Exponent before and after it, by parameter.
    verdict
        The same in words.
    """

    broken: str
    simple: str
    delta_aicc: float | None
    delta_bic: float | None
    skill_broken: float | None
    skill_simple: float | None
    p_value: float
    draws: int
    position: Interval
    exponents: Mapping[str, float]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {**asdict(self), "position": self.position.to_dict(), "exponents": dict(self.exponents)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Break:
        """Rebuild from :meth:`to_dict`."""
        return cls(**{**value, "position": Interval(**value["position"])})


def how_broken(
    points: Points,
    choice: Choice,
    *,
    broken: str | None = None,
    draws: int = _DRAWS,
    level: float = LEVEL,
    options: FitOptions | None = None,
    seed: int = 1,
) -> Break | None:
    """Compare a broken law with its simple one on points that a choice has already fitted.

    Parameters
    ----------
    points
        What the choice was made on.
    choice
        Its fits and held-out errors.
    broken
        The broken law; if not given, the one with the lowest AICc (BIC where there is none) among those with a
        single break that the choice does not refuse.
    draws
        Data sets of the parametric bootstrap.
    level
        Of the interval of the break.
    options
        As for the fits.
    seed
        Of the data sets.

    Returns
    -------
    Break or None
        None if no broken law and its simple one were both fitted.
    """
    options = options or FitOptions()
    name = broken if broken is not None else _best_broken(choice)
    if name is None:
        return None
    law = get_law(name)
    fit, null = choice.fits.get(name), choice.fits.get(law.simple)
    if fit is None or null is None or not (fit.fitted and null.fitted):
        return None
    p_value = _p_value(points, fit, null, options, draws, seed)
    where = profile(fit, points, next(iter(law.breaks)), level=level, options=options).lengths()
    rows = {row.law: row for row in choice.table}
    result = {
        "delta_aicc": _less(null.aicc, fit.aicc),
        "delta_bic": _less(null.bic, fit.bic),
        "skill_broken": rows[name].skill if name in rows else None,
        "skill_simple": rows[law.simple].skill if law.simple in rows else None,
    }
    exponents = {one: fit.params[one][0] for one in law.parameters if one in {"a1", "a2"}}
    verdict = _verdict(points, law, p_value, result["delta_aicc"], where, exponents)
    return Break(
        broken=name,
        simple=law.simple,
        **result,
        p_value=p_value,
        draws=draws,
        position=where,
        exponents=exponents,
        verdict=verdict,
    )


def _best_broken(choice: Choice) -> str | None:
    fits = {
        name: fit
        for name, fit in choice.fits.items()
        if fit.fitted and name in LAWS and len(LAWS[name].breaks) == 1 and LAWS[name].simple in choice.fits
    }
    fits = {name: fit for name, fit in fits.items() if name not in choice.refused} or fits
    ranked = {name: fit.aicc for name, fit in fits.items() if fit.aicc is not None}
    ranked = ranked or {name: fit.bic for name, fit in fits.items() if fit.bic is not None}
    return min(ranked, key=lambda name: ranked[name]) if ranked else None


def _less(simple: float | None, broken: float | None) -> float | None:
    return None if simple is None or broken is None else simple - broken


def _p_value(points: Points, fit: LawFit, null: LawFit, options: FitOptions, draws: int, seed: int) -> float:
    """Parametric bootstrap of the ratio of chi-squares, which does not need the size of the noise.

    Wilks' theorem does not hold: under the simple law the position of the break means nothing (R. B. Davies, Biometrika
    74, 33 (1987)).
    """
    rng = np.random.default_rng(seed)
    simple, law = get_law(null.law), get_law(fit.law)
    sigma = sigma_of(points, options, fit.noise).sigma
    mean = np.asarray(simple.function(*(points.x[name] for name in simple.variables), *null.values()), dtype=float)
    if np.sqrt(np.mean(np.log(mean / points.loss) ** 2)) < _EXACT:
        return 1.0  # the simple law is exact: nothing is left for a break to explain
    size = sigma * np.sqrt(float(null.redchi or 0.0))
    made = mean * np.exp(rng.normal(size=(draws, len(points))) * size / mean)
    sets = [(dict(points.x), one, sigma) for one in (points.loss, *made)]
    without, data = (Data.of(one, sets, space=options.space, cost=options.cost).likelihood() for one in (simple, law))
    low = refit(without, np.tile(null.values(), (len(sets), 1)), iterations=_ITERATIONS).cost
    best = np.full(len(sets), np.inf)
    for start in _starts(points, law, fit, null):
        best = np.minimum(best, refit(data, np.tile(start, (len(sets), 1)), iterations=_ITERATIONS).cost)
    ratio = low / np.maximum(best, 1e-300)
    return (int(np.sum(ratio[1:] >= ratio[0])) + 1.0) / (draws + 1.0)


def _starts(points: Points, law: Law, fit: LawFit, null: LawFit) -> list[Array]:
    """Start from the broken law's own minimum, and from the simple law bent a little at three places."""
    starts = [fit.values()]
    names = law.parameters
    (place,) = law.breaks
    log_x = np.log10(points.x[law.breaks[place]])
    slope = null.params.get("a", null.params.get("aD", (0.3, None)))[0]
    for share in _PLACES:
        start = fit.values()
        start[names.index(place)] = log_x.min() + share * np.ptp(log_x)
        for name, factor in (("a1", 0.8), ("a2", 1.25)):
            if name in names:
                start[names.index(name)] = factor * slope
        starts.append(start)
    return starts


def _verdict(
    points: Points,
    law: Law,
    p_value: float,
    delta_aicc: float | None,
    where: Interval,
    exponents: Mapping[str, float],
) -> str:
    variable = next(iter(law.breaks.values()))
    low, high = float(points.x[variable].min()), float(points.x[variable].max())
    if p_value > _SMALL_P:
        return f"no break is needed (p = {p_value:.2g})"
    bend = "steepens" if exponents.get("a2", 0.0) > exponents.get("a1", 0.0) else "flattens"
    text = f"broken: the loss {bend} (p = {p_value:.2g}"
    if delta_aicc is not None:
        text += f", AICc {'lower' if delta_aicc >= 0 else 'higher'} by {abs(delta_aicc):.1f}"
    text += ")"
    if not low <= where.value <= high:
        return f"{text}, but the break lies outside the points: a curved law, not a break that was seen"
    if not where.bounded:
        return f"{text}, but the points do not bound where: its interval is open"
    return text
