"""The laws carried beyond the data, with their calibrated intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optiscale.advice import LossForecast
from optiscale.figures.style import NetworkStyle, network_styles
from optiscale.laws import Series
from optiscale.report.charts.base import (
    GREY,
    LEVEL,
    Chart,
    band,
    figure,
    listed,
    loss_axis,
    plain,
    size_axis,
    stretched,
    symbol,
)
from optiscale.report.charts.losses import SIZE, mean_trace

_POINTS_OF_A_LINE = 80
_TALLEST = 2.0


def forecast_chart(kind: str, series: Sequence[Series], ahead: Sequence[Sequence[LossForecast]]) -> Chart | None:
    """Draw every network's ensemble of laws within its points, and its forecasts beyond; None without a series.

    Parameters
    ----------
    kind
        ``"data"`` or ``"parameters"``.
    series
        One a network.
    ahead
        Forecasts of each, by growing size; between them the interval is interpolated.
    """
    if not series:
        return None
    size = SIZE[kind]
    styles = network_styles([one.model for one in series])
    traces: list[dict[str, Any]] = []
    held: list[np.ndarray] = []
    for one, rows in zip(series, ahead, strict=True):
        style = styles[one.model]
        made, ends = _beyond(one, rows, style)
        traces += [*made, mean_trace(one, style, name=plain(one.model), legendgroup=one.model)]
        held += [ends, one.points["mean"].to_numpy()]
    measured = pd.concat([one.points["x"] for one in series]).to_numpy(dtype=float)
    wide = np.append(measured, [_size_of(row, kind) for rows in ahead for row in rows])
    layout: dict[str, Any] = {
        "xaxis": size_axis(size, wide, at=wide),
        "yaxis": loss_axis(np.concatenate(held)),
        "shapes": [
            {"type": "line", "x0": edge, "x1": edge, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": {"color": GREY, "width": 1, "dash": "dot"}}
            for edge in sorted({float(one.points["x"].max()) for one in series})
        ],
    }
    return Chart(
        key=f"forecast-{kind}",
        title=f"What more {'data' if size == 'D' else 'parameters'} would give",
        alt=f"The ensemble of laws over {size}, and open marks for its forecasts at larger sizes, with "
        f"{100 * LEVEL:.0f} % intervals of the mean (dark) and of one new run (light), interpolated between the marks; "
        "a dotted line is the last size run. The numbers are in the table of forecasts.",
        variants=[figure(traces, layout, x=stretched(wide), y=stretched(np.concatenate(held)))],
        switches=(("x", f"log {size}"), ("y", "log loss")),
    )


def _size_of(row: LossForecast, kind: str) -> float:
    return float(row.D if SIZE[kind] == "D" else row.N)


def _beyond(one: Series, rows: Sequence[LossForecast], style: NetworkStyle) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Traces of one network's ensemble, and the ends of its interval as far as the panel shows them."""
    choice = one.choice
    assert choice is not None  # noqa: S101 - only series with a choice have forecasts
    x = one.points["x"].to_numpy(dtype=float)
    line = np.geomspace(x.min(), x.max(), _POINTS_OF_A_LINE)
    mean, (low, high) = choice.predict(x=line), choice.interval(level=LEVEL, x=line)
    places = np.array([_size_of(row, one.kind) for row in rows])
    whole = np.append(line, places)
    group: Mapping[str, Any] = {"legendgroup": one.model, "showlegend": False}
    traces = []
    if choice.noise is not None:
        ends = choice.interval(level=LEVEL, of="run", x=line)
        later = [[row.run_low for row in rows], [row.run_high for row in rows]]
        bottom, top = (np.append(end, np.array(far, dtype=float)) for end, far in zip(ends, later, strict=True))
        traces.append(band(bottom, top, whole, color=style.color, alpha=0.1, **group))
    low, high = np.append(low, [row.low for row in rows]), np.append(high, [row.high for row in rows])
    traces.append(band(low, high, whole, color=style.color, alpha=0.22, **group))
    losses = [row.loss for row in rows]
    solid = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", **group}
    traces.append({**solid, "x": listed(line), "y": listed(mean), "line": {"color": style.color, "width": 2}})
    start = {"x": listed(np.append(line[-1], places)), "y": listed(np.append(mean[-1], losses))}
    traces.append({**solid, **start, "line": {"color": style.color, "width": 2, "dash": "dash"}})
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": listed(places),
            "y": listed(losses),
            "marker": {"color": style.color, "symbol": f"{symbol(style)}-open", "size": 10, "line": {"width": 2}},
            "text": [_words(row) for row in rows],
            "hovertemplate": "%{text}<extra></extra>",
            **group,
        }
    )
    clip = (one.points["mean"].min() / _TALLEST**2, one.points["mean"].max() * _TALLEST)
    # Far out the interval of a few points is open for all practical purposes: it leaves the panel.
    return traces, np.clip(np.concatenate([low, high]), *clip)


def _words(row: LossForecast) -> str:
    lines = [f"{plain(row.model)}, forecast", f"D = {row.D:,}, N = {row.N:,}", f"loss {row.loss:.4g}"]
    lines.append(f"{100 * row.level:.0f} % of the mean: {row.low:.4g} to {row.high:.4g}")
    if row.run_low is not None:
        lines.append(f"{100 * row.level:.0f} % of a run: {row.run_low:.4g} to {row.run_high:.4g}")
    return "<br>".join(lines)
