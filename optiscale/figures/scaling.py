"""Figures 1 and 2: losses over data size and parameter count, the fitted laws, and the L(D, N) map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optiscale.errors import UserError
from optiscale.figures.maps import draw_map_row, fit_to_draw, size_axis
from optiscale.figures.style import (
    GREY,
    ONE_COLUMN,
    TWO_COLUMNS,
    NetworkStyle,
    log_axis,
    network_styles,
    new_figure,
    panel_label,
    paper_style,
    save_figure,
)
from optiscale.laws import LawFit, Series, StudyFits, get_law

Kind = Literal["data", "parameters"]
KINDS: tuple[Kind, ...] = ("data", "parameters")
_SIZE: dict[Kind, Literal["D", "N"]] = {"data": "D", "parameters": "N"}
_HELD: dict[Kind, str] = {"data": "N", "parameters": "D"}
_LAW: dict[Kind, str] = {"data": "broken", "parameters": "floor"}  # the forms of the published Figure 1
_LINE: dict[bool, Literal["-", ":"]] = {False: "-", True: ":"}
_DASHES = (0, (4, 2))
_THIN: dict[str, Any] = {"linewidth": 0.5, "linestyle": "-.", "alpha": 0.8, "zorder": 1.5}
_ENOUGH = 5  # points below which the first and the last three are mostly the same
_REACH = 2.0  # factor by which an asymptote is drawn beyond the point where the two cross


def one_series_a_network(fits: StudyFits, kind: Kind) -> dict[str, Series]:
    """One series a network: over D the one of the largest network, over N the one at the largest D.

    Where a network has been studied both along a line and on a grid, the line counts, as in the paper.
    """
    gridded = {(series.study, series.model) for series in fits.series if series.kind == "map"}
    chosen: dict[str, Series] = {}
    for series in fits.series:
        if series.kind == kind:
            held = chosen.get(series.model)
            rank = _rank(series, kind, gridded)
            if held is None or rank > _rank(held, kind, gridded):
                chosen[series.model] = series
    return {name: chosen[name] for name in network_styles(chosen)}


def _rank(series: Series, kind: Kind, gridded: set[tuple[str, str]]) -> tuple[bool, int]:
    return (series.study, series.model) not in gridded, series.fixed[_HELD[kind]]


def figure_1(fits: StudyFits, overlays: StudyFits | None = None) -> Figure:
    """Draw L_val over D and over N for every network, with the law to use.

    Where that is not the form of the published figure (broken over D, with floor over N), that form is drawn thin
    beside it; fits in the published protocol have that form alone. The data panel also has the asymptotic power laws of
    the first and last three points (dashed). A panel whose series the study lacks is left out.

    Parameters
    ----------
    fits
        Fitted losses, such as the published ones.
    overlays
        One's own fitted losses, drawn with open markers and dotted laws.

    Raises
    ------
    UserError
        If there is a series over neither D nor N.
    """
    ours = {kind: one_series_a_network(fits, kind) for kind in KINDS}
    own = {kind: one_series_a_network(overlays, kind) if overlays else {} for kind in KINDS}
    kinds = [kind for kind in KINDS if ours[kind] or own[kind]]
    if not kinds:
        raise UserError("figure 1: the study has no series over D or N; run three or more of either")
    styles = network_styles([name for kind in kinds for name in [*ours[kind], *own[kind]]])
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS if len(kinds) == 2 else ONE_COLUMN * 1.2, height=3.5 if overlays else 3.1)
        panels = np.atleast_1d(fig.subplots(1, len(kinds)))
        for index, (axes, kind) in enumerate(zip(panels, kinds, strict=True)):
            _draw_panel(axes, kind, ours[kind], own[kind], styles)
            if len(kinds) > 1:
                panel_label(axes, index)
        _legends(fig, {name: styles[name] for name in styles if _is_in(name, ours)}, own, styles)
    return fig


def _is_in(name: str, chosen: dict[Kind, dict[str, Series]]) -> bool:
    return any(name in series for series in chosen.values())


def _draw_panel(
    axes: Axes, kind: Kind, ours: dict[str, Series], own: dict[str, Series], styles: dict[str, NetworkStyle]
) -> None:
    laws: list[tuple[str, bool, str]] = []
    asymptotes, published = False, False
    for group, is_own in ((ours, False), (own, True)):
        for name, series in group.items():
            _draw_points(axes, series, styles[name], is_own)
            fit, other = _laws_to_draw(series, kind)
            line = np.geomspace(float(series.points["x"].min()), float(series.points["x"].max()), 200)
            if fit is not None:
                axes.plot(line, fit.predict(x=line), color=styles[name].color, zorder=2, linestyle=_LINE[is_own])
                laws.append((fit.law, is_own, styles[name].color))
            if other is not None:
                axes.plot(line, other.predict(x=line), color=styles[name].color, **_THIN)
                published = True
            if kind == "data" and not is_own:
                asymptotes |= _draw_asymptotes(axes, series, styles[name].color)
    points = pd.concat([series.points for series in [*ours.values(), *own.values()]])
    size_axis(axes, "x", name=_SIZE[kind], values=points["x"], most=9, at_least=5)
    reach = points["std"].fillna(0.0)
    log_axis(axes, "y", values=np.concatenate([points["mean"] - reach, points["mean"] + reach]), at_least=5)
    axes.set_ylabel(r"validation loss $L_\mathrm{val}$")
    _line_legend(axes, laws, asymptotes, _lower(get_law(_LAW[kind]).label) if published else "")


def _laws_to_draw(series: Series, kind: Kind) -> tuple[LawFit | None, LawFit | None]:
    """Law to use, and the form of the published figure where that is another; as published that form is the law."""
    published = series.fits.get(_LAW[kind])
    if series.choice is None:
        return fit_to_draw(series, _LAW[kind]), None
    best = series.fits.get(series.best) if series.best else None
    if best is None or published is None or not published.fitted or published.law == best.law:
        return best, None
    return best, published


def _draw_points(axes: Axes, series: Series, style: NetworkStyle, is_own: bool) -> None:
    points = series.points
    axes.errorbar(
        points["x"],
        points["mean"],
        yerr=points["std"].fillna(0.0),
        fmt=style.marker,
        color=style.color,
        markerfacecolor="white" if is_own else style.color,
        markersize=4,
        capsize=2,
        elinewidth=0.8,
        capthick=0.8,
        zorder=3,
    )


def _draw_asymptotes(axes: Axes, series: Series, color: str) -> bool:
    """Draw the power laws of the first and the last three points, each a little beyond where they cross."""
    if len(series.points) < _ENOUGH or series.head is None or series.tail is None:
        return False
    if not (series.head.fitted and series.tail.fitted):
        return False
    low, high = float(series.points["x"].min()), float(series.points["x"].max())
    line = np.geomspace(low, high, 400)
    first, last = series.head.predict(x=line), series.tail.predict(x=line)
    # Where the curve bends down the two cross inside the range; both are drawn only near the points that they fit.
    cross = float(line[np.argmin(np.abs(np.log(first / last)))])
    for loss, part in ((first, line <= cross * _REACH), (last, line >= cross / _REACH)):
        axes.plot(line[part], loss[part], color=color, linewidth=0.7, linestyle=_DASHES, zorder=1)
    return True


def _lower(label: str) -> str:
    return label[:1].lower() + label[1:]


def _line_legend(axes: Axes, laws: list[tuple[str, bool, str]], asymptotes: bool, published: str) -> None:
    """Say which laws the lines are: once in grey if all networks share one, else in the colour of each network.

    `published` names the form of the published figure where it is drawn beside the law to use.
    """
    handles = []
    for group in (False, True):
        drawn = [(law, color) for law, is_own, color in laws if is_own is group]
        shared = len({law for law, _ in drawn}) == 1
        for law, color in dict.fromkeys((law, GREY if shared else color) for law, color in drawn):
            label = _lower(get_law(law).label) + ", own runs" * group
            handles.append(Line2D([], [], color=color, linestyle=_LINE[group], label=label))
    if published:
        handles.append(Line2D([], [], **{**_THIN, "color": GREY}, label=f"published form: {published}"))
    if asymptotes:
        text = "power laws of first, last 3 points"
        handles.append(Line2D([], [], color=GREY, linewidth=0.7, linestyle=_DASHES, label=text))
    if handles:
        axes.legend(handles=handles, loc="best")


def _legends(
    fig: Figure,
    shown: dict[str, NetworkStyle],
    own: dict[Kind, dict[str, Series]],
    styles: dict[str, NetworkStyle],
) -> None:
    if shown:
        handles = [Line2D([], [], color=s.color, marker=s.marker, label=name) for name, s in shown.items()]
        fig.legend(handles=handles, loc="outside upper center", ncols=3)
    if _is_own := {name: styles[name] for name in styles if _is_in(name, own)}:
        handles = [
            Line2D([], [], color=s.color, marker=s.marker, markerfacecolor="white", linestyle=":", label=name)
            for name, s in _is_own.items()
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=3, title="own runs")


def figure_2(fits: StudyFits) -> Figure:
    """Draw a row of three panels a network: L over N, L over D, and the L(D, N) map, with the Kaplan law.

    Raises
    ------
    UserError
        If no network was studied on a grid of D and N.
    """
    grids = sorted((series for series in fits.series if series.kind == "map"), key=lambda series: len(series.points))
    maps = {series.model: series for series in grids}  # of two grids of one network the fuller
    if not maps:
        raise UserError("figure 2: no network was run on a grid of at least three D and three widths; add sizes")
    names = list(network_styles(maps))
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=2.35 * len(names))
        rows = fig.subfigures(len(names), 1, squeeze=False)[:, 0]
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            row.suptitle(name, fontsize=8, fontweight="bold")
            panels = row.subplots(1, 3)
            draw_map_row(row, panels, maps[name])
            for step, axes in enumerate(panels):
                panel_label(axes, 3 * index + step)
    return fig


def study_figures(fits: StudyFits, out: Path) -> list[Path]:
    """Draw those of Figures 1 and 2 for which the study has series, as PNG and PDF in the folder `out`."""
    kinds = {series.kind for series in fits.series}
    drawn: list[tuple[str, Callable[[StudyFits], Figure], bool]] = [
        ("figure_1", figure_1, bool(kinds & set(KINDS))),
        ("figure_2", figure_2, "map" in kinds),
    ]
    return [path for name, draw, has_data in drawn if has_data for path in save_figure(draw(fits), out, name)]
