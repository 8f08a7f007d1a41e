"""What a fit is worth: residuals in seed noise, errors at held-out sizes, and how surely the break is placed."""

from __future__ import annotations

from typing import Any

import numpy as np

from optiscale.figures.diagnostics import sigma_residuals
from optiscale.figures.style import BLUE, ORANGE, VERMILLION, log_ticks, short_number, tick_labels
from optiscale.laws import LAWS, FitOptions, Series, profile
from optiscale.laws.choice import Row
from optiscale.laws.extrapolation import LAST_VALUE
from optiscale.report.charts.base import GREY, figure, listed, plain, rgba, size_axis, stretched
from optiscale.report.charts.losses import SIZE

_LEVELS = (0.2, 0.5, 0.8, 0.9, 0.95, 0.99)
_COLORS = (BLUE, VERMILLION, ORANGE)
_MARKS = ("circle", "square", "triangle-up")
_MOST_LAWS = 3
_MOST_SIGMAS = 6.0
_SMALLEST_ERROR = 1e-4  # per cent; less is the minimiser's own accuracy
_SHOWN = 0.005  # smallest weight in the ensemble that is written
_DECADES_OPEN = 1.0  # how far an open interval is drawn beyond the points


def residual_figure(one: Series) -> dict[str, Any] | None:
    """Residuals of the law to use, the broken law and the one without its break; of a map those of the law to use."""
    laws = laws_in_question(one)
    if not laws:
        return None
    title = "residual / σ of the mean" if one.fits[laws[0]].noise is not None else "residual / σ of the residuals"
    if one.kind == "map":
        return _residual_map(one, laws[0], title)
    x = one.points["x"].to_numpy(dtype=float)
    traces = []
    for law, color, mark in zip(laws, _COLORS, _MARKS, strict=False):
        redchi = one.fits[law].redchi
        worth = f", chi²/dof {redchi:.3g}" if redchi is not None and one.fits[law].noise is not None else ""
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": listed(x),
                "y": listed(sigma_residuals(one, law)),
                "name": plain(f"{label(law)}{worth}"),
                "line": {"color": color, "width": 1},
                "marker": {"color": color, "symbol": mark, "size": 8},
                "hovertemplate": "%{fullData.name}<br>at %{x:.4s}: %{y:.2f}<extra></extra>",
            }
        )
    layout = {
        "xaxis": size_axis(SIZE[one.kind], x),
        "yaxis": {"title": {"text": title}, "zeroline": True},
        "shapes": [
            {"type": "rect", "x0": 0, "x1": 1, "xref": "paper", "y0": -2, "y1": 2, "layer": "below"}
            | {"fillcolor": rgba(GREY, 0.15), "line": {"width": 0}}
        ],
    }
    return figure(traces, layout, x=stretched(x))


def _residual_map(one: Series, law: str, title: str) -> dict[str, Any]:
    points, residuals = one.points, sigma_residuals(one, law)
    marker = {
        "symbol": "square",
        "size": 18,
        "color": listed(residuals),
        "colorscale": "RdBu",
        "reversescale": True,
        "cmin": -_MOST_SIGMAS,
        "cmax": _MOST_SIGMAS,
        "cmid": 0,
        "line": {"width": 1, "color": GREY},
        "colorbar": {"title": {"text": "σ", "side": "top"}, "thickness": 12},
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": listed(points["D"]),
        "y": listed(points["N"]),
        "marker": marker,
        "text": [f"D = {d:,}, N = {n:,}" for d, n in zip(points["D"], points["N"], strict=True)],
        "hovertemplate": "%{text}<br>%{marker.color:.2f} σ<extra></extra>",
    }
    layout = {
        "xaxis": size_axis("D", points["D"]),
        "yaxis": size_axis("N", points["N"]),
        "title": {"text": plain(f"{label(law)}: {title}")},
    }
    return figure([trace], layout, x=stretched(points["D"], 0.1), y=stretched(points["N"], 0.1))


def held_out_figure(one: Series) -> dict[str, Any] | None:
    """Error of each law, and of the last value, at held-out larger sizes; the law to use in blue."""
    rows = [row for row in one.choice.table if row.rmsle is not None] if one.choice is not None else []
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: float(row.rmsle or 0.0), reverse=True)
    values = [max(100.0 * float(row.rmsle or 0.0), _SMALLEST_ERROR) for row in rows]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": listed(values),
        "y": [plain(label(row.law)) for row in rows],
        "marker": {"color": [_color(row, one) for row in rows]},
        "text": [f"{value:.3g} %" for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[_worth(row)] for row in rows],
        "hovertemplate": "%{y}<br>%{x:.3g} % at held-out sizes%{customdata[0]}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": "held-out error / %"}, "rangemode": "tozero"},
        "yaxis": {"automargin": True},
    }
    return figure([trace], layout, x=(0.0, 1.3 * max(values)))


