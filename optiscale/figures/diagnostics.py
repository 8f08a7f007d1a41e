"""What a fit is worth, at a glance: the law with its interval, its residuals in seed noise, and held-out errors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from optiscale.errors import UserError
from optiscale.figures.maps import size_axis
from optiscale.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    TWO_COLUMNS,
    VERMILLION,
    log_axis,
    network_styles,
    new_figure,
    panel_label,
    paper_style,
    short_number,
)
from optiscale.laws import Series
from optiscale.laws.choice import Row
from optiscale.laws.extrapolation import LAST_VALUE, REACH

_LEVEL = 0.9
_MARKS = ("o", "s", "^")
_COLORS = (BLUE, VERMILLION, ORANGE)
_LINES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
_MOST_SIGMAS = 6.0
_MOST_LAWS = 3
_TALLEST = 2.0  # factor beyond the points that the panel of the law shows at most
_SMALLEST_ERROR = 1e-4  # per cent; less is the minimiser's own accuracy
_SHOWN = 0.005  # smallest weight in the ensemble that is written


def figure_diagnostics(series: Series) -> Figure:
    """Draw three panels: the law to use with its 90 % interval, the residuals of the laws in question, held-out errors.

    Held-out errors have the law to use in blue, others of the ensemble in orange with their weight.

    A map has its residuals over the grid, of the law to use and of the one that it is compared with, in place of the
    first two.

    Raises
    ------
    UserError
        If the series was not chosen among by held-out error, or nothing was fitted.
    """
    if series.choice is None or series.best is None:
        raise UserError(f"{series.model}: no diagnostics without a choice of law: fit it in the held-out protocol")
    laws = _laws_in_question(series)
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=2.6)
        panels = fig.subplots(1, 3, gridspec_kw={"width_ratios": (1.2, 1.2, 0.8)})
        if series.kind == "map":
            _draw_residual_maps(fig, panels[0], panels[1], series, laws)
        else:
            _draw_law(panels[0], series)
            _draw_residuals(panels[1], series, laws)
        _draw_held_out(panels[2], series)
        for index, axes in enumerate(panels):
            panel_label(axes, index)
        held = ", ".join(f"{name} = {short_number(value)}" for name, value in series.fixed.items() if name in "ND")
        fig.suptitle(f"{series.model}{', ' + held if held else ''}", fontsize=8, fontweight="bold")
    return fig


def _laws_in_question(series: Series) -> list[str]:
    """Law to use, the broken law and the one without its break; of a map also the published one."""
    names = [series.best]
    if series.breaks is not None:
        names += [series.breaks.broken, series.breaks.simple]
    if series.kind == "map":
        names = [series.best, "kaplan", *names[1:]]
    fitted = [name for name in dict.fromkeys(names) if name in series.fits and series.fits[name].fitted]
    return [str(name) for name in fitted][:_MOST_LAWS]


def sigma_residuals(series: Series, law: str) -> np.ndarray:
    """Residuals in standard deviations of the mean over seeds, (n,); of the residuals themselves without seeds."""
    fit, points = series.fits[law], series.as_points()
    log_residual = np.log(points.loss) - np.log(fit.predict(**points.x))
    if fit.noise is None:
        scale = float(np.sqrt(np.sum(log_residual**2) / max(1, fit.n - fit.k)))
        return np.asarray(log_residual / max(scale, 1e-300))
    return np.asarray(log_residual * points.loss / fit.noise.mean(points))


def _draw_law(axes: Axes, series: Series) -> None:
    choice, best = series.choice, str(series.best)
    assert choice is not None  # noqa: S101 - the caller looked
    color = network_styles([series.model])[series.model].color
    x = series.points["x"].to_numpy(dtype=float)
    line = np.geomspace(x.min(), x.max() * REACH, 200)
    handles = []
    for of, alpha, label in (("run", 0.15, "a new run"), ("mean", 0.3, "the mean law")):
        if of == "run" and choice.noise is None:
            continue
        low, high = choice.interval(level=_LEVEL, law=best, of="run" if of == "run" else "mean", x=line)
        axes.fill_between(line, low, high, color=color, alpha=alpha, linewidth=0)
        handles.append(Patch(color=color, alpha=alpha, linewidth=0, label=f"90 %, {label}"))
    (mean,) = axes.plot(line, choice.predict(law=best, x=line), color=color, label=short_name(best))
    std = series.points["std"].fillna(0.0)
    axes.errorbar(x, series.points["mean"], yerr=std, fmt="o", color=color, markersize=3, elinewidth=0.8, capsize=1.5)
    axes.axvline(x.max(), color=GREY, linewidth=0.6, linestyle=":")
    name: Literal["N", "D"] = "N" if series.kind == "parameters" else "D"
    size_axis(axes, "x", name=name, values=np.append(x, x.max() * REACH), most=6, at_least=4)
    low, high = choice.interval(level=_LEVEL, law=best, x=line)
    held = np.concatenate([series.points["mean"], low, high])
    # Where the points fix next to nothing the interval is open for all practical purposes: it leaves the panel.
    held = np.clip(held, series.points["mean"].min() / _TALLEST, series.points["mean"].max() * _TALLEST)
    log_axis(axes, "y", values=held, at_least=5)
    axes.set_ylabel(r"validation loss $L_\mathrm{val}$")
    axes.legend(handles=[mean, *handles], loc="best", fontsize=6, handlelength=1.2)


def _draw_residuals(axes: Axes, series: Series, laws: list[str]) -> None:
    axes.axhspan(-2, 2, color=GREY, alpha=0.12, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.6)
    x = series.points["x"].to_numpy(dtype=float)
    largest = 0.0
    for law, mark, color, line in zip(laws, _MARKS, _COLORS, _LINES, strict=False):
        residuals = sigma_residuals(series, law)
        largest = max(largest, float(np.abs(residuals).max()))
        redchi = series.fits[law].redchi
        text = f" ($\\chi^2_\\nu$ = {_two_digits(redchi)})" if series.fits[law].noise is not None else ""
        label = f"{short_name(law)}{text}"
        axes.plot(x, residuals, marker=mark, color=color, linestyle=line, linewidth=0.7, markersize=3, label=label)
    name: Literal["N", "D"] = "N" if series.kind == "parameters" else "D"
    size_axis(axes, "x", name=name, values=x, most=6, at_least=4)
    axes.set_yscale("symlog", linthresh=3.0)
    reach = max(4.0, 1.3 * largest)
    axes.set_ylim(-reach, reach * (9.0 if reach > 6 else 3.2))  # room for the legend
    ticks = [tick for tick in (-100, -30, -10, -3, 0, 3, 10, 30, 100) if abs(tick) <= reach]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(r"residual / $\sigma$ of the mean")
    axes.legend(loc="upper left", fontsize=6, handlelength=2.2)


def _draw_residual_maps(fig: Figure, first: Axes, second: Axes, series: Series, laws: list[str]) -> None:
    norm = TwoSlopeNorm(0.0, -_MOST_SIGMAS, _MOST_SIGMAS)
    points = series.points
    for axes, law in zip((first, second), laws, strict=False):
        residuals = sigma_residuals(series, law)
        axes.scatter(
            points["D"], points["N"], c=residuals, norm=norm, cmap="RdBu_r", s=55, marker="s", edgecolors=GREY,
            linewidths=0.3,
        )  # fmt: skip
        size_axis(axes, "x", name="D", values=points["D"], most=5)
        size_axis(axes, "y", name="N", values=points["N"])
        redchi = series.fits[law].redchi
        axes.set_title(f"{short_name(law)}, $\\chi^2_\\nu$ = {redchi:.2g}", fontsize=6.5)
    if len(laws) < 2:
        second.set_axis_off()
    bar = fig.colorbar(ScalarMappable(norm, "RdBu_r"), ax=[first, second], aspect=25, pad=0.02, extend="both")
    bar.set_label(r"residual / $\sigma$ of the mean", fontsize=7)
    bar.ax.tick_params(labelsize=6)


def _draw_held_out(axes: Axes, series: Series) -> None:
    assert series.choice is not None  # noqa: S101 - the caller looked
    rows = [row for row in series.choice.table if row.rmsle is not None]
    if not rows:
        axes.text(0.5, 0.5, "too few sizes\nto hold any out", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    rows = sorted(rows, key=lambda row: float(row.rmsle or 0.0), reverse=True)
    values = [max(100.0 * float(row.rmsle or 0.0), _SMALLEST_ERROR) for row in rows]
    colors = [_bar_color(row, series) for row in rows]
    axes.scatter(values, range(len(rows)), c=colors, s=16, zorder=3)
    axes.hlines(range(len(rows)), 0.5 * min(values), values, color=colors, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=6)
    log_axis(axes, "x", values=[0.6 * min(values), 1.3 * max(values)], at_least=3, most=5)
    axes.set_xlabel("held-out error (%)")
    axes.grid(axis="x", linewidth=0.3, color=GREY, alpha=0.4)


def _bar_color(row: Row, series: Series) -> str:
    if row.law == series.best:
        return BLUE
    return GREY if row.law == LAST_VALUE or row.weight < _SHOWN else ORANGE


def _name(row: Row) -> str:
    label = short_name(row.law)
    return f"{label} ({row.weight:.2f})" if row.weight >= _SHOWN else label


def _two_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def short_name(law: str) -> str:
    """Write the name of a law for a crowded panel."""
    return law.replace("_", " ")
