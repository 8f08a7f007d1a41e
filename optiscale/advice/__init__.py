"""What fitted laws say about the next run: forecasts, the frontier of a budget, the cells to run next.

>>> from optiscale.advice import forecast, frame_of
>>> from optiscale.laws import average_seeds, load_published
>>> found = forecast(average_seeds(load_published()), D=[320_000], target=0.4)
>>> frame_of(found.losses), frame_of(found.targets), frame_of(found.gains)  # doctest: +SKIP
"""

from __future__ import annotations

from optiscale.advice.cost import Cost, CostModel, cost_of, counted_cost, measured_cost
from optiscale.advice.forecast import (
    Gain,
    LossForecast,
    forecast_gains,
    forecast_losses,
    frame_of,
)
from optiscale.advice.frontier import Frontier, FrontierPoint, frontier, ladder_of
from optiscale.advice.grids import grids_of, map_series, series_to_plan
from optiscale.advice.next_runs import Expected, NextRun, Plan, plan_next
from optiscale.advice.study import Forecasts, forecast
from optiscale.advice.targets import TargetForecast, forecast_targets

__all__ = [
    "Cost",
    "CostModel",
    "Expected",
    "Forecasts",
    "Frontier",
    "FrontierPoint",
    "Gain",
    "LossForecast",
    "NextRun",
    "Plan",
    "TargetForecast",
    "cost_of",
    "counted_cost",
    "forecast",
    "forecast_gains",
    "forecast_losses",
    "forecast_targets",
    "frame_of",
    "frontier",
    "grids_of",
    "ladder_of",
    "map_series",
    "measured_cost",
    "plan_next",
    "series_to_plan",
]
