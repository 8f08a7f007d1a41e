"""All forecasts of a table of losses, each judged at the reach that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from optiscale.advice.curve import beyond_of, choice_of, curves_of
from optiscale.advice.forecast import (
    Gain,
    LossForecast,
    forecast_gains,
    forecast_losses,
)
from optiscale.advice.targets import TargetForecast, forecast_targets
from optiscale.errors import UserError
from optiscale.laws import Series, StudyFits, choose_many, fit_study
from optiscale.laws.extrapolation import REACH
from optiscale.laws.uncertainty import LEVEL

_FARTHEST = 100.0


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What a study says about sizes not yet run.

    Attributes
    ----------
    losses, targets, gains
        Answers, in the order asked for.
    fits
        Fits at the usual reach.
    """

    losses: tuple[LossForecast, ...]
    targets: tuple[TargetForecast, ...]
    gains: tuple[Gain, ...]
    fits: StudyFits


def forecast(
    averages: pd.DataFrame,
    *,
    D: Sequence[int] = (),
    N: Sequence[int] = (),
    target: float | None = None,
    level: float = LEVEL,
) -> Forecasts:
    """Fit a table of losses and answer everything about the sizes and the loss asked for.

    Laws that shall reach far are chosen, weighed and calibrated by cuts that held out as far a reach: each size has its
    own fits, so that what is said of a near size does not depend on a far one.

    Parameters
    ----------
    averages
        What :func:`~optiscale.laws.average_seeds` returns.
    D, N
        Sizes asked for.
    target
        Loss to reach, if that is a question.
    level
        Nominal coverage of the intervals.

    Raises
    ------
    UserError
        If nothing is asked for, or no series can answer.
    """
    if not (D or N or target is not None):
        raise UserError("forecast: ask for a size (--data D, --params N) or a loss to reach (--target L)")
    known = {REACH: fit_study(averages)}

    def fits(reach: float) -> StudyFits:
        if reach not in known:
            known[reach] = judged_at(known[REACH], reach)
        return known[reach]

    losses: list[LossForecast] = []
    for pair in _pairs(D, N):
        reach = _reach(averages, **pair)
        losses += forecast_losses(fits(reach), **pair, level=level, reach=reach)
    gains: list[Gain] = []
    if any(True for _ in curves_of(fits(REACH), N=N, along="D")):
        gains += forecast_gains(fits(REACH), N=N, level=level)
        for d in D:
            reach = _reach(averages, D=[d])
            gains += forecast_gains(fits(reach), D=[d], N=N, level=level, reach=reach)
    targets: list[TargetForecast] = []
    if target is not None:
        targets = forecast_targets(fits(REACH), target, D=D, N=N, level=level)
        reach = min(max((one.beyond for one in targets), default=1.0), _FARTHEST)
        if reach > REACH:
            targets = forecast_targets(fits(reach), target, D=D, N=N, level=level, reach=reach)
    return Forecasts(losses=tuple(losses), targets=tuple(targets), gains=tuple(gains), fits=fits(REACH))


def judged_at(fits: StudyFits, reach: float) -> StudyFits:
    """Choose and calibrate again the laws of the series that answer, by cuts that hold out the given reach."""
    mapped = {(one.study, one.model) for one in fits.series if one.kind == "map"}
    answering = [one for one in fits.series if one.kind == "map" or (one.study, one.model) not in mapped]
    again: list[Series] = []
    for is_map in (False, True):
        some = [one for one in answering if (one.kind == "map") is is_map]
        noises = [choice_of(one).noise for one in some]
        choices = choose_many([one.as_points() for one in some], noises=noises, reach=reach)
        again += [replace(one, choice=new, best=new.best) for one, new in zip(some, choices, strict=True)]
    return replace(fits, series=again)


def _pairs(D: Sequence[int], N: Sequence[int]) -> list[dict[str, list[int]]]:
    """Every pair of sizes, or every size of the one that is given."""
    if D and N:
        return [{"D": [d], "N": [n]} for n in N for d in D]
    return [*({"D": [d], "N": []} for d in D), *({"D": [], "N": [n]} for n in N)]


def _reach(averages: pd.DataFrame, *, D: Sequence[int] = (), N: Sequence[int] = ()) -> float:
    return max(REACH, beyond_of(averages, D=D, N=N))
