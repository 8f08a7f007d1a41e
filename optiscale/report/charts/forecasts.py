"""The laws carried beyond the data, with their calibrated intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optiscale.figures.style import network_styles
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
)
from optiscale.report.charts.losses import SIZE, mean_trace

_POINTS_OF_A_LINE = 80
_TALLEST = 2.0


def forecast_chart(kind: str, series: Sequence[Series], farthest: float) -> Chart | None:
    """Every network's ensemble of laws to `farthest` times its largest size; None without a series."""
    usable = [one for one in series if one.choice is not None and one.choice.weights]
    if not usable:
        return None
    size = SIZE[kind]
    styles = network_styles([one.model for one in usable])
    traces: list[dict[str, Any]] = []
    held: list[np.ndarray] = []
    for one in usable:
        style = styles[one.model]
        made, ends = _beyond(one, style.color, farthest)
        traces += [*made, mean_trace(one, style, name=plain(one.model), legendgroup=one.model)]
        held += [ends, one.points["mean"].to_numpy()]
    x = pd.concat([one.points["x"] for one in usable]).to_numpy(dtype=float)
    wide = np.append(x, farthest * x.max())
    layout: dict[str, Any] = {
        "xaxis": size_axis(size, wide, at=wide),
        "yaxis": loss_axis(np.concatenate(held)),
        "shapes": [
            {"type": "line", "x0": edge, "x1": edge, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": {"color": GREY, "width": 1, "dash": "dot"}}
            for edge in sorted({float(one.points["x"].max()) for one in usable})
        ],
    }
    words = "data" if size == "D" else "parameters"
    return Chart(
        key=f"forecast-{kind}",
        title=f"What more {words} would give",
        alt=f"The ensemble of laws over {size} to {farthest:g} times the largest size run, with {100 * LEVEL:.0f} % "
        "intervals of the mean (dark) and of one new run (light); a dotted line marks the last size run. The numbers "
        "are in the table of forecasts.",
        variants=[figure(traces, layout, x=stretched(wide), y=stretched(np.concatenate(held)))],
        switches=(("x", f"log {size}"), ("y", "log loss")),
    )


def _beyond(one: Series, color: str, farthest: float) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Traces of one network's ensemble, and the ends of its interval as far as the panel shows them."""
    choice = one.choice
    assert choice is not None  # noqa: S101 - the caller looked
    x = one.points["x"].to_numpy(dtype=float)
    line = np.geomspace(x.min(), farthest * x.max(), _POINTS_OF_A_LINE)
    mean = choice.predict(x=line)
    low, high = choice.interval(level=LEVEL, x=line)
    group: Mapping[str, Any] = {"legendgroup": one.model, "showlegend": False}
    traces = []
    if choice.noise is not None:
        traces.append(band(*choice.interval(level=LEVEL, of="run", x=line), line, color=color, alpha=0.1, **group))
    traces.append(band(low, high, line, color=color, alpha=0.22, **group))
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": listed(line),
            "y": listed(mean),
            "line": {"color": color, "width": 2},
            "text": plain(one.model),
            "customdata": [listed([a, b]) for a, b in zip(low, high, strict=True)],
            "hovertemplate": "%{text}<br>%{x:.3s}: %{y:.4g}"
            f"<br>{100 * LEVEL:.0f} %: %{{customdata[0]:.4g}} to %{{customdata[1]:.4g}}<extra></extra>",
            **group,
        }
    )
    clip = (one.points["mean"].min() / _TALLEST**2, one.points["mean"].max() * _TALLEST)
    # Far out the interval of a few points is open for all practical purposes: it leaves the panel.
    return traces, np.clip(np.concatenate([low, high]), *clip)
