"""Which runs to make next, so that the interval of an answer shrinks most for what they cost.

Every set of parameters that the points leave open (laws by weight, parameters by bootstrap) predicts the answer and the
loss of every cell that could be run. Where the two vary together over these sets, a run of that cell tells about the
answer: seen as Gaussian, it takes cov(answer, loss)^2 / (var(loss) + var(noise)) off the variance of the answer
(the Kalman gain; for one law and small errors it is the c-optimal design of Fisher's information). Cells are taken
greedily, with the covariances updated after each; nothing is run in between. A badly conditioned Jacobian does no harm:
the covariances are those of refits, which are finite where its inverse is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optiscale.advice.answers import Answer
from optiscale.advice.curve import choice_of
from optiscale.advice.draws import Draws
from optiscale.errors import UserError
from optiscale.laws import Series, bootstrap
from optiscale.laws.support import supported

Array = NDArray[np.float64]

DRAWS = 400
EXPLORED = 0.2
"""Share of the draws that goes evenly to all laws that the points support, whatever their held-out error; and share of
what a cell is worth that goes to what it tells about the losses of all other cells."""
_POWERS = (0.0, 0.5, 1.0)
_OUTSIDE = 0.025  # share of the draws at either end that is drawn in: a covariance must not hang on a few of them
_NOTHING = 1e-4  # relative fall of the variance below which a run tells nothing
_NOISE_IF_UNKNOWN = 0.01


@dataclass(frozen=True, eq=False)
class Beliefs:
    """Joint covariance of answers and of the log losses of candidate cells, over draws.

    Attributes
    ----------
    covariance
        (a + m, a + m), the a answers first.
    answers
        Values of the answers over the draws, (n, a).
    run, cell
        Variance of ln L of one run around its cell, and of a cell around the law.
    """

    covariance: Array
    answers: Array
    run: float
    cell: float


def beliefs_of(
    series: Series,
    answers: Sequence[Answer],
    N: Array,
    D: Array,
    *,
    laws: Sequence[str] | None = None,
    n: int = DRAWS,
    seed: int = 1,
) -> Beliefs:
    """Draw what the points leave open, and say what it makes of the answers and the candidate cells.

    Parameters
    ----------
    series
        Fitted points.
    answers
        What is to be pinned down.
    N, D
        Candidate cells, (m,) each.
    laws
        Laws to draw from; those that give every answer and that the points support (or the best of those that give
        it, if none is) if not given.
    n, seed
        Of the draws.

    Raises
    ------
    UserError
        If no fitted law gives all answers.
    """
    draws = _draw(series, _weights(series, answers, laws), n, seed)
    x = {"N": N, "D": D} if series.kind == "map" else {"x": N if series.kind == "parameters" else D}
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(draws.predict(x), 1e-300))
    values = np.stack([answer.values(draws) for answer in answers], axis=1)
    together = np.concatenate([values, logs], axis=1)
    finite = np.isfinite(together).all(axis=1)
    if finite.sum() < 2:
        raise UserError(f"{series.model}: the points leave the answer wide open, no draw of it is finite: add sizes")
    ends = np.quantile(together[finite], [_OUTSIDE, 1 - _OUTSIDE], axis=0)
    run, cell = _scatter(series)
    covariance = np.cov(np.clip(together[finite], *ends), rowvar=False)
    return Beliefs(np.atleast_2d(covariance), values[finite], run, cell)


def _weights(series: Series, answers: Sequence[Answer], laws: Sequence[str] | None) -> dict[str, float]:
    choice = choice_of(series)
    usable = [name for name, fit in choice.fits.items() if fit.fitted and all(answer.has(name) for answer in answers)]
    if laws is not None:
        usable = [name for name in usable if name in laws]
    if not usable:
        asked = ", ".join(answer.text for answer in answers)
        raise UserError(f"{series.model}: no law that the points can fix gives {asked}: run more sizes first")
    likely = [name for name in usable if name in supported(choice.fits) and name not in choice.refused]
    if not likely:
        likely = [min(usable, key=lambda name: float(choice.fits[name].bic or np.inf))]
    own = np.array([choice.weights.get(name, 0.0) for name in likely])
    share = own / own.sum() if own.sum() > 0 else np.full(len(likely), 1.0 / len(likely))
    share = (1.0 - EXPLORED) * share + EXPLORED / len(likely)
    return dict(zip(likely, share.tolist(), strict=True))


def _draw(series: Series, weights: dict[str, float], n: int, seed: int) -> Draws:
    fits, points = choice_of(series).fits, series.as_points()
    return Draws(
        {
            name: bootstrap(fits[name], points, n=max(2, round(n * weight)), seed=seed)
            for name, weight in weights.items()
        }
    )


def _scatter(series: Series) -> tuple[float, float]:
    """Variance of ln L of a run around its cell, and of a cell around the best law beyond what seeds explain."""
    choice = choice_of(series)
    fit = choice.fits[str(choice.best)]
    if choice.noise is None:
        rest = float(fit.redchi or 0.0) if fit.redchi is not None else _NOISE_IF_UNKNOWN**2
        return max(rest, 1e-12), 0.0
    points = series.as_points()
    run = float(np.mean((choice.noise.run(points.loss, points.size) / points.loss) ** 2))
    mean = run / float(np.mean(points.n_seeds))
    return run, mean * max(0.0, float(fit.redchi or 1.0) - 1.0)


def further_noise(beliefs: Beliefs, done: Array, more: Array) -> Array:
    """Variance of the observation that `more` seeds of a cell add to `done` ones, (m,).

    A cell with n seeds knows the law to 1 / (cell + run / n); what further seeds add is the difference.
    """

    def known(seeds: Array) -> Array:
        return np.where(seeds > 0, 1.0 / (beliefs.cell + beliefs.run / np.maximum(seeds, 1.0)), 0.0)

    return np.asarray(1.0 / np.maximum(known(done + more) - known(done), 1e-300))


@dataclass(frozen=True)
class Picks:
    """Cells in the order to run them, what is left of the variance of each answer, as a share, and the plan's score."""

    cells: tuple[int, ...]
    left: Array
    score: float


