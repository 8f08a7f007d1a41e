"""Find the lowest minimum of a law over many data sets at once: seeded starts, screening, descent, polish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.engine import Minima, Residuals, Rows, minimise
from optiscale.laws.registry import LOG_PREFIX, Law
from optiscale.laws.robust import Cost, cost_root

Array = NDArray[np.float64]
Space = Literal["log", "linear"]

_DRAWS_A_PARAMETER = 48
_KEPT_BY_COST = 0.6
_PLACES = 6  # parts of the range of a break
_BEYOND = 0.5  # decades outside the points in which breaks are sought
_FIRST_ITERATIONS = 50
_POLISH_ITERATIONS = 200
_POLISHED = 2
_AGREEMENT = 1e-3  # share of the lowest cost within which two starts found the same valley


@dataclass(frozen=True)
class Data:
    """One law and one or more sets of points that it is to be fitted to, all searched at once.

    Parameters
    ----------
    law
        The law.
    variables
        In the order of the law's function, (p, n) each: a row a set, padded to the longest.
    loss
        Observed mean losses, (p, n).
    sigma
        Their standard deviations, (p, n); infinite for padding and for what a set leaves out.
    space
        Whether residuals are differences of the losses or of their logarithms.
    cost
        Cost of the residuals.
    prior
        Whether the law's weak priors count.
    """

    law: Law
    variables: Sequence[Array]
    loss: Array
    sigma: Array
    space: Space = "log"
    cost: Cost = "squares"
    prior: bool = True

    @classmethod
    def of(
        cls,
        law: Law,
        sets: Sequence[tuple[Mapping[str, Array], Array, Array]],
        *,
        space: Space = "log",
        cost: Cost = "squares",
    ) -> Data:
        """Stack sets of (variables by name, losses, deviations), each (n_i,)."""
        longest = max(len(loss) for _, loss, _ in sets)

        def padded(values: Array, filler: float) -> Array:
            return np.concatenate([values, np.full(longest - len(values), filler)])

        variables = [np.stack([padded(x[name], x[name][0]) for x, _, _ in sets]) for name in law.variables]
        losses = np.stack([padded(loss, loss[0]) for _, loss, _ in sets])
        sigmas = np.stack([padded(sigma, np.inf) for _, _, sigma in sets])
        return cls(law, variables, losses, sigmas, space, cost)

    def residuals(self, problem: Rows | None = None) -> Residuals:
        """Residual function whose row i belongs to set ``problem[i]`` (to set i if not given).

        Squared and summed they are the cost; those of the priors come last.
        """
        function, variables, in_log = self.law.function, self.variables, self.space == "log"
        target = np.log(self.loss) if in_log else self.loss
        weight = (self.loss if in_log else np.ones_like(self.loss)) / self.sigma  # (p, n)
        centre, precision = self.law.prior()
        has_prior = self.prior and bool(self.law.priors)

        def of(values: Array, rows: Rows) -> Array:
            which = rows if problem is None else problem[rows]
            parameters = values.T[:, :, None]
            predicted = np.asarray(function(*(one[which] for one in variables), *parameters), dtype=float)
            if in_log:
                # A law that is not positive where the loss is has no logarithm: such a step is refused by its cost.
                predicted = np.log(np.maximum(predicted, 1e-300))
            found = cost_root((predicted - target[which]) * weight[which], self.cost)
            return np.concatenate([found, (values - centre) * precision], axis=1) if has_prior else found

        return of

    def likelihood(self) -> Data:
        """Leave the priors out: what the points alone say."""
        return replace(self, prior=False)

    def one(self, index: int) -> tuple[list[Array], Array, Array]:
        """Variables, losses and deviations of the points that set `index` has."""
        has = np.isfinite(self.sigma[index])
        return [values[index, has] for values in self.variables], self.loss[index, has], self.sigma[index, has]

    def units(self) -> Array:
        """Return the unit of every parameter of every set, (p, k)."""
        return np.stack(
            [self.law.units(loss[np.isfinite(sigma)]) for loss, sigma in zip(self.loss, self.sigma, strict=True)]
        )

    def take(self, chosen: Rows) -> Data:
        """Keep the chosen sets."""
        variables = [values[chosen] for values in self.variables]
        return replace(self, variables=variables, loss=self.loss[chosen], sigma=self.sigma[chosen])


def draw_starts(data: Data, index: int, count: int, rng: np.random.Generator) -> Array:
    """Draw starts for one set of points, (count, k): the law's guess, the best of many draws, and some of the others.

    Draws scatter around the guess: breaks over the range of the points, other lengths by a decade, exponents and levels
    by a factor of about two, half of the exponents around their prior instead; parameters that the law is linear in are
    solved for (variable projection).
    """
    law = data.law
    variables, loss, sigma = data.one(index)
    by_name = dict(zip(law.variables, variables, strict=True))
    guess = law.guess(by_name, loss)
    centre = np.array([guess[name] for name in law.parameters], dtype=float)
    shape = (max(_DRAWS_A_PARAMETER * len(centre), 2 * count), len(centre))
    draws = centre * np.exp(rng.normal(0.0, 0.7, shape)) + rng.normal(0.0, 0.03, shape) * law.units(loss)
    for i, name in enumerate(law.parameters):
        if name in law.breaks:
            log_x = np.log10(by_name[law.breaks[name]])
            draws[:, i] = rng.uniform(log_x.min() - _BEYOND, log_x.max() + _BEYOND, len(draws))
        elif name.startswith(LOG_PREFIX):
            draws[:, i] = centre[i] + rng.normal(0.0, 1.0, len(draws))
        elif name in law.priors:  # a guess that misjudges the floor misjudges every exponent: half of them from afar
            known = rng.normal(*law.priors[name], len(draws[::2]))
            draws[::2, i] = np.abs(known) if law.priors[name][0] > 0 else known
    columns = [law.parameters.index(name) for name in law.breaks]
    draws[:, columns] = np.sort(draws[:, columns], axis=1)  # breaks of one law are told apart by their order
    low, high = law.limits()
    draws = np.clip(draws, low, high)
    draws[0] = np.clip(centre, low, high)
    if law.project is not None:
        draws[1:] = np.clip(law.project(variables, loss, sigma, draws[1:]), low, high)
    single = data.take(np.array([index]))
    residuals = single.residuals(np.zeros(len(draws), dtype=np.intp))(draws, np.arange(len(draws)))
    residuals = np.clip(np.nan_to_num(residuals, nan=1e100), -1e100, 1e100)
    cost = np.einsum("rn,rn->r", residuals, residuals)
    order = np.argsort(cost, kind="stable")
    order = order[order != 0]
    if columns:
        order = order[_in_turn(draws[order, columns[0]])]
    best = order[: int(_KEPT_BY_COST * count)]
    others = np.setdiff1d(np.arange(1, len(draws)), best)[: count - 1 - len(best)]
    return draws[np.concatenate([[0], best, others])]


def _in_turn(place: Array) -> Rows:
    """Order that takes ranked draws from every part of the range of a break in turn: each may have its own valley."""
    edges = np.linspace(float(place.min()), float(place.max()), _PLACES + 1)[1:-1]
    part = np.searchsorted(edges, place)
    rank = np.zeros(len(place), dtype=int)
    for one in range(_PLACES):
        rank[part == one] = np.arange(int(np.sum(part == one)))
    return np.argsort(rank, kind="stable")


@dataclass(frozen=True)
class Found:
    """Where the starts of each set ended: values (p, s, k), costs (p, s), infinite where none, whether converged."""

    values: Array
    cost: Array
    converged: NDArray[np.bool_]

    def best(self) -> Array:
        """Values of the lowest cost of each set, (p, k)."""
        return self.values[np.arange(len(self.cost)), np.argmin(self.cost, axis=1)]


def descend(data: Data, starts: Array) -> Found:
    """Descend from every start of every set, starts (p, s, k), and polish the best few."""
    p, s, k = starts.shape
    problem = np.repeat(np.arange(p), s)
    low, high = data.law.limits()
    units = data.units()[problem]
    found = minimise(
        data.residuals(problem), starts.reshape(p * s, k), low, high, units=units, iterations=_FIRST_ITERATIONS
    )
    values, cost, converged = found.values, found.cost, found.converged
    ranked = np.argsort(cost.reshape(p, s), axis=1)[:, :_POLISHED] + np.arange(p)[:, None] * s
    again = ranked[~converged[ranked] & np.isfinite(cost[ranked])]
    if again.size:
        inner = data.residuals(problem[again])
        more = minimise(inner, values[again], low, high, units=units[again], iterations=_POLISH_ITERATIONS)
        values[again], cost[again], converged[again] = more.values, more.cost, more.converged
    return Found(values.reshape(p, s, k), cost.reshape(p, s), converged.reshape(p, s))


def multi_start(data: Data, slack: Array, seed: int, *, few: int, many: int, enough: int) -> Found:
    """Search every set from `few` starts, and from `many` more where fewer than `enough` of them agree.

    `slack` (p,) is the cost above the lowest within which two starts agree, as a share of the lowest or as an absolute
    amount, whichever is larger: :func:`agreement`.
    """
    rng = np.random.default_rng(seed)
    p, k = len(data.loss), len(data.law.parameters)
    first = descend(data, np.stack([draw_starts(data, i, few, rng) for i in range(p)]))
    agree = np.sum(first.cost <= agreement(first.cost.min(axis=1), slack)[:, None], axis=1)
    again = np.flatnonzero((agree < enough) | ~np.isfinite(first.cost.min(axis=1)))
    if not again.size:
        return first
    rest = data.take(again)
    second = descend(rest, np.stack([draw_starts(rest, i, many, rng) for i in range(len(again))]))
    values, cost = np.full((p, few + many, k), np.nan), np.full((p, few + many), np.inf)
    converged = np.zeros((p, few + many), dtype=bool)
    for whole, one, other in ((values, first.values, second.values), (cost, first.cost, second.cost)):
        whole[:, :few], whole[again, few:] = one, other
    converged[:, :few], converged[again, few:] = first.converged, second.converged
    return Found(values, cost, converged)


def agreement(lowest: Array, slack: Array) -> Array:
    """Cost up to which a start found the valley of the lowest, (p,)."""
    return lowest + np.maximum(_AGREEMENT * np.where(np.isfinite(lowest), lowest, 0.0), slack) + 1e-12


def refit(data: Data, start: Array, *, held: NDArray[np.bool_] | None = None, iterations: int = 60) -> Minima:
    """Descend once for every set, from one start each (p, k): resamples, profiles."""
    low, high = data.law.limits()
    return minimise(data.residuals(), start, low, high, held=held, units=data.units(), iterations=iterations)
