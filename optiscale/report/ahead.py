"""What runs not yet made would give: the answers of :mod:`optiscale.advice` for the main series of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optiscale.advice import Gain, LossForecast, TargetForecast, forecast_gains, forecast_losses, forecast_targets
from optiscale.advice.forecast import FURTHER
from optiscale.advice.study import judged_at
from optiscale.figures.scaling import Kind, one_series_a_network
from optiscale.figures.style import short_number
from optiscale.laws import Series, StudyFits
from optiscale.laws.extrapolation import REACH
from optiscale.report.charts.base import LEVEL
from optiscale.report.tables import Cell, Table, cell
from optiscale.report.words import held_at

FACTORS = (2, 5, 10)
"""Multiples of the largest measured size that the page forecasts."""
LOWER = (0.1, 0.25, 0.5)
"""Targets: parts by which the loss should fall below the lowest one measured."""
_INTERVALS = f"{100 * LEVEL:.0f} % intervals"


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """Answers about runs not made, of one series along its size."""

    series: Series
    losses: Sequence[LossForecast]
    targets: Sequence[TargetForecast]
    gains: Sequence[Gain]


def look_ahead(fits: StudyFits, kind: Kind) -> list[Ahead]:
    """Forecast along D or N for the main series of every network, as far as a law was fitted to it.

    Laws that shall reach far are chosen, weighed and calibrated by cuts that held out as far a reach.
    """
    main = [one for one in one_series_a_network(fits, kind).values() if one.choice is not None and one.choice.weights]
    if not main:
        return []
    base = replace(fits, series=main)
    judged = {float(factor): judged_at(base, factor) if factor > REACH else base for factor in FACTORS}
    return [
        _ahead({reach: replace(all_, series=[all_.series[i]]) for reach, all_ in judged.items()}, kind)
        for i in range(len(main))
    ]


def _ahead(judged: Mapping[float, StudyFits], kind: Kind) -> Ahead:
    """Answer for one series, whose laws are judged at several reaches."""
    base = judged[float(FACTORS[0])]
    (one,) = base.series
    largest, lowest = int(one.points["x"].max()), float(one.points["mean"].min())
    losses: list[LossForecast] = []
    for factor, (reach, fits) in zip(FACTORS, judged.items(), strict=True):
        size = [factor * largest]
        pair = {"D": size} if kind == "data" else {"N": size}
        losses += forecast_losses(fits, D=pair.get("D", ()), N=pair.get("N", ()), level=LEVEL, reach=reach)
    further = FURTHER if largest >= FURTHER else largest
    return Ahead(
        series=one,
        losses=losses,
        targets=[_target(judged, (1.0 - part) * lowest) for part in LOWER],
        gains=forecast_gains(base, further=further, level=LEVEL) if kind == "data" else [],
    )


def _target(judged: Mapping[float, StudyFits], target: float) -> TargetForecast:
    """Size that reaches a loss, by the laws that are judged at that reach, or at the farthest there is."""
    reaches = sorted(judged)
    (first,) = forecast_targets(judged[reaches[0]], target, level=LEVEL, reach=reaches[0])
    reach = next((reach for reach in reaches if reach >= first.beyond), reaches[-1])
    if reach == reaches[0]:
        return first
    (again,) = forecast_targets(judged[reach], target, level=LEVEL, reach=reach)
    return again


def tables_ahead(made: Sequence[Ahead]) -> list[Table]:
    """Tables of losses at larger sizes, of sizes that reach a target, and of what further materials buy."""
    losses, targets, gains = [], [], []
    for one in made:
        who = [Cell(one.series.model), Cell(held_at(one.series))]
        for row in one.losses:
            size = row.N if one.series.kind == "parameters" else row.D
            ends = [cell(row.low), cell(row.high), cell(row.run_low), cell(row.run_high)]
            losses.append([*who, cell(size), cell(row.loss), *ends, cell(row.beyond, 3), Cell(row.warning)])
        for goal in one.targets:
            sizes = [_size(value) for value in (goal.size, goal.low, goal.high)]
            targets.append([*who, cell(goal.target), *sizes, cell(goal.floor, 3), Cell(_remark(goal))])
        for gain in one.gains:
            ends = [cell(gain.gain), cell(gain.low), cell(gain.high), cell(gain.per_cent, 3)]
            gains.append([*who, cell(gain.D), cell(gain.further), *ends, Cell(gain.warning)])
    first = ["network", "fixed"]
    mean_and_run = ["mean from", "to", "one run from", "to", "times data"]
    tables = [
        Table(
            caption=f"Loss at sizes not yet run, {_INTERVALS}",
            columns=[*first, "size", "loss", *mean_and_run, "remark"],
            rows=losses,
        ),
        Table(
            caption=f"Size that reaches a loss 10, 25 and 50 % below the lowest measured, {_INTERVALS}",
            columns=[*first, "target", "size", "from", "to", "floor", "remark"],
            rows=targets,
        ),
        Table(
            caption=f"What further materials buy, {_INTERVALS}",
            columns=[*first, "at D", "further", "loss falls by", "from", "to", "%", "remark"],
            rows=gains,
        ),
    ]
    return [table for table in tables if table.rows]


def _size(value: float | None) -> Cell:
    return Cell("open") if value is None else Cell(short_number(value), value)


def _remark(goal: TargetForecast) -> str:
    """Write the verdict less the numbers that have columns of their own, and the warning."""
    verdict = goal.verdict.partition("; ")[2] if goal.size is not None else goal.verdict
    return "; ".join(part for part in (verdict, goal.warning) if part)
