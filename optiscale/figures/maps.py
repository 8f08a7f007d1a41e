"""One network's row of Figure 2: L over N, L over D and the fitted L(D, N) map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import FigureBase
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from optiscale.figures.style import (
    VERMILLION,
    log_axis,
    log_ticks,
    short_number,
    size_colors,
    stepped_colors,
    tick_labels,
)
from optiscale.laws import LawFit, Series, get_law

Size = Literal["D", "N"]

_FEW = 4
_CLEARANCE = 0.07  # part of the panel's width that a contour label keeps free
_NO_SUPPORT = 10.0
_GRID = 160
_MAP_COLORS = "cividis"


def fit_to_draw(series: Series, law: str) -> LawFit | None:
    """Fit of `law` where the points bear it, else of the series' best law, else None (too few points for any).

    They do not bear it if it has no AICc, or one more than 10 above the best: essentially no support in the words of
    K. P. Burnham and D. R. Anderson, Model Selection and Multimodel Inference (2002), section 2.6.
    """
    best = series.fits.get(series.best) if series.best else None
    fit = series.fits.get(law)
    if best is None or fit is None or fit.aicc is None or best.aicc is None:
        return best
    return fit if fit.aicc - best.aicc <= _NO_SUPPORT else best


def draw_map_row(fig: FigureBase, panels: Sequence[Axes], series: Series) -> None:
    """Draw a map series into three panels: L over N coloured by D, L over D coloured by N, and L(D, N).

    Lines and the map are the Kaplan law (the series' best law where the points do not bear that one); without any fit
    the points are joined by thin lines and the third panel shows the points alone.
    """
    fit = fit_to_draw(series, "kaplan")
    over_N, over_D, over_both = panels
    _draw_cut(fig, over_N, series, fit, x="N", colored_by="D")
    _draw_cut(fig, over_D, series, fit, x="D", colored_by="N")
    _draw_map(fig, over_both, series, fit)


def _draw_cut(fig: FigureBase, axes: Axes, series: Series, fit: LawFit | None, *, x: Size, colored_by: Size) -> None:
    points = series.points
    low, high = float(points[x].min()), float(points[x].max())
    line = np.geomspace(low / (high / low) ** 0.04, high * (high / low) ** 0.04, 200)
    for size, color in size_colors(points[colored_by]).items():
        cut = points[points[colored_by] == size].sort_values(x)
        if fit is None:
            axes.plot(cut[x], cut["mean"], color=color, linewidth=0.6)
        else:
            axes.plot(line, _at(fit, {x: line, colored_by: np.full_like(line, size)}), color=color, linewidth=0.8)
        axes.errorbar(
            cut[x], cut["mean"], yerr=cut["std"].fillna(0.0), fmt="o", color=color, markersize=2.5, capsize=1.5,
            elinewidth=0.7, capthick=0.7,
        )  # fmt: skip
    size_axis(axes, "x", name=x, values=points[x], most=5)
    log_axis(axes, "y", values=points["mean"], at_least=5)
    axes.set_ylabel(r"$L_\mathrm{val}$")
    cmap, norm, steps = stepped_colors(points[colored_by])
    bar = fig.colorbar(ScalarMappable(norm, cmap), ax=axes, ticks=range(len(steps)), aspect=22, pad=0.03)
    bar.ax.set_yticklabels([short_number(step) for step in steps], fontsize=6)
    bar.ax.tick_params(which="both", length=0, pad=2)
    bar.ax.set_title(f"${colored_by}$", fontsize=7, pad=3)
    bar.outline.set_linewidth(0)


def _draw_map(fig: FigureBase, axes: Axes, series: Series, fit: LawFit | None) -> None:
    points = series.points
    size_axis(axes, "x", name="D", values=points["D"], most=5)
    size_axis(axes, "y", name="N", values=points["N"])
    norm = LogNorm(float(points["mean"].min()), float(points["mean"].max()))
    if fit is not None:
        D, N = np.meshgrid(np.geomspace(*axes.get_xlim(), _GRID), np.geomspace(*axes.get_ylim(), _GRID))
        loss = _at(fit, {"D": D.ravel(), "N": N.ravel()}).reshape(D.shape)
        axes.pcolormesh(D, N, loss, norm=norm, cmap=_MAP_COLORS, shading="gouraud", rasterized=True)
        levels = log_ticks(float(loss.min()), float(loss.max()), at_least=6)
        lines = axes.contour(D, N, loss, levels=levels, colors="white", linewidths=0.6)
        spots = _label_spots(axes, fit, levels, np.unique(points["N"]))
        text = dict(zip(levels, tick_labels(levels), strict=True))
        axes.clabel(lines, fmt=text, fontsize=6, inline_spacing=2, manual=spots)
        _mark_break(axes, fit)
    axes.scatter(
        points["D"], points["N"], c=points["mean"], norm=norm, cmap=_MAP_COLORS, s=11, edgecolors="white",
        linewidths=0.5, zorder=3,
    )  # fmt: skip
    bar = fig.colorbar(ScalarMappable(norm, mpl.colormaps[_MAP_COLORS]), ax=axes, aspect=22, pad=0.03)
    ticks = log_ticks(float(norm.vmin or 1), float(norm.vmax or 1))
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_major_formatter(FixedFormatter(tick_labels(ticks)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=6, length=2, pad=2)
    bar.ax.set_title(r"$L_\mathrm{val}$", fontsize=7, pad=3)
    bar.outline.set_linewidth(0)


def _break(axes: Axes, fit: LawFit) -> float | None:
    """D_c, where the data exponent changes, if the law has one for all N and it lies within the panel."""
    low, high = axes.get_xlim()
    if get_law(fit.law).breaks.get("log10_Dc") != "D" or "d" in fit.params:
        return None
    D_c = fit.params["Dc"][0]
    return D_c if low < D_c < high else None


def _mark_break(axes: Axes, fit: LawFit) -> None:
    """Mark D_c by a line and a star on the upper edge."""
    D_c = _break(axes, fit)
    if D_c is None:
        return
    axes.axvline(D_c, color="white", linewidth=0.9, linestyle=(0, (3, 2)))
    axes.plot(
        D_c,
        1.0,
        "*",
        color=VERMILLION,
        markersize=8,
        markeredgecolor="white",
        markeredgewidth=0.5,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        zorder=4,
    )
    axes.set_title(rf"$D_\mathrm{{c}}$ = {short_number(D_c)}", fontsize=7)


def _label_spots(
    axes: Axes, fit: LawFit, levels: Sequence[float], measured: NDArray[np.floating]
) -> list[tuple[float, float]]:
    """(D, N) of a label on each contour: midway between two measured N, clear of the frame and of the D_c line."""
    D_c, limits = _break(axes, fit), axes.get_xlim()
    D = np.geomspace(*limits, 500)
    place = np.linspace(0.0, 1.0, len(D))
    clear = (place > _CLEARANCE) & (place < 1 - _CLEARANCE)
    if D_c is not None:
        clear &= np.abs(place - np.interp(np.log(D_c), np.log(limits), (0.0, 1.0))) > _CLEARANCE
    spots = []
    for level in levels:
        for N in np.sqrt(measured[1:] * measured[:-1])[::-1]:
            nearest = int(np.argmin(np.abs(np.log(_at(fit, {"D": D, "N": np.full_like(D, N)}) / level))))
            if clear[nearest]:
                spots.append((float(D[nearest]), float(N)))
                break
    return spots


def size_axis(
    axes: Axes,
    which: Literal["x", "y"],
    *,
    name: Size,
    values: ArrayLike,
    most: int | None = None,
    at_least: int = 3,
) -> None:
    """Make a log axis of D or N with its label: ticks at the measured sizes, or round ones where N has many values."""
    measured = np.unique(np.asarray(values, dtype=float))
    at = measured if name == "D" or len(measured) <= _FEW else None
    log_axis(axes, which, values=measured, at=at, at_least=at_least, most=most)
    label = "data size $D$" if name == "D" else "parameters $N$"
    axes.set_xlabel(label) if which == "x" else axes.set_ylabel(label)


def _at(fit: LawFit, sizes: dict[str, NDArray[np.floating]]) -> NDArray[np.floating]:
    return np.asarray(fit.predict(**sizes), dtype=float)
