"""The size that reaches a loss, or the floor that says there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optiscale.advice.curve import Curve, Variable, law_in_words, reach_tested, support
from optiscale.advice.draws import Draws, draw
from optiscale.advice.question import check_question, curves_that_answer, origin_of
from optiscale.errors import UserError
from optiscale.laws import StudyFits
from optiscale.laws.extrapolation import REACH
from optiscale.laws.uncertainty import LEVEL

Array = NDArray[np.float64]

HORIZON = 1e3
"""Factor beyond the largest measured size up to which a target is sought."""
_INFINITE = 1e60
_NO_FLOOR = 1e-3  # of the lowest measured loss: what is left of a power law at what stands for infinity
_LOCAL_IN_N = ("coupled_drift",)
_STEPS = 2_000
_WORTH_SAYING = 0.05


@dataclass(frozen=True, kw_only=True)
class TargetForecast:
    """Size that reaches a target loss.

    Attributes
    ----------
    study, model, kind, level, law, warning
        As of :class:`~optiscale.advice.forecast.LossForecast`.
    variable, fixed
        What is to grow, ``"D"`` or ``"N"``, and the size of the other.
    target
        The loss wanted.
    size
        Size at which the mean loss is the target; None if there is none within :data:`HORIZON` times the data.
    low, high
        The sizes whose interval of the mean law holds the target; `high` is None where the upper end of that interval
        never gets there, both are None where the lower end does not either.
    beyond
        Factor by which that size lies beyond the points; 1 inside, and where there is none.
    floor, floor_low, floor_high
        Lowest loss from the measured sizes on, at infinite size unless it rises: median and interval over laws and
        parameters; 0 without a floor.
    verdict
        The answer in words.
    """

    study: str
    model: str
    kind: str
    variable: Variable
    fixed: int
    target: float
    size: float | None
    low: float | None
    high: float | None
    beyond: float
    floor: float
    floor_low: float
    floor_high: float
    level: float
    verdict: str
    law: str
    warning: str


def forecast_targets(
    fits: StudyFits,
    target: float,
    *,
    D: Sequence[int] = (),
    N: Sequence[int] = (),
    level: float = LEVEL,
    reach: float = REACH,
) -> list[TargetForecast]:
    """Find the data size (and parameter count) at which each network reaches a loss.

    Parameters
    ----------
    fits, level, reach
        As of :func:`~optiscale.advice.forecast.forecast_losses`.
    target
        The loss.
    D, N
        Where to ask: the data size is sought at these N, the parameter count at these D. Without N at every N measured;
        without D, over a map, at its largest D.

    Raises
    ------
    UserError
        If the target is not positive, or no series can answer.
    """
    check_question(D, N, level)
    if not (np.isfinite(target) and target > 0):
        raise UserError(f"target {target:g}: must be a positive loss")
    drawn: dict[int, tuple[Draws, float]] = {}
    rows = []
    for curve in curves_that_answer(fits, D=D, N=N):
        if curve.series.kind == "map" and curve.variable == "N" and not D and curve.fixed < _largest(curve, "D"):
            continue
        key = id(curve.series)
        if key not in drawn:
            drawn[key] = draw(curve.series), reach_tested(curve.series, reach=reach)
        rows.append(_target(curve, target, level, *drawn[key]))
    return rows


def _largest(curve: Curve, name: str) -> int:
    return int(curve.series.points[name].max())


def _target(curve: Curve, target: float, level: float, draws: Draws, tested: float) -> TargetForecast:
    smallest, largest = curve.measured
    sizes = np.geomspace(smallest, HORIZON * largest, _STEPS)
    low_end, high_end = curve.interval(sizes, level=level)
    expected = curve.predict(sizes)
    size, low, high = (_first_below(sizes, losses, target) for losses in (expected, low_end, high_end))
    floors = floors_of(curve, draws)
    floor_low, floor, floor_high = (float(v) for v in np.quantile(floors, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    factor = float(curve.choice.widening(level, **curve.at(HORIZON * largest)))
    floor_low, floor_high = max(0.0, floor - factor * (floor - floor_low)), floor + factor * (floor_high - floor)
    return TargetForecast(
        **origin_of(curve.series),
        variable=curve.variable,
        fixed=curve.fixed,
        target=float(target),
        size=size,
        low=low,
        high=high,
        beyond=1.0 if size is None else float(np.exp(curve.reach(size))),
        floor=floor,
        floor_low=floor_low,
        floor_high=floor_high,
        level=level,
        verdict=_verdict(
            curve, target, (size, low, high), floors, (floor, floor_low, floor_high), rises=expected[-1] > expected[0]
        ),
        law=law_in_words(curve.choice),
        warning="" if size is None else support(curve, size, tested=tested),
    )


def _verdict(
    curve: Curve,
    target: float,
    found: tuple[float | None, float | None, float | None],
    floors: Array,
    floor: tuple[float, float, float],
    *,
    rises: bool,
) -> str:
    """Say what reaches the target, from the size found and its ends, and from the floor and its ends."""
    (size, low, high), name = found, curve.variable
    if size is None and floor[0] > target:
        what = f"the loss rises with {name}, the lowest" if rises else "the floor"
        words = f"unreachable: {what} is {floor[0]:.4g} [{floor[1]:.4g}, {floor[2]:.4g}]"
        return words if low is None else f"{words}, though the interval does not exclude {name} = {low:,.0f}"
    if size is None:
        words = f"not within {HORIZON:,.0f} times the data"
    elif size <= curve.measured[0]:
        words = f"reached at the smallest size measured, {name} = {size:,.0f}"
    else:
        words = f"{name} = {size:,.0f} [{_words(low)}, {_words(high)}]"
    share = float(np.mean(floors > target))
    return words if share <= _WORTH_SAYING else f"{words}; {100 * share:.0f} % of the fits have a floor above it"


def floors_of(curve: Curve, draws: Draws) -> Array:
    """Lowest loss of every draw from the measured sizes on, (n,): that at infinite size, and 0 where it has no floor.

    A law whose break drifts with N is no guide to infinite N (docs/laws.md): along N it is left out beside others.
    """
    parameters = dict(draws.parameters)
    if curve.variable == "N" and len(parameters) > 1:
        parameters = {name: values for name, values in parameters.items() if name not in _LOCAL_IN_N} or parameters
    # a loss that rises with the size is lowest at the smallest one measured, not at infinity
    ends = curve.at(np.array([*curve.measured, _INFINITE]))
    drawn = (
        Draws(parameters),
        replace(draws, parameters=parameters),
    )  # damped, any may seem to have one
    of_laws, floors = (one.predict(ends).min(axis=1) for one in drawn)
    return np.where(of_laws > _NO_FLOOR * float(curve.series.points["mean"].min()), floors, 0.0)


def _first_below(sizes: Array, losses: Array, target: float) -> float | None:
    """First size at which the loss is no longer above the target, by interpolation in logarithms."""
    below = np.flatnonzero(losses <= target)
    if not below.size:
        return None
    i = int(below[0])
    if i == 0:
        return float(sizes[0])
    fall = np.log(losses[i - 1 : i + 1])
    share = (fall[0] - np.log(target)) / (fall[0] - fall[1])
    return float(np.exp(np.log(sizes[i - 1]) + share * np.log(sizes[i] / sizes[i - 1])))


def _words(size: float | None) -> str:
    return "open" if size is None else f"{size:,.0f}"