def pick(
    beliefs: Beliefs,
    cost: Array,
    done: Array,
    budget: float,
    *,
    together: int = 1,
    most_seeds: int | Array = 3,
) -> Picks:
    """Choose cells within a budget.

    Greedy by what a cell tells over cost^p for p = 0, 1/2 and 1: cheap cells first is best where they tell anything,
    dear ones where only they do. The plan that leaves the least variance is taken. What a cell tells is the relative
    fall of the answers' variances, and to a fifth that of all candidates' losses: with few points the answer's own
    covariances are poorly known, and what is learned about the whole grid is never lost.

    Parameters
    ----------
    beliefs
        Of the answers and the candidates.
    cost
        Of one run of every candidate, (m,).
    done
        Seeds that each has already, (m,).
    budget
        To be spent at most.
    together
        Seeds that are run of a cell at a time.
    most_seeds
        Seeds of a cell at most; of each, (m,), where they differ.
    """
    plans = [_greedy(beliefs, cost, done, budget, power, together, most_seeds) for power in _POWERS]
    return min(plans, key=lambda plan: plan.score)


def _greedy(
    beliefs: Beliefs, cost: Array, done: Array, budget: float, power: float, together: int, most_seeds: int | Array
) -> Picks:
    a = beliefs.answers.shape[1]
    covariance = beliefs.covariance.copy()
    first = np.maximum(np.diag(covariance).copy(), 1e-300)
    seeds, left = done.astype(float).copy(), budget
    picked: list[int] = []
    price = together * cost
    while True:
        noise = further_noise(beliefs, seeds, np.full_like(seeds, together))
        own = np.maximum(np.diag(covariance)[a:], 0.0)
        fall = covariance[:, a:] ** 2 / (own + noise) / np.maximum(np.diag(covariance)[:, None], 1e-300)
        affordable = (price <= left * (1 + 1e-9)) & (seeds + together <= most_seeds)
        if not (affordable & (fall[:a].mean(axis=0) > _NOTHING)).any():
            remains = np.diag(covariance) / first
            return Picks(tuple(picked), remains[:a], float(_weighed(np.log(np.maximum(remains, 1e-12)), a)))
        worth = _weighed(fall, a) / price**power
        best = int(np.argmax(np.where(affordable, worth, -np.inf)))
        row = covariance[:, a + best].copy()
        covariance -= np.outer(row, row) / (own[best] + noise[best])
        seeds[best] += together
        left -= float(price[best])
        picked.append(best)


def _weighed(values: Array, a: int) -> Array:
    """Mean over the first `a` rows, the answers, with a share for that over the rest, the cells."""
    return np.asarray((1.0 - EXPLORED) * values[:a].mean(axis=0) + EXPLORED * values[a:].mean(axis=0))
