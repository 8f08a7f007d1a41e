"""Find the lowest minimum of a law over many data sets at once: seeded starts, screening, descent, polish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.engine import Cost, Minima, Residuals, Rows, cost_of, minimise
from optiscale.laws.registry import LOG_PREFIX, Law

Array = NDArray[np.float64]
Space = Literal["log", "linear"]

_DRAWS = 192
_KEPT_BY_COST = 0.6
_BEYOND = 0.5  # decades outside the points in which breaks are sought
_FIRST_ITERATIONS = 60
_POLISH_ITERATIONS = 500
_POLISHED = 3


@dataclass(frozen=True)
class Data:
    """Variables of a law and the losses of one or more data sets at them.

    Parameters
    ----------
    law
        The law.
    variables
        In the order of the law's function, (n,) each.
    loss
        Observed mean losses, (p, n).
    sigma
        Their standard deviations, (p, n); infinite for a point that a data set does not have.
    space
        Whether residuals are differences of the losses or of their logarithms.
    cost
        Cost of the residuals.
    """

    law: Law
    variables: Sequence[Array]
    loss: Array
    sigma: Array
    space: Space = "log"
    cost: Cost = "squares"

    def residuals(self, problem: Rows | None = None) -> Residuals:
        """Residual function whose row i belongs to data set ``problem[i]`` (to data set i if not given)."""
        function, variables = self.law.function, [values[None, :] for values in self.variables]
        log_loss = np.log(self.loss)
        weight = (self.loss if self.space == "log" else np.ones_like(self.loss)) / self.sigma  # (p, n)

        def of(values: Array, rows: Rows) -> Array:
            which = rows if problem is None else problem[rows]
            predicted = np.asarray(function(*variables, *(values[:, i, None] for i in range(values.shape[1]))))
            predicted = np.broadcast_to(predicted, (len(which), self.loss.shape[1]))
            if self.space == "log":
                # A law that is not positive where the loss is has no logarithm: such a step is refused by its cost.
                return (np.log(np.maximum(predicted, 1e-300)) - log_loss[which]) * weight[which]
            return (predicted - self.loss[which]) * weight[which]

        return of

    def one(self, index: int) -> tuple[list[Array], Array, Array]:
        """Variables, losses and deviations of the points that data set `index` has."""
        has = np.isfinite(self.sigma[index])
        return [values[has] for values in self.variables], self.loss[index, has], self.sigma[index, has]


def draw_starts(data: Data, index: int, count: int, rng: np.random.Generator) -> Array:
    """Starts for one data set, (count, k): the law's guess, the best of many draws, and some of the others.

    Draws scatter around the guess: breaks over the range of the points, other lengths by a decade, exponents and levels
    by a factor of about two; parameters that the law is linear in are solved for (variable projection).
    """
    law = data.law
    variables, loss, sigma = data.one(index)
    by_name = dict(zip(law.variables, variables, strict=True))
    guess = law.guess(by_name, loss)
    centre = np.array([guess[name] for name in law.parameters], dtype=float)
    draws = centre * np.exp(rng.normal(0.0, 0.7, (_DRAWS, len(centre)))) + rng.normal(0.0, 0.03, (_DRAWS, len(centre)))
    for i, name in enumerate(law.parameters):
        if name in law.breaks:
            log_x = np.log10(by_name[law.breaks[name]])
            draws[:, i] = rng.uniform(log_x.min() - _BEYOND, log_x.max() + _BEYOND, _DRAWS)
        elif name.startswith(LOG_PREFIX):
            draws[:, i] = centre[i] + rng.normal(0.0, 1.0, _DRAWS)
    low, high = law.limits()
    draws = np.clip(draws, low, high)
    draws[0] = np.clip(centre, low, high)
    if law.linear is not None:
        draws[1:] = np.clip(_project(law, variables, loss, sigma, draws[1:]), low, high)
    single = Data(law, variables, loss[None], sigma[None], data.space, data.cost)
    residuals = np.nan_to_num(single.residuals(np.zeros(_DRAWS, dtype=np.intp))(draws, np.arange(_DRAWS)), nan=1e100)
    order = np.argsort(cost_of(np.clip(residuals, -1e100, 1e100), data.cost), kind="stable")
    best = order[order != 0][: int(_KEPT_BY_COST * count)]
    others = np.setdiff1d(np.arange(1, _DRAWS), best)[: count - 1 - len(best)]
    return draws[np.concatenate([[0], best, others])]


def _project(law: Law, variables: Sequence[Array], loss: Array, sigma: Array, draws: Array) -> Array:
    """Replace what the law is linear in by the weighted least-squares solution that is not negative, row by row."""
    assert law.linear is not None  # noqa: S101 - for the type checker; the caller looked
    columns = law.linear.columns(*(v[None, :] for v in variables), *(draws[:, i, None] for i in range(draws.shape[1])))
    shape = (len(draws), len(loss))
    design = np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1) / sigma[None, :, None]  # (r, n, m)
    scale = np.sqrt(np.einsum("rnm,rnm->rm", design, design)) + 1e-300
    design = design / scale[:, None, :]
    target = loss / sigma
    best, chosen = np.full(len(draws), np.inf), np.zeros((len(draws), design.shape[-1]))
    for size in range(1, design.shape[-1] + 1):
        for subset in combinations(range(design.shape[-1]), size):
            part = design[:, :, subset]
            normal = np.einsum("rni,rnj->rij", part, part) + 1e-12 * np.eye(size)
            solution = np.linalg.solve(normal, np.einsum("rni,n->ri", part, target)[..., None])[..., 0]
            rest = np.einsum("rni,ri->rn", part, solution) - target
            chi2 = np.where((solution >= 0).all(axis=1), np.einsum("rn,rn->r", rest, rest), np.inf)
            better = chi2 < best
            best[better] = chi2[better]
            chosen[better] = 0.0
            chosen[np.ix_(better, subset)] = solution[better]
    by_name = {name: draws[:, i] for i, name in enumerate(law.parameters)}
    replaced = law.linear.assemble((chosen / scale).T, by_name)
    return np.stack([np.asarray(replaced.get(name, by_name[name])) for name in law.parameters], axis=-1)


def descend(data: Data, starts: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Descend from every start of every data set, starts (p, s, k), and polish the best few.

    Returns
    -------
    tuple
        Values (p, s, k), costs (p, s) and whether each converged (p, s).
    """
    p, s, k = starts.shape
    problem = np.repeat(np.arange(p), s)
    low, high = data.law.limits()
    residuals = data.residuals(problem)
    found = minimise(residuals, starts.reshape(p * s, k), low, high, cost=data.cost, iterations=_FIRST_ITERATIONS)
    values, cost = found.values, found.cost.copy()
    converged = found.converged.copy()
    ranked = np.argsort(cost.reshape(p, s), axis=1)[:, :_POLISHED] + np.arange(p)[:, None] * s
    again = ranked[~converged[ranked]]
    if again.size:
        inner = data.residuals(problem[again])
        more = minimise(inner, values[again], low, high, cost=data.cost, iterations=_POLISH_ITERATIONS)
        values[again], cost[again], converged[again] = more.values, more.cost, more.converged
    return values.reshape(p, s, k), cost.reshape(p, s), converged.reshape(p, s)


def refit(data: Data, start: Array, *, held: NDArray[np.bool_] | None = None, iterations: int = 60) -> Minima:
    """Descend once for every data set, from one start each (p, k): resamples, profiles, shifted origins."""
    low, high = data.law.limits()
    return minimise(data.residuals(), start, low, high, cost=data.cost, held=held, iterations=iterations)
