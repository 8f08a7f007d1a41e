"""What runs not yet made would give: the answers of :mod:`optiscale.advice` for the main series of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optiscale.advice import Gain, LossForecast, TargetForecast, forecast_gains, forecast_losses, forecast_targets
from optiscale.advice.forecast import FURTHER
from optiscale.figures.scaling import Kind, one_series_a_network
from optiscale.figures.style import short_number
from optiscale.laws import Series, StudyFits
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
    """Forecast along D or N for the main series of every network, as far as a law was fitted to it."""
    found = []
    for one in one_series_a_network(fits, kind).values():
        if one.choice is None or not one.choice.weights:
            continue
        alone = replace(fits, series=[one])
        largest, lowest = int(one.points["x"].max()), float(one.points["mean"].min())
        sizes = [factor * largest for factor in FACTORS]
        over_data = kind == "data"
        further = FURTHER if largest >= FURTHER else largest
        found.append(
            Ahead(
                series=one,
                losses=forecast_losses(alone, D=sizes if over_data else (), N=() if over_data else sizes, level=LEVEL),
                targets=[forecast_targets(alone, (1.0 - part) * lowest, level=LEVEL)[0] for part in LOWER],
                gains=forecast_gains(alone, further=further, level=LEVEL) if over_data else [],
            )
        )
    return found


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
