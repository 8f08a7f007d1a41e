"""The plan of the runs to make next, from a table of the runs made: cells, seeds, cost, what it will tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optiscale.advice.answers import answer_of
from optiscale.advice.cost import Cost
from optiscale.advice.curve import choice_of
from optiscale.advice.design import Beliefs, beliefs_of, pick
from optiscale.errors import UserError
from optiscale.laws import Series
from optiscale.laws.uncertainty import LEVEL

Array = NDArray[np.float64]

SEEDS = 3
"""Seeds of a cell at most, unless some cell has more already."""


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """One run to make; `spent` is the cost of the plan up to it."""

    D: int
    N: int
    seed: int
    cost: float
    spent: float


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Interval of an answer now, and the one expected after the runs.

    Attributes
    ----------
    answer
        As asked.
    value, low, high
        Median and interval over laws and parameters.
    then_low, then_high
        The interval expected, around the same value.
    left
        Its width over that of now (of a length, in decades).
    """

    answer: str
    value: float
    low: float
    high: float
    then_low: float
    then_high: float
    left: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Runs to make next for one network.

    Attributes
    ----------
    series
        The points that it is from.
    runs
        In the order to make them, the most telling for their cost first; empty if no affordable run tells anything.
    expected
        An answer each.
    budget, spent, made
        Cost allowed, of the plan, and of the runs made so far.
    level
        Nominal coverage of the intervals.
    notes
        What a reader must know.
    """

    series: Series
    runs: tuple[NextRun, ...]
    expected: tuple[Expected, ...]
    budget: float
    spent: float
    made: float
    level: float
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """Table of the runs, a row a run."""
        rows = [{"study": self.series.study, "model": self.series.model, **vars(run)} for run in self.runs]
        return pd.DataFrame(rows, columns=["study", "model", "D", "N", "seed", "cost", "spent"])


def plan_next(
    series: Series,
    cost: Cost,
    budget: float,
    answers: Sequence[str],
    *,
    made: pd.DataFrame | None = None,
    D: Sequence[int] = (),
    N: Sequence[int] = (),
    level: float = LEVEL,
    laws: Sequence[str] | None = None,
) -> Plan:
    """Choose the runs that shrink the intervals of the answers most within a budget.

    Candidates are all pairs of the measured sizes and of those given, each with up to three seeds.

    Parameters
    ----------
    series
        One of :func:`~optiscale.advice.grids.series_to_plan`.
    cost
        Cost of one run, ``cost(N, D)``.
    budget
        Cost of all runs at most.
    answers
        What is to be pinned down (:func:`~optiscale.advice.answers.answer_of`); several count alike.
    made
        The runs made, a row a run, for the seeds that are taken.
    D, N
        Further sizes that could be run.
    level
        Nominal coverage of the intervals.
    laws
        Laws to reason with; those that the points support if not given.

    Raises
    ------
    UserError
        If the budget is not positive, nothing is asked, or no law has the answer.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise UserError(f"budget {budget:g}: must be a positive number")
    if not answers:
        raise UserError("next: say what the runs are to pin down: --answer D_c, alpha, a parameter or loss@D,N")
    asked = [answer_of(text, series) for text in dict.fromkeys(answers)]
    cells = _candidates(series, D, N)
    n, d = cells[:, 0], cells[:, 1]
    done = _seeds_done(series, cells)
    beliefs = beliefs_of(series, asked, n, d, laws=laws)
    price = np.broadcast_to(np.asarray(cost(n, d), dtype=float), n.shape)
    if not (np.isfinite(price).all() and (price > 0).all()):
        raise UserError("the cost of a candidate cell is not a positive number: give another column or function")
    most = max(SEEDS, int(done.max()))
    picks = pick(beliefs, price, done, budget, most_seeds=most)
    spent = np.cumsum([price[i] for i in picks.cells])
    seeds = _seeds_for(cells, picks.cells, made)
    runs = [
        NextRun(D=int(d[i]), N=int(n[i]), seed=seed, cost=float(price[i]), spent=float(total))
        for i, seed, total in zip(picks.cells, seeds, spent, strict=True)
    ]
    return Plan(
        series=series,
        runs=tuple(runs),
        expected=tuple(_expected(answer, beliefs, i, float(picks.left[i]), level) for i, answer in enumerate(asked)),
        budget=budget,
        spent=float(spent[-1]) if len(spent) else 0.0,
        made=float(np.sum(np.asarray(cost(n, d)) * done)),
        level=level,
        notes=_notes(series, runs, float(price.min()), budget, full=bool((done >= most).all())),
    )


def _candidates(series: Series, D: Sequence[int], N: Sequence[int]) -> Array:
    """Every pair of sizes that could be run, (m, 2) with N first."""
    for name, sizes in (("D", D), ("N", N)):
        for size in sizes:
            if not size > 0:
                raise UserError(f"{name} {size}: a size must be positive")
        if sizes and name in series.fixed:
            raise UserError(
                f"{name} of {series.model} does not vary: its runs have {name} = {series.fixed[name]:,} only"
            )
    values = [sorted({*series.points[name].astype(int), *more}) for name, more in (("N", N), ("D", D))]
    return np.array([(n, d) for n in values[0] for d in values[1]], dtype=float)


def _seeds_done(series: Series, cells: Array) -> Array:
    """Seeds that every candidate has, (m,); one where the table does not tell."""
    seeds = np.maximum(series.points["n_seeds"].to_numpy(dtype=float), 1.0)
    have = dict(zip(zip(series.points["N"], series.points["D"], strict=True), seeds, strict=True))
    return np.array([have.get((n, d), 0.0) for n, d in cells])


def _seeds_for(cells: Array, picked: Sequence[int], made: pd.DataFrame | None) -> list[int]:
    """Seed of every run: those used elsewhere in the study first, which the cell lacks."""
    known = made is not None and "seed" in made.columns
    usual = [int(seed) for seed in dict.fromkeys(made["seed"])] if made is not None and known else []
    taken: dict[int, set[int]] = {}
    seeds = []
    for i in picked:
        if i not in taken:
            mine = made[(made["N"] == cells[i, 0]) & (made["D"] == cells[i, 1])] if made is not None and known else None
            taken[i] = set() if mine is None else {int(seed) for seed in mine["seed"]}
        free = [seed for seed in usual if seed not in taken[i]]
        seed = free[0] if free else max([0, *taken[i], *usual]) + 1
        taken[i].add(seed)
        seeds.append(seed)
    return seeds


def _expected(answer: Any, beliefs: Beliefs, index: int, left: float, level: float) -> Expected:
    low, value, high = np.quantile(beliefs.answers[:, index], [0.5 - level / 2, 0.5, 0.5 + level / 2])
    shrink = float(np.sqrt(max(left, 0.0)))
    return Expected(
        answer=answer.text,
        value=answer.shown(value),
        low=answer.shown(low),
        high=answer.shown(high),
        then_low=answer.shown(value - shrink * (value - low)),
        then_high=answer.shown(value + shrink * (high - value)),
        left=shrink,
    )


def _notes(series: Series, runs: Sequence[NextRun], cheapest: float, budget: float, *, full: bool) -> tuple[str, ...]:
    notes = []
    if not runs:
        why = f"the cheapest costs {cheapest:.3g}" if cheapest > budget else "none tells anything more"
        why = "every cell has its seeds: name further sizes, --data D or --params N" if full else why
        notes.append(f"no run within the budget of {budget:.3g}: {why}")
    if choice_of(series).noise is None:
        notes.append("no scatter of seeds is known: the residuals stand for it")
    return tuple(notes)
