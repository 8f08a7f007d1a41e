"""What a run not yet made will give: its loss, the size that reaches a target, what 10,000 more materials buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from optiscale.advice.curve import Curve, Variable, curves_of, law_in_words, reach_tested, support
from optiscale.advice.draws import Draws, draw
from optiscale.errors import UserError
from optiscale.laws import Series, StudyFits
from optiscale.laws.extrapolation import REACH
from optiscale.laws.uncertainty import LEVEL

Array = NDArray[np.float64]

FURTHER = 10_000
"""Materials that a gain is stated for."""
HORIZON = 1e4
"""Factor beyond the largest measured size up to which a target is sought."""
_INFINITE = 1e60
_NO_FLOOR = 1e-3  # of the lowest measured loss: what is left of a power law at what stands for infinity
_LOCAL_IN_N = ("coupled_drift",)
_STEPS = 2_000


@dataclass(frozen=True, kw_only=True)
class LossForecast:
    """Loss at one pair of sizes.

    Attributes
    ----------
    study, model, kind
        Of the series that answers: a line ``"data"`` or ``"parameters"``, or a ``"map"``.
    D, N
        The sizes.
    loss
        Mean loss expected.
    low, high
        Calibrated interval of the mean law, with infinitely many seeds.
    run_low, run_high
        Interval of one new run; None where no scatter of seeds is known.
    level
        Nominal coverage of both.
    beyond
        Factor by which the sizes lie beyond the points, in the direction where that is largest; 1 inside.
    law
        The law, or the ensemble with its weights, in words.
    warning
        What the data cannot support, in words; empty if nothing.
    """

    study: str
    model: str
    kind: str
    D: int
    N: int
    loss: float
    low: float
    high: float
    run_low: float | None
    run_high: float | None
    level: float
    beyond: float
    law: str
    warning: str


@dataclass(frozen=True, kw_only=True)
class TargetForecast:
    """Size that reaches a target loss.

    Attributes
    ----------
    study, model, kind, level, law, warning
        As of :class:`LossForecast`.
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
        Loss that remains at infinite size: median and interval over laws and parameters; 0 without a floor.
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


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What further materials buy: the fall of the loss from D to D + `further`, with its interval."""

    study: str
    model: str
    kind: str
    D: int
    N: int
    further: int
    loss: float
    gain: float
    low: float
    high: float
    per_cent: float
    level: float
    law: str
    warning: str


def frame_of(rows: Sequence[LossForecast | TargetForecast | Gain]) -> pd.DataFrame:
    """Table of answers of one kind, a row an answer, a column a field."""
    return pd.DataFrame([asdict(row) for row in rows])


def forecast_losses(
    fits: StudyFits, *, D: Sequence[int] = (), N: Sequence[int] = (), level: float = LEVEL, reach: float = REACH
) -> list[LossForecast]:
    """Forecast the loss of every network at sizes not yet run.

    With both D and N every pair is answered; with one of them, every measured size of the other.

    Parameters
    ----------
    fits
        What :func:`~optiscale.laws.fit_study` returned in the held-out protocol.
    D, N
        Sizes asked for.
    level
        Nominal coverage of the intervals.
    reach
        The reach that the fits were judged with.

    Raises
    ------
    UserError
        If no size is asked for, a size is not positive, or no series can answer.
    """
    _check_sizes(D, N, level)
    if not (D or N):
        raise UserError("forecast: give the sizes to forecast, --data D or --params N")
    along: Variable = "D" if D else "N"
    rows = []
    for curve in _curves(fits, D=D, N=N, along=along):
        tested = reach_tested(curve.series, reach=reach)
        rows += [_loss(curve, size, level, tested) for size in (D if along == "D" else N)]
    return rows


def _loss(curve: Curve, size: int, level: float, tested: float) -> LossForecast:
    low, high = curve.interval(size, level=level)
    known = curve.choice.noise is not None
    run = [float(end) for end in curve.interval(size, level=level, of="run")] if known else [None, None]
    return LossForecast(
        **_origin(curve.series),
        **_sizes(curve, size),
        loss=float(curve.predict(size)),
        low=float(low),
        high=float(high),
        run_low=run[0],
        run_high=run[1],
        level=level,
        beyond=float(np.exp(curve.reach(size))),
        law=law_in_words(curve.choice),
        warning=support(curve, size, tested=tested),
    )


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
        As of :func:`forecast_losses`.
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
    _check_sizes(D, N, level)
    if not (np.isfinite(target) and target > 0):
        raise UserError(f"target {target:g}: must be a positive loss")
    drawn: dict[int, tuple[Draws, float]] = {}
    rows = []
    for curve in _curves(fits, D=D, N=N):
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
    size, low, high = (_first_below(sizes, losses, target) for losses in (curve.predict(sizes), low_end, high_end))
    floors = floors_of(curve, draws)
    floor_low, floor, floor_high = (float(v) for v in np.quantile(floors, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    name, share = curve.variable, float(np.mean(floors > target))
    if size is None and floor > target:
        verdict = f"unreachable: the floor is {floor:.4g} [{floor_low:.4g}, {floor_high:.4g}]"
        if low is not None:
            verdict += f", though the interval does not exclude {name} = {low:,.0f}"
    elif size is None:
        verdict = f"not within {HORIZON:,.0f} times the data"
    else:
        verdict = f"{name} = {size:,.0f} [{_words(low)}, {_words(high)}]"
        if size <= smallest:
            verdict = f"reached at the smallest size measured, {name} = {smallest:,.0f}"
        if share > 0.05:
            verdict += f"; {100 * share:.0f} % of the fits have a floor above it"
    return TargetForecast(
        **_origin(curve.series),
        variable=name,
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
        verdict=verdict,
        law=law_in_words(curve.choice),
        warning="" if size is None else support(curve, size, tested=tested),
    )


def floors_of(curve: Curve, draws: Draws) -> Array:
    """Loss of every draw at infinite size, (n,); 0 where the law has no floor.

    A law whose break drifts with N is no guide to infinite N (docs/laws.md): along N it is left out beside others.
    """
    parameters = dict(draws.parameters)
    if curve.variable == "N" and len(parameters) > 1:
        parameters = {name: values for name, values in parameters.items() if name not in _LOCAL_IN_N} or parameters
    floors = Draws(parameters).predict(curve.at(np.array([_INFINITE])))[:, 0]
    return np.where(floors > _NO_FLOOR * float(curve.series.points["mean"].min()), floors, 0.0)


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


def forecast_gains(
    fits: StudyFits,
    *,
    D: Sequence[int] = (),
    N: Sequence[int] = (),
    further: int = FURTHER,
    level: float = LEVEL,
    reach: float = REACH,
) -> list[Gain]:
    """Forecast the fall of the loss from D to D + `further` materials, at D, or at the largest measured if not given.

    The interval is that of the parameters and laws, and beyond the points at least that of the held-out errors: the
    rate at which earlier extrapolations went wrong is an error of the slope.
    """
    _check_sizes(D, N, level)
    rows = []
    drawn: dict[int, tuple[Draws, float]] = {}
    for curve in _curves(fits, N=N, along="D"):
        key = id(curve.series)
        if key not in drawn:
            drawn[key] = draw(curve.series), reach_tested(curve.series, reach=reach)
        places = list(D) or [int(curve.measured[1])]
        rows += [_gain(curve, size, further, level, *drawn[key]) for size in places]
    return rows


def _gain(curve: Curve, size: int, further: int, level: float, draws: Draws, tested: float) -> Gain:
    ends = np.array([size, size + further], dtype=float)
    loss, later = curve.predict(ends)
    fall = float(np.log(loss / later))
    falls = -np.diff(np.log(draws.predict(curve.at(ends))), axis=1)[:, 0]
    low, high = np.quantile(falls, [0.5 - level / 2, 0.5 + level / 2])
    held = curve.choice.spread.get("")
    if held is not None:
        t = float(stats.t.ppf(0.5 + level / 2, held.dof))
        half = t * held.rate * float(np.diff(curve.reach(ends))[0])
        low, high = min(low, fall - half), max(high, fall + half)
    gain, least, most = (float(loss * -np.expm1(-one)) for one in (fall, low, high))
    return Gain(
        **_origin(curve.series),
        **_sizes(curve, size),
        further=further,
        loss=float(loss),
        gain=gain,
        low=least,
        high=most,
        per_cent=float(-100 * np.expm1(-fall)),
        level=level,
        law=law_in_words(curve.choice),
        warning=support(curve, size, tested=tested),
    )


def _curves(
    fits: StudyFits, *, D: Sequence[int] = (), N: Sequence[int] = (), along: Variable | None = None
) -> list[Curve]:
    if along is not None:  # along a variable, its own sizes are what is asked for, not what is fixed
        D, N = ((), N) if along == "D" else (D, ())
    curves = list(curves_of(fits, D=D, N=N, along=along))
    if not curves:
        have = sorted({f"{one.kind} at {next(iter(one.fixed.items()), 'all')}" for one in fits.series})
        wanted = ", ".join(f"{name} = {', '.join(map(str, sizes))}" for name, sizes in (("D", D), ("N", N)) if sizes)
        raise UserError(
            f"no series varies {along or 'D or N'}{' at ' + wanted if wanted else ''}: there are "
            f"{', '.join(have) or 'none'}; a series needs three sizes, a map a grid of 3 x 3"
        )
    return curves


def _check_sizes(D: Sequence[int], N: Sequence[int], level: float) -> None:
    for name, sizes in (("D", D), ("N", N)):
        for size in sizes:
            if not size > 0:
                raise UserError(f"{name} {size}: a size must be positive")
    if not 0 < level < 1:
        raise UserError(f"level {level:g}: must lie between 0 and 1, such as 0.9")


def _origin(series: Series) -> dict[str, Any]:
    return {"study": series.study, "model": series.model, "kind": series.kind}


def _sizes(curve: Curve, size: float) -> dict[str, Any]:
    return cast("dict[str, Any]", {curve.variable: int(size), curve.other: curve.fixed})


def _words(size: float | None) -> str:
    return "open" if size is None else f"{size:,.0f}"
