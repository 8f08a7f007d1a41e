"""How well the points fix the parameters: profile likelihood and bootstrap, for laws and points of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from optiscale.errors import UserError
from optiscale.laws.diagnose import dof_of, stretch_of
from optiscale.laws.fit import FitOptions, sigma_of
from optiscale.laws.points import Points
from optiscale.laws.registry import LOG_PREFIX, get_law
from optiscale.laws.result import LawFit
from optiscale.laws.search import Data, refit

Array = NDArray[np.float64]
Over = Literal["seeds", "points"]

LEVEL = 0.9
_STEPS = 28
_FARTHEST_LENGTH = 4.0  # decades from the best value within which an end is sought
_FARTHEST = 3.0  # the same for exponents, and times the value for levels
_LONGEST = 300.0  # decades
_PROFILE_ITERATIONS = 80
_RESAMPLE_ITERATIONS = 40


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Interval of one parameter; an end that is None is unbounded: the points do not exclude any value there."""

    parameter: str
    level: float
    value: float
    low: float | None
    high: float | None

    @property
    def bounded(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    def lengths(self) -> Interval:
        """Return the interval of the length itself, for one of its logarithm; an end beyond all numbers is open."""

        def length(log10: float | None) -> float | None:
            return None if log10 is None or abs(log10) > _LONGEST else 10.0**log10

        return Interval(
            parameter=self.parameter.removeprefix(LOG_PREFIX),
            level=self.level,
            value=10.0 ** min(max(self.value, -_LONGEST), _LONGEST),
            low=length(self.low),
            high=length(self.high),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return dict(vars(self))


def profile(
    fit: LawFit, points: Points, parameter: str, *, level: float = LEVEL, options: FitOptions | None = None
) -> Interval:
    """Profile-likelihood interval of one parameter: the others are fitted again at every value of it.

    The limit is a quantile of F, with the degrees of freedom that the size of the errors is known to, of chi-square
    over the factor on the variances (:func:`~optiscale.laws.diagnose.stretch_of`) and the design effect. The weak
    priors of the law have no say: where only they hold a parameter, the answer is that it is unbounded.

    Raises
    ------
    UserError
        If the law has no such parameter or was not fitted.
    """
    law, values = get_law(fit.law), fit.values()
    if parameter not in law.parameters:
        raise UserError(f"law {fit.law!r} has no parameter {parameter!r}: choose one of {', '.join(law.parameters)}")
    options = options or FitOptions()
    which = law.parameters.index(parameter)
    sigma = sigma_of(points, options, fit.noise)
    noise = fit.noise if sigma.known else None
    chi2 = float(fit.chi2 or 0.0)
    limit = float(stats.f.ppf(level, 1, dof_of(chi2, fit.n, fit.k, fit.effect, noise)))
    unit = max(stretch_of(chi2, fit.n, fit.k, noise) * fit.effect, 1e-300)
    low, high = (float(one[which]) for one in law.limits())
    reach = (
        _FARTHEST_LENGTH
        if parameter.startswith(LOG_PREFIX)
        else _FARTHEST * max(float(law.units(points.loss)[which]), abs(values[which]))
    )
    stderr = fit.params[parameter][1]
    nearest = min(0.1 * stderr, 0.1 * reach) if stderr else 1e-3 * reach
    sides: list[tuple[Array, Array]] = []
    for sign, bound in ((-1.0, low), (1.0, high)):
        room = min(reach, abs(bound - values[which])) if np.isfinite(bound) else reach
        steps = np.geomspace(min(nearest, 0.5 * room), room, _STEPS) if room > 0.0 else np.zeros(0)
        places = values[which] + sign * np.append(0.0, steps)
        sides.append((places, _lowest(fit, points, options, which, places)))
    least = min(float(cost.min()) for _, cost in sides)
    ends = [_crossing(places, np.maximum(cost - least, 0.0) / unit, limit) for places, cost in sides]
    return Interval(parameter=parameter, level=level, value=float(values[which]), low=ends[0], high=ends[1])


def _lowest(fit: LawFit, points: Points, options: FitOptions, which: int, places: Array) -> Array:
    """Lowest chi-square with one parameter held at each place."""
    law, values = get_law(fit.law), fit.values()
    start = np.tile(values, (len(places), 1))
    if fit.covariance is not None and fit.covariance[which][which] > 0:
        covariance = np.array(fit.covariance)
        response = covariance[which] / covariance[which, which]
        shift = np.clip(places - values[which], -1.0, 1.0)  # far away the straight continuation leads astray
        start = start + shift[:, None] * response[None, :]
    start[:, which] = places
    held = np.zeros(start.shape, dtype=bool)
    held[:, which] = True
    sigma = sigma_of(points, options, fit.noise).sigma
    one = (points.x, points.loss, sigma)
    data = Data.of(law, [one] * len(places), space=options.space, cost=options.cost).likelihood()
    found = refit(data, start, held=held, iterations=_PROFILE_ITERATIONS)
    # A neighbour's optimum, carried over, may lie lower than what the own start reached.
    cost, best = found.cost.copy(), found.values.copy()
    index = np.arange(len(places))
    for neighbour in (np.maximum(index - 1, 0), np.minimum(index + 1, index[-1])):
        trial = best[neighbour]
        trial[:, which] = places
        again = refit(data, trial, held=held, iterations=_PROFILE_ITERATIONS // 2)
        lower = again.cost < cost
        cost[lower], best[lower] = again.cost[lower], again.values[lower]
    return cost


def _crossing(places: Array, rise: Array, limit: float) -> float | None:
    above = np.flatnonzero(rise > limit)
    above = above[above > 0]  # a fit that its priors hold may itself lie above
    if not above.size:
        return None
    i = int(above[0])
    share = (np.sqrt(limit) - np.sqrt(rise[i - 1])) / (np.sqrt(rise[i]) - np.sqrt(rise[i - 1]))
    return float(places[i - 1] + share * (places[i] - places[i - 1]))


def bootstrap(
    fit: LawFit,
    points: Points,
    *,
    n: int = 1000,
    over: Over = "seeds",
    seed: int = 1,
    options: FitOptions | None = None,
) -> Array:
    """Refit to resampled points.

    Over ``"seeds"`` the law's own predictions are given new Gaussian seed noise, of the size that the points show (that
    of the means, or of the residuals where those are larger); three seeds are too few to be drawn from themselves. Over
    ``"points"`` the configurations are drawn with replacement, which also sees a law that does not fit.

    Returns
    -------
    array
        Parameters in the law's order, (n, k); every row starts at the fit's own minimum.
    """
    law, values = get_law(fit.law), fit.values()
    options = options or FitOptions()
    rng = np.random.default_rng(seed)
    sigma = sigma_of(points, options, fit.noise)
    variables = [points.x[name] for name in law.variables]
    loss = np.broadcast_to(points.loss, (n, len(points)))
    spread = np.broadcast_to(sigma.sigma, loss.shape)
    if over == "seeds":
        stretch = stretch_of(float(fit.chi2 or 0.0), fit.n, fit.k, fit.noise if sigma.known else None)
        size = sigma.sigma * np.sqrt(fit.effect * stretch)
        mean = np.asarray(law.function(*variables, *values), dtype=float)
        loss = mean * np.exp(rng.normal(size=loss.shape) * size / mean)
    else:
        counts = _resampled(rng, n, len(points), fit.k)
        with np.errstate(divide="ignore"):
            spread = spread / np.sqrt(counts)
    stacked = [np.broadcast_to(one, loss.shape) for one in variables]
    data = Data(law, stacked, np.asarray(loss), np.asarray(spread), options.space, options.cost)
    return refit(data, np.tile(values, (n, 1)), iterations=_RESAMPLE_ITERATIONS).values


def _resampled(rng: np.random.Generator, n: int, size: int, k: int) -> Array:
    """How often each point is drawn, (n, size), with more than k different ones in every resample."""
    counts = rng.multinomial(size, np.full(size, 1.0 / size), size=n)
    for _ in range(50):
        few = np.flatnonzero((counts > 0).sum(axis=1) <= k)
        if not few.size:
            break
        counts[few] = rng.multinomial(size, np.full(size, 1.0 / size), size=len(few))
    else:
        counts[few] = 1
    return counts.astype(float)
