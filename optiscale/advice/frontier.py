"""The best N and D for a budget of compute, from a fitted map and what a run costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optiscale.advice.cost import CostModel
from optiscale.advice.curve import Curve, choice_of, law_in_words, reach_tested, support
from optiscale.advice.draws import DRAWS, draw
from optiscale.errors import UserError
from optiscale.laws import Series
from optiscale.laws.extrapolation import REACH
from optiscale.laws.uncertainty import LEVEL

Array = NDArray[np.float64]

ROOM = 10.0
"""Factor beyond the measured sizes, on either side, within which the best N and D are sought."""
_PLACES = 241
_LADDER = (1.0, 3.0)
_CLOSE = 1.01  # factor within which a size counts as at the end of the search
_NEVER = 1e300


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """Best sizes for one budget.

    Attributes
    ----------
    budget
        In the unit of the cost.
    N, D
        Sizes of the lowest loss that it buys.
    N_low, N_high, D_low, D_high
        Their interval over laws and parameters; None where it reaches the end of the sizes searched.
    loss, low, high
        Mean loss there and its calibrated interval.
    beyond
        Factor by which they lie beyond the points; 1 inside.
    edge
        Whether the best lies at the end of the sizes searched, so that it is no minimum.
    warning
        What the data cannot support, in words.
    """

    budget: float
    N: float
    N_low: float | None
    N_high: float | None
    D: float
    D_low: float | None
    D_high: float | None
    loss: float
    low: float
    high: float
    beyond: float
    edge: bool
    warning: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Frontier:
    """The best sizes over budgets.

    Attributes
    ----------
    series
        The map that it is from.
    cost
        What a run costs.
    law
        The law or ensemble in words.
    level
        Nominal coverage of the intervals.
    points
        By budget.
    growth
        Low end, median and high end of d ln N / d ln C and of d ln D / d ln C of the best sizes, by ``"N"`` and
        ``"D"``, over the budgets up to the dearest measured run; empty where fewer than two budgets lie there.
    """

    series: Series
    cost: CostModel
    law: str
    level: float
    points: tuple[FrontierPoint, ...]
    growth: Mapping[str, tuple[float, float, float]]

    def frame(self) -> pd.DataFrame:
        """Table of the points, a row a budget."""
        rows = [{"study": self.series.study, "model": self.series.model, **vars(point)} for point in self.points]
        return pd.DataFrame(rows).assign(unit=self.cost.unit, law=self.law, level=self.level)


def ladder_of(series: Series, cost: CostModel) -> list[float]:
    """Budgets 1, 3, 10, … from the cheapest measured run to the dearest."""
    spent = cost(series.points["N"].to_numpy(), series.points["D"].to_numpy())
    low, high = float(spent.min()), float(spent.max())
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = [float(f"{step * 10.0**decade:.6g}") for decade in decades for step in _LADDER]
    return [step for step in steps if low <= step <= high]


def frontier(
    series: Series,
    cost: CostModel,
    budgets: Sequence[float] = (),
    *,
    level: float = LEVEL,
    n: int = DRAWS,
    seed: int = 1,
    reach: float = REACH,
) -> Frontier:
    """Find the best N and D for every budget.

    The loss is that of the ensemble; the interval of the sizes is from the same search for every draw of laws and
    parameters; that of the loss is the calibrated one. N and D are sought up to ten times beyond the measured ones.

    Parameters
    ----------
    series
        A fitted map.
    cost
        What a run costs.
    budgets
        Costs of one run, in the model's unit; a ladder around the measured runs if not given.
    level
        Nominal coverage of the intervals.
    n, seed
        Of the draws.
    reach
        The reach that the fits were judged with.

    Raises
    ------
    UserError
        If the series is not a map, or a budget is not positive or buys nothing in the range searched.
    """
    if series.kind != "map":
        raise UserError(f"{series.model}, {series.kind}: a frontier needs a map of N and D")
    for budget in budgets:
        if not (np.isfinite(budget) and budget > 0):
            raise UserError(f"budget {budget:g}: must be a positive number ({cost.unit})")
    wanted = np.array(sorted(set(budgets)) or ladder_of(series, cost))
    choice, draws, tested = choice_of(series), draw(series, n=n, seed=seed), reach_tested(series, reach=reach)
    grid = np.geomspace(*_limits(series, "N"), _PLACES)
    least, most = _limits(series, "D")
    points, best_N, best_D = [], [], []
    for budget in wanted:
        bought = cost.data_for(budget, grid)
        N = grid[bought >= least]
        if not N.size:
            raise UserError(
                f"budget {budget:g} ({cost.unit}) buys no run with N, D within {ROOM:g} times the measured ones: the "
                f"cheapest costs {float(cost(grid[0], least)):.3g}"
            )
        D = np.minimum(bought[bought >= least], most)  # what more money there is is left over
        best = lowest_along(N, choice.predict(N=N, D=D)[None])
        own = lowest_along(N, draws.predict({"N": N, "D": D}))
        sizes = [(each, np.minimum(cost.data_for(budget, each), most)) for each in (best, own)]
        points.append(_point(series, float(budget), sizes[0], sizes[1], level, tested))
        best_N.append(np.log(sizes[1][0]))
        best_D.append(np.log(sizes[1][1]))
    dearest = float(np.max(cost(series.points["N"].to_numpy(), series.points["D"].to_numpy())))
    growth = {
        name: _exponent(np.log(wanted), np.stack(logs), wanted <= dearest, level)
        for name, logs in (("N", best_N), ("D", best_D))
        if (wanted <= dearest).sum() > 1
    }
    return Frontier(
        series=series,
        cost=cost,
        law=law_in_words(choice),
        level=level,
        points=tuple(points),
        growth=growth,
    )


def lowest_along(N: Array, losses: Array) -> Array:
    """N of the lowest loss of every row, losses (n, m) at N (m,), by a parabola in ln N through the three lowest."""
    losses = np.log(np.where(np.isfinite(losses) & (losses > 0), losses, _NEVER))
    place = np.argmin(losses, axis=1)
    if len(N) < 3:
        return N[place]
    middle = np.clip(place, 1, len(N) - 2)
    rows = np.arange(len(losses))
    before, here, after = (losses[rows, middle + step] for step in (-1, 0, 1))
    bend = before - 2.0 * here + after
    shift = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
    shift = np.where(place == middle, np.clip(shift, -0.5, 0.5), place - middle)
    return np.asarray(np.exp(np.log(N[middle]) + shift * np.log(N[1] / N[0])))


def _limits(series: Series, name: str) -> tuple[float, float]:
    sizes = series.points[name]
    return float(sizes.min()) / ROOM, float(sizes.max()) * ROOM


def _point(
    series: Series, budget: float, best: tuple[Array, Array], own: tuple[Array, Array], level: float, tested: float
) -> FrontierPoint:
    """Put one budget together from the best (N, D) of the ensemble, (1,) each, and those of the draws, (n,) each."""
    N, D = (float(sizes[0]) for sizes in best)
    curve = Curve(series=series, variable="D", fixed=round(N))
    low, high = curve.interval(D, level=level)
    ends = [_ends(sizes, _limits(series, name), level) for name, sizes in zip(("N", "D"), own, strict=True)]
    least, most = zip(*(_limits(series, name) for name in ("N", "D")), strict=True)
    edge = any(
        not lower * _CLOSE < size < upper / _CLOSE for lower, size, upper in zip(least, (N, D), most, strict=True)
    )
    notes = ["the best lies at the end of the sizes searched: it is no minimum"] if edge else []
    far = support(curve, D, tested=tested)
    return FrontierPoint(
        budget=budget,
        N=N,
        N_low=ends[0][0],
        N_high=ends[0][1],
        D=D,
        D_low=ends[1][0],
        D_high=ends[1][1],
        loss=float(curve.predict(D)),
        low=float(low),
        high=float(high),
        beyond=float(np.exp(curve.reach(D))),
        edge=edge,
        warning="; ".join([*notes, *([far] if far else [])]),
    )


def _ends(sizes: Array, limits: tuple[float, float], level: float) -> tuple[float | None, float | None]:
    """Interval of a size over the draws; an end at the limit of the search is open."""
    low, high = (float(np.exp(v)) for v in np.quantile(np.log(sizes), [0.5 - level / 2, 0.5 + level / 2]))
    return (None if low <= limits[0] * _CLOSE else low), (None if high >= limits[1] / _CLOSE else high)


def _exponent(log_budget: Array, logs: Array, inside: NDArray[np.bool_], level: float) -> tuple[float, float, float]:
    """Slope of ln size over ln budget of every draw, logs (b, n), as low end, median, high end."""
    x = log_budget[inside] - log_budget[inside].mean()
    slopes = x @ logs[inside] / float(x @ x)
    low, middle, high = np.quantile(slopes, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    return float(low), float(middle), float(high)
