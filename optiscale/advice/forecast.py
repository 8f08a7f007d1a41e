"""What a run not yet made will give: its loss, the size that reaches a target, what 10,000 more materials buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optiscale.advice.curve import Curve, Variable, curves_of, law_in_words, reach_tested, support
from optiscale.advice.draws import Draws, draw
from optiscale.advice.question import check_question, curves_that_answer, origin_of, sizes_at
from optiscale.advice.targets import TargetForecast
from optiscale.errors import UserError
from optiscale.laws import StudyFits
from optiscale.laws.extrapolation import REACH
from optiscale.laws.uncertainty import LEVEL

Array = NDArray[np.float64]

FURTHER = 10_000
"""Materials that a gain is stated for."""


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
    check_question(D, N, level)
    if not (D or N):
        raise UserError("forecast: give the sizes to forecast, --data D or --params N")
    along: Variable = "D" if D else "N"
    asked: list[tuple[Curve, Sequence[int]]] = []
    if D and N:  # a map answers a pair along D; a line over N does if its D is the one asked for
        asked = [(one, N) for one in curves_of(fits, D=D, along="N") if one.series.kind == "parameters"]
    if not asked or any(True for _ in curves_of(fits, N=N, along=along)):
        asked += [(one, D if along == "D" else N) for one in curves_that_answer(fits, D=D, N=N, along=along)]
    rows = []
    for curve, sizes in asked:
        tested = reach_tested(curve.series, reach=reach)
        rows += [_loss(curve, size, level, tested) for size in sizes]
    return rows


def _loss(curve: Curve, size: int, level: float, tested: float) -> LossForecast:
    low, high = curve.interval(size, level=level)
    known = curve.choice.noise is not None
    run = [float(end) for end in curve.interval(size, level=level, of="run")] if known else [None, None]
    return LossForecast(
        **origin_of(curve.series),
        **sizes_at(curve, size),
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

    The interval is that of the parameters and laws, beyond the points widened or narrowed by what earlier
    extrapolations were wrong by over what was stated of them.
    """
    check_question(D, N, level)
    rows = []
    drawn: dict[int, tuple[Draws, float]] = {}
    for curve in curves_that_answer(fits, N=N, along="D"):
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
    factor = float(curve.choice.widening(level, **curve.at(ends))[1])
    low, high = fall - factor * (fall - low), fall + factor * (high - fall)
    gain, least, most = (float(loss * -np.expm1(-one)) for one in (fall, low, high))
    return Gain(
        **origin_of(curve.series),
        **sizes_at(curve, size),
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
