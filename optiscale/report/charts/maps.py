"""The loss over D and N at once: the cells and the fitted surface."""

from __future__ import annotations

from typing import Any

import numpy as np

from optiscale.figures.style import log_ticks, network_styles, short_number, size_colors, tick_labels
from optiscale.laws import LAWS, LawFit, Series
from optiscale.report.charts.base import Chart, figure, hex_of, listed, loss_axis, plain, size_axis, stretched
from optiscale.report.charts.diagnostics import label
from optiscale.report.charts.losses import mean_trace, point_texts
from optiscale.report.study import Evidence

_GRID = 48
_COLORS = "Cividis"
_POINTS_OF_A_LINE = 60
_MARGIN = 0.06


def map_charts(evidence: Evidence) -> list[Chart]:
    """One figure a network that was run on a grid of D and N."""
    maps = [one for one in evidence.fits.series if one.kind == "map"]
    charts = []
    for i, one in enumerate(maps):
        law = f", with the {label(one.best)} as fitted" if one.best is not None else ""
        charts.append(
            Chart(
                key=f"map-{i}",
                title=f"{one.model}: loss over D and N",
                alt=f"Map of the validation loss of {one.model} over data size D and parameters N: the cells as "
                f"points{law}. The numbers are in the table of points.",
                variants=[map_figure(one)],
                switches=(("x", "log D"), ("y", "log N")),
            )
        )
    return charts


def map_figure(one: Series) -> dict[str, Any]:
    """Fitted surface as a coloured map with contours, the cells over it, and D_c where the law has one for all N."""
    points = one.points
    x, y = stretched(points["D"], _MARGIN), stretched(points["N"], _MARGIN)
    fit = one.fits.get(one.best) if one.best is not None else None
    D, N = np.geomspace(*x, _GRID), np.geomspace(*y, _GRID)
    surface = fit.predict(D=np.tile(D, _GRID), N=np.repeat(N, _GRID)).reshape(_GRID, _GRID) if fit is not None else None
    every = points["mean"].to_numpy() if surface is None else np.append(points["mean"], surface.ravel())
    ends = np.log10([every.min(), every.max()])
    ticks = log_ticks(float(every.min()), float(every.max()), at_least=5)
    bar = {
        "title": {"text": "L<sub>val</sub>", "side": "top"},
        "tickvals": listed(np.log10(ticks)),
        "ticktext": tick_labels(ticks),
        "thickness": 12,
    }
    traces: list[dict[str, Any]] = []
    if surface is not None and fit is not None:
        traces.append(
            {
                "type": "contour",
                "x": listed(D),
                "y": listed(N),
                "z": [listed(row) for row in np.log10(surface)],
                "zmin": float(ends[0]),
                "zmax": float(ends[1]),
                "colorscale": _COLORS,
                "showscale": False,
                "contours": {"coloring": "heatmap", "start": float(ends[0]), "end": float(ends[1])}
                | {"size": float(np.ptp(ends)) / 12.0},
                "line": {"width": 0.7, "color": "white"},
                "customdata": [listed(row) for row in surface],
                "hovertemplate": f"{plain(label(fit.law))}<br>D = %{{x:.3s}}, N = %{{y:.3s}}"
                "<br>L = %{customdata:.4g}<extra></extra>",
            }
        )
    traces.append(_cells(one, fit, ends, bar))
    layout = {
        "xaxis": size_axis("D", points["D"]),
        "yaxis": size_axis("N", points["N"]),
        "showlegend": False,
        "shapes": [],
    }
    place = break_of(fit)
    if place is not None and x[0] < place < x[1]:
        line = {"color": "white", "width": 1.5, "dash": "dash"}
        layout["shapes"] = [{"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper", "line": line}]
        layout["title"] = {"text": f"dashed: D<sub>c</sub> = {short_number(place)}"}
    return figure(traces, layout, x=x, y=y)


def _cells(one: Series, fit: LawFit | None, ends: np.ndarray, bar: dict[str, Any]) -> dict[str, Any]:
    points = one.points
    law = [""] * len(points)
    if fit is not None:
        law = [f"<br>law: {value:.4g}" for value in fit.predict(D=points["D"], N=points["N"])]
    text = [f"{words}{more}" for words, more in zip(point_texts(one), law, strict=True)]
    marker = {
        "color": listed(np.log10(points["mean"])),
        "cmin": float(ends[0]),
        "cmax": float(ends[1]),
        "colorscale": _COLORS,
        "showscale": True,
        "colorbar": bar,
        "size": 11,
        "line": {"color": "white", "width": 1.5},
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": listed(points["D"]),
        "y": listed(points["N"]),
        "marker": marker,
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
    }


def cuts_figure(one: Series) -> dict[str, Any]:
    """Loss over D of a map, a colour each N, with the law to use."""
    points, style = one.points, network_styles([one.model])[one.model]
    fit = one.fits.get(one.best) if one.best is not None else None
    line = np.geomspace(*stretched(points["D"], _MARGIN), _POINTS_OF_A_LINE)
    traces = []
    for size, color in size_colors(points["N"]).items():
        shade = hex_of(color)
        cut = Series(**{**vars(one), "points": points[points["N"] == size]})
        name = f"N = {short_number(size)}"
        if fit is not None:
            law = fit.predict(D=line, N=np.full_like(line, size))
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": listed(line),
                    "y": listed(law),
                    "line": {"color": shade, "width": 1.5},
                    "legendgroup": name,
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
            )
        colored = type(style)(color=shade, marker="o")
        traces.append(mean_trace(cut, colored, name=name, legendgroup=name))
    layout = {"xaxis": size_axis("D", points["D"]), "yaxis": loss_axis(points["mean"])}
    return figure(traces, layout, x=stretched(points["D"]), y=stretched(points["mean"]))


def break_of(fit: LawFit | None) -> float | None:
    """D_c of a law that has one for all N."""
    if fit is None or not fit.fitted or LAWS[fit.law].breaks.get("log10_Dc") != "D" or "d" in fit.params:
        return None
    return fit.params["Dc"][0]
