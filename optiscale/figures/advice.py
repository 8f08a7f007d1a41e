"""Pictures of what the laws advise: the frontier of a budget over the loss in N and D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from optiscale.advice import Frontier, FrontierPoint
from optiscale.figures.maps import size_axis
from optiscale.figures.style import (
    BLUE,
    GREY,
    TWO_COLUMNS,
    VERMILLION,
    log_axis,
    log_ticks,
    new_figure,
    panel_label,
    paper_style,
    save_figure,
    tick_labels,
)

_GRID = 160
_COLORS = "cividis"
_ORDERS = {"next": VERMILLION, "smallest first": BLUE, "random": GREY}


def draw_frontier(found: Frontier, folder: Path, name: str, *, asked: Sequence[float] = ()) -> list[Path]:
    """Draw loss contours, lines of equal cost and the best sizes with their interval; beside it what a budget buys.

    Parameters
    ----------
    found
        Best sizes over two or more budgets.
    folder, name
        Where to write ``<name>.png`` and ``<name>.pdf``.
    asked
        Budgets to mark.

    Returns
    -------
    list of Path
        The PNG and the PDF.
    """
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=2.9)
        sizes, losses = fig.subplots(1, 2, width_ratios=(1.25, 1.0))
        _draw_sizes(fig, sizes, found, asked)
        _draw_losses(losses, found, asked)
        for i, axes in enumerate((sizes, losses)):
            panel_label(axes, i)
    return save_figure(fig, folder, name)


def _draw_sizes(fig: Figure, axes: Axes, found: Frontier, asked: Sequence[float]) -> None:
    points = found.series.points
    shown = [point for point in found.points if not point.edge]
    held_D = np.concatenate([points["D"], [point.D for point in shown]])
    held_N = np.concatenate([points["N"], [point.N for point in shown]])
    log_axis(axes, "x", values=held_D, at=points["D"].unique(), most=6)
    axes.set_xlabel("data size $D$")
    size_axis(axes, "y", name="N", values=held_N, at_least=4)
    D, N = np.meshgrid(np.geomspace(*axes.get_xlim(), _GRID), np.geomspace(*axes.get_ylim(), _GRID))
    choice = found.series.choice
    if choice is None:
        return
    loss = choice.predict(N=N.ravel(), D=D.ravel()).reshape(D.shape)
    norm = LogNorm(float(loss.min()), float(loss.max()))
    axes.pcolormesh(D, N, loss, norm=norm, cmap=_COLORS, shading="gouraud", rasterized=True)
    levels = log_ticks(float(loss.min()), float(loss.max()), at_least=7)
    axes.contour(D, N, loss, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
    spent = found.cost(N, D)
    for point in shown:
        axes.contour(
            D, N, spent, levels=[point.budget], colors="white",
            linewidths=1.0 if point.budget in asked else 0.6, linestyles="dashed",
        )  # fmt: skip
    band = _band(found, shown)
    if band is not None:
        axes.add_patch(Polygon(band, closed=True, facecolor=VERMILLION, alpha=0.35, edgecolor="none", zorder=3))
    axes.plot([p.D for p in shown], [p.N for p in shown], color=VERMILLION, zorder=4)
    _mark(axes, [p for p in shown if p.budget in asked], "D", "N")
    axes.scatter(points["D"], points["N"], s=7, facecolors="none", edgecolors="white", linewidths=0.6, zorder=3)
    axes.set_title(
        f"dashed: equal cost; line: best for it, {100 * found.level:.0f} % interval", fontsize=7, loc="right"
    )
    bar = fig.colorbar(ScalarMappable(norm, mpl.colormaps[_COLORS]), ax=axes, aspect=24, pad=0.02)
    bar.set_ticks(levels, labels=tick_labels(levels))
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=6, length=2, pad=2)
    bar.ax.set_title(r"$L_\mathrm{val}$", fontsize=7, pad=3)
    bar.outline.set_linewidth(0)


def _band(found: Frontier, shown: Sequence[FrontierPoint]) -> list[tuple[float, float]] | None:
    """Corners of the interval: of each budget the ends of N, with the D that it buys there."""
    closed = [(p, p.N_low, p.N_high) for p in shown if p.N_low is not None and p.N_high is not None]
    if len(closed) < 2:
        return None
    low = [(float(found.cost.data_for(p.budget, end)), end) for p, end, _ in closed]
    high = [(float(found.cost.data_for(p.budget, end)), end) for p, _, end in closed]
    return [*low, *high[::-1]]


def _draw_losses(axes: Axes, found: Frontier, asked: Sequence[float]) -> None:
    shown = [point for point in found.points if not point.edge]
    if not shown:
        axes.set_axis_off()
        words = "no budget has its best N and D\nwithin the sizes searched"
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
        return
    budgets = [p.budget for p in shown]
    axes.fill_between(
        budgets, [p.low for p in shown], [p.high for p in shown], color=VERMILLION, alpha=0.25, linewidth=0
    )
    axes.plot(budgets, [p.loss for p in shown], color=VERMILLION, label="best N and D")
    points = found.series.points
    spent = found.cost(points["N"].to_numpy(), points["D"].to_numpy())
    axes.plot(spent, points["mean"], "o", color=GREY, markersize=2.5, markeredgewidth=0, label="runs made")
    _mark(axes, [p for p in shown if p.budget in asked], "budget", "loss")
    log_axis(axes, "x", values=np.append(spent, budgets), most=6)
    ticks = [tick for tick in axes.get_xticks() if np.log10(tick) % 1 == 0]
    if len(ticks) > 1:  # powers of ten read better than the suffixes that sizes have
        axes.set_xticks(ticks, labels=[f"$10^{{{np.log10(tick):.0f}}}$" for tick in ticks])
    axes.set_xlabel(f"cost of a run ({found.cost.unit})")
    log_axis(axes, "y", values=np.concatenate([points["mean"], [p.low for p in shown]]))
    axes.set_ylabel(r"$L_\mathrm{val}$")
    axes.legend(loc="lower left")


def _mark(axes: Axes, points: Sequence[FrontierPoint], x: str, y: str) -> None:
    axes.plot(
        [getattr(p, x) for p in points], [getattr(p, y) for p in points], "*", color=VERMILLION, markersize=8,
        markeredgecolor="white", markeredgewidth=0.5, zorder=5,
    )  # fmt: skip


def draw_replay(result: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Draw what orders of running a grid tell, over what they spend: expected errors above, what came out below.

    Parameters
    ----------
    result
        As ``benchmarks/advice_replay.py`` writes it: by network and cost, the budgets and what each order led to.
    folder, name
        Where to write ``<name>.png`` and ``<name>.pdf``.

    Returns
    -------
    list of Path
        The PNG and the PDF.
    """
    columns = [(model, cost, one) for model, costs in result["published"].items() for cost, one in costs.items()]
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=3.9)
        panels = fig.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
        for row, (quantity, level) in enumerate((("error", result["enough"]), ("rms", 1.0))):
            for column, (model, cost, one) in enumerate(columns):
                axes = panels[row, column]
                _draw_orders(axes, one, quantity, level)
                panel_label(axes, row * len(columns) + column)
                if not row:
                    axes.set_title(f"{model.removeprefix('OptiMetal')}, cost {cost}", fontsize=7, loc="right")
        panels[0, 0].legend(loc="upper right", handlelength=1.2)
        panels[0, 0].set_ylabel("standard error of $D_c$, exponents\n(those of the full grid, rms)")
        panels[1, 0].set_ylabel("distance from the full grid's fit\n(its standard errors, rms)")
        fig.supxlabel("cost spent, of the full grid's", fontsize=8)
    return save_figure(fig, folder, name)


def _draw_orders(axes: Axes, one: Mapping[str, Any], quantity: str, level: float) -> None:
    budgets = one["budgets"]
    for name, color in _ORDERS.items():
        order = one["orders"][name]
        mark = "" if name == "random" else "o"
        label = "random (half of them)" if name == "random" else name
        axes.plot(budgets, order[quantity], color=color, label=label, marker=mark, markersize=2.5)
        if name == "random":
            low, high = order[f"{quantity}_quartiles"]
            axes.fill_between(budgets, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(level, color="black", linewidth=0.6, linestyle=":")
    ticks = [0.1, 0.3, 1, 3, 10, 30]
    log_axis(axes, "y", values=[0.8, 40] if quantity == "error" else [0.1, 40], at=ticks)
    log_axis(axes, "x", values=[0.01, 0.8], at=[0.01, 0.03, 0.1, 0.3])
    axes.set_xticks([0.01, 0.1, 0.3], labels=["1 %", "10 %", "30 %"])
