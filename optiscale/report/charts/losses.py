"""Losses over one size: every network at once, and one series with all that was fitted to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from optiscale.figures.scaling import Kind, one_series_a_network
from optiscale.figures.style import NetworkStyle, network_styles, short_number
from optiscale.laws import LAWS, Series
from optiscale.laws.extrapolation import REACH
from optiscale.report.charts.base import (
    GREY,
    LEVEL,
    Chart,
    Switches,
    band,
    figure,
    listed,
    loss_axis,
    plain,
    size_axis,
    stretched,
    symbol,
)
from optiscale.report.study import Evidence

SIZE: Mapping[str, Literal["D", "N"]] = {"data": "D", "parameters": "N", "map": "D"}
_HELD = {"data": "N", "parameters": "D"}
_POINTS_OF_A_LINE = 60
_POINTS_OF_ANOTHER = 36
_TALLEST = 1.5  # factor beyond the points that a band may take of the panel
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_DETAILS = {
    "cell": "cell",
    "seed": "seed",
    "subset_seed": "subset seed",
    "val_eps_loss": "eps part",
    "val_drude_loss": "omega_D part",
    "best_epoch": "best epoch",
    "epochs": "epochs",
    "wall_s": "wall time / s",
    "device": "device",
}
_SWITCHES: Mapping[str, Switches] = {
    "D": (("x", "log D"), ("y", "log loss")),
    "N": (("x", "log N"), ("y", "log loss")),
}
SERIES_SWITCHES: Switches = (("x", "log size"), ("y", "log loss"))
"""Of the figure of one series."""


def losses_chart(evidence: Evidence, kind: Kind) -> Chart | None:
    """L_val over D or N of every network, with its seeds, the law to use and its band; None without such a series."""
    chosen = one_series_a_network(evidence.fits, kind)
    if not chosen:
        return None
    size = SIZE[kind]
    styles = network_styles(chosen)
    traces: list[dict[str, Any]] = []
    for name, one in chosen.items():
        where = f"{_HELD[kind]} = {short_number(one.fixed[_HELD[kind]])}"
        group = {"legendgroup": name, "showlegend": False}
        traces += law_traces(one, styles[name], reach=1.0, **group)
        traces += seed_traces(evidence, one, styles[name], **group)
        traces.append(mean_trace(one, styles[name], name=f"{plain(name)}, {where}", legendgroup=name))
    points = pd.concat([one.points for one in chosen.values()])
    held = np.concatenate([_held_by(points), *(_clipped_bands(one, reach=1.0) for one in chosen.values())])
    layout = {"xaxis": size_axis(size, points["x"]), "yaxis": loss_axis(held)}
    words = "data size D" if size == "D" else "number of parameters N"
    return Chart(
        key=f"losses-{kind}",
        title=f"Loss over {words}",
        alt=f"Validation loss over {words} of {', '.join(chosen)}: a point a mean over seeds with its deviation, small "
        f"points the seeds, lines the law to use with its {100 * LEVEL:.0f} % band. The numbers are in the table of "
        "points.",
        variants=[figure(traces, layout, x=stretched(points["x"]), y=stretched(held))],
        switches=_SWITCHES[size],
    )


def series_figure(evidence: Evidence, one: Series) -> dict[str, Any] | None:
    """One series over D or N with its seeds, the law to use and its bands to twice the size, and the other laws."""
    if one.kind == "map":
        return None
    style = network_styles([one.model])[one.model]
    x = one.points["x"].to_numpy(dtype=float)
    traces = law_traces(one, style, reach=REACH, name=_label(one.best), legendgroup="best")
    traces += _other_laws(one, x)
    traces += seed_traces(evidence, one, style, name="seeds")
    traces.append(mean_trace(one, style, name="mean over seeds"))
    held = np.append(_held_by(one.points), _clipped_bands(one, reach=REACH))
    wide = np.append(x, REACH * x.max())
    layout = {
        "xaxis": size_axis(SIZE[one.kind], wide, at=wide),
        "yaxis": loss_axis(held),
        "shapes": [
            {"type": "line", "x0": x.max(), "x1": x.max(), "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": {"color": GREY, "width": 1, "dash": "dot"}}
        ],
    }
    return figure(traces, layout, x=stretched(wide), y=stretched(held))


def law_traces(one: Series, style: NetworkStyle, *, reach: float, **rest: Any) -> list[dict[str, Any]]:
    """Law to use with its bands of the mean and, beyond the points, of a new run; nothing without a law."""
    if one.best is None or one.choice is None:
        return []
    x = one.points["x"].to_numpy(dtype=float)
    line = np.geomspace(x.min(), reach * x.max(), _POINTS_OF_A_LINE)
    mean = one.choice.predict(law=one.best, x=line)
    low, high = one.choice.interval(level=LEVEL, law=one.best, x=line)
    grouped = {"legendgroup": rest.get("legendgroup", ""), "showlegend": False}
    traces = []
    if reach > 1.0 and one.choice.noise is not None:
        run = one.choice.interval(level=LEVEL, law=one.best, of="run", x=line)
        traces.append(band(*run, line, color=style.color, alpha=0.13, **grouped))
    traces.append(band(low, high, line, color=style.color, alpha=0.25, **grouped))
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": listed(line),
            "y": listed(mean),
            "line": {"color": style.color, "width": 2},
            "customdata": [listed([a, b]) for a, b in zip(low, high, strict=True)],
            "meta": [plain(f"{one.model}: {_label(one.best)}")],
            "hovertemplate": "%{meta[0]}<br>%{x:.3s}: %{y:.4g}"
            f"<br>{100 * LEVEL:.0f} %: %{{customdata[0]:.4g}} to %{{customdata[1]:.4g}}<extra></extra>",
            **rest,
        }
    )
    return traces


def mean_trace(one: Series, style: NetworkStyle, **rest: Any) -> dict[str, Any]:
    """Means over seeds with their standard deviation."""
    points = one.points
    std = points["std"].fillna(0.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": listed(points["x"]),
        "y": listed(points["mean"]),
        "error_y": {"type": "data", "array": listed(std), "thickness": 1.5, "width": 4, "color": style.color},
        "marker": {"color": style.color, "symbol": symbol(style), "size": 9},
        "text": point_texts(one),
        "hovertemplate": "%{text}<extra></extra>",
        **rest,
    }


def point_texts(one: Series) -> list[str]:
    """Words on each point of a series: its sizes, mean, deviation and number of seeds."""
    texts = []
    for row in one.points.to_dict("records"):
        wide = f", width {row['width']}" if row["width"] else ""
        count = {0: "seeds not known", 1: "1 seed"}.get(int(row["n_seeds"]), f"{row['n_seeds']} seeds")
        deviation = 0.0 if pd.isna(row["std"]) else float(row["std"])
        sizes = f"{plain(one.model)}<br>D = {row['D']:,}, N = {row['N']:,}{wide}"
        texts.append(f"{sizes}<br>L_val = {row['mean']:.4g} ± {deviation:.2g} ({count})")
    return texts


def seed_traces(evidence: Evidence, one: Series, style: NetworkStyle, **rest: Any) -> list[dict[str, Any]]:
    """Every run by itself, with the details of its cell."""
    runs = evidence.seeds_of(one.points, study=one.study, model=one.model)
    if runs.empty:
        return []
    marker = {"color": style.color, "symbol": f"{symbol(style)}-open", "size": 5, "opacity": 0.75}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": listed(runs[SIZE[one.kind]]),
            "y": listed(runs["val_loss"]),
            "marker": marker,
            "text": [_details(row) for row in runs.to_dict("records")],
            "hovertemplate": "%{text}<extra></extra>",
            **rest,
        }
    ]


def _details(row: Mapping[Hashable, Any]) -> str:
    lines = [f"{plain(row['model'])}, one run", f"D = {row['D']:,}, N = {row['N']:,}", f"L_val = {row['val_loss']:.4g}"]
    for column, words in _DETAILS.items():
        value = row.get(column)
        if value is not None and not pd.isna(value) and value != "":
            lines.append(f"{words}: {plain(f'{value:.4g}' if isinstance(value, float) else value)}")
    return "<br>".join(lines)


def _other_laws(one: Series, x: np.ndarray) -> list[dict[str, Any]]:
    """Lines of the other laws; the two that tell whether it is broken are drawn, the rest wait in the legend."""
    shown = set() if one.breaks is None else {one.breaks.broken, one.breaks.simple}
    line = np.geomspace(x.min(), REACH * x.max(), _POINTS_OF_ANOTHER)
    others = [name for name, fit in one.fits.items() if fit.fitted and name != one.best]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": listed(line),
            "y": listed(one.fits[name].predict(x=line)),
            "name": plain(_label(name)),
            "line": {"color": GREY, "width": 1.5, "dash": _DASHES[i % len(_DASHES)]},
            "visible": True if name in shown else "legendonly",
            "hovertemplate": "%{fullData.name}<br>%{x:.3s}: %{y:.4g}<extra></extra>",
        }
        for i, name in enumerate(sorted(others, key=lambda name: name not in shown))
    ]


def _label(law: str | None) -> str:
    return "no law" if law is None else LAWS[law].label if law in LAWS else law


def _held_by(points: pd.DataFrame) -> np.ndarray:
    std = points["std"].fillna(0.0).clip(upper=0.5 * points["mean"])
    return np.concatenate([points["mean"] - std, points["mean"] + std])


def _clipped_bands(one: Series, *, reach: float) -> np.ndarray:
    if one.best is None or one.choice is None:
        return np.array([])
    line = np.geomspace(one.points["x"].min(), reach * one.points["x"].max(), _POINTS_OF_A_LINE)
    ends = np.concatenate(one.choice.interval(level=LEVEL, law=one.best, x=line))
    # Where the points fix next to nothing the interval is open for all practical purposes: it leaves the panel.
    return np.asarray(np.clip(ends, one.points["mean"].min() / _TALLEST, one.points["mean"].max() * _TALLEST))