def _worth(row: Row) -> str:
    skill = f"<br>{row.skill:.2f} of the last value's" if row.skill is not None else ""
    weight = f"<br>weight {row.weight:.2f} in the ensemble" if row.weight >= _SHOWN else ""
    return f"{skill}{weight}<br>{row.origins} cuts"


def _color(row: Row, one: Series) -> str:
    if row.law == one.best:
        return BLUE
    return GREY if row.law == LAST_VALUE or row.weight < _SHOWN else ORANGE


def break_figure(one: Series) -> dict[str, Any] | None:
    """Confidence curve of the break: how far one must go from its best place to have any given confidence.

    It is the profile likelihood, read as intervals of many levels. An interval that is open is drawn to one decade
    beyond the points. A break whose best place lies farther out was not seen, and there is nothing to draw.
    """
    if one.breaks is None:
        return None
    fit, points = one.fits[one.breaks.broken], one.as_points()
    parameter, variable = next(iter(LAWS[fit.law].breaks.items()))
    x = points.x[variable]
    least, most = x.min() / 10.0**_DECADES_OPEN, x.max() * 10.0**_DECADES_OPEN
    if not least <= one.breaks.position.value <= most:
        return None
    ends = [profile(fit, points, parameter, level=level, options=FitOptions()).lengths() for level in _LEVELS]
    lows = [one_end.low for one_end in ends]
    highs = [one_end.high for one_end in ends]
    levels = 100.0 * np.array(_LEVELS)
    drawn = [*_drawn(lows, least, most, open_at=least), *_drawn(highs, least, most, open_at=most)]
    traces = [
        _side(lows, drawn[: len(lows)], levels, "lower end"),
        _side(highs, drawn[len(lows) :], levels, "upper end"),
        {
            "type": "scatter",
            "mode": "markers",
            "x": listed([ends[0].value]),
            "y": [0.0],
            "marker": {"color": VERMILLION, "symbol": "star", "size": 13},
            "hovertemplate": f"best place: {short_number(ends[0].value)}<extra></extra>",
            "showlegend": False,
        },
    ]
    window = stretched([*drawn, x.min(), x.max()])
    line = {"color": GREY, "width": 1, "dash": "dot"}
    sides = [{"type": "line", "x0": v, "x1": v, "y0": 0, "y1": 1, "yref": "paper", "line": line} for v in _ends(x)]
    ticks = log_ticks(*window)
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": f"break {SIZE[one.kind]}<sub>c</sub>, with {plain(label(fit.law)).lower()}"},
        }
        | {"tickmode": "array", "tickvals": ticks, "ticktext": tick_labels(ticks)},
        "yaxis": {"title": {"text": "confidence that it lies between / %"}, "range": [-4, 104]},
        "shapes": sides,
        "showlegend": False,
    }
    return figure(traces, layout, x=window)


def _ends(x: np.ndarray) -> tuple[float, float]:
    return float(x.min()), float(x.max())


def _drawn(places: list[float | None], least: float, most: float, *, open_at: float) -> list[float]:
    return [open_at if place is None else float(np.clip(place, least, most)) for place in places]


def _side(places: list[float | None], drawn: list[float], levels: np.ndarray, name: str) -> dict[str, Any]:
    words = ["open" if place is None else short_number(place) for place in places]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": listed(drawn),
        "y": listed(levels),
        "line": {"color": BLUE, "width": 2},
        "marker": {"symbol": ["x" if place is None else "circle" for place in places], "color": BLUE, "size": 6},
        "name": name,
        "text": words,
        "hovertemplate": f"{name} of %{{y:.0f}} %: %{{text}}<extra></extra>",
    }


def laws_in_question(one: Series) -> list[str]:
    """Law to use, the broken law and the one without its break; of a map also the published one."""
    names = [one.best, *([] if one.breaks is None else [one.breaks.broken, one.breaks.simple])]
    if one.kind == "map":
        names.insert(1, "kaplan")
    fitted = [str(name) for name in dict.fromkeys(names) if name in one.fits and one.fits[name].fitted]
    return fitted[:_MOST_LAWS]


def label(law: str) -> str:
    """Name of a law as tables write it."""
    return LAWS[law].label if law in LAWS else law
