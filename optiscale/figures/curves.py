"""Learning curves: what every cell of a study did while it trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optiscale.errors import UserError
from optiscale.figures.style import (
    GREY,
    ONE_COLUMN,
    TWO_COLUMNS,
    log_axis,
    new_figure,
    paper_style,
    short_number,
    size_colors,
    stepped_colors,
)

_NEEDED = ("cell", "model", "D", "width", "epoch", "step", "train_loss", "val_loss")
_MOST_COLUMNS = 4
_NO_WIDTH = 0  # of a network whose size is fixed


def figure_curves(curves: pd.DataFrame) -> Figure:
    """Draw validation (solid) and training (faint) losses, one panel a network and width, coloured by D.

    A dot marks L_val, the lowest validation loss of each cell. The horizontal axis is the epoch when all cells trained
    for the same number of epochs, and the optimizer step otherwise.

    Parameters
    ----------
    curves
        The frame of ``curves.parquet``: columns cell, model, D, width, epoch, step, train_loss, val_loss; a loss that
        was not measured in a row is NaN.

    Raises
    ------
    UserError
        If a column is missing or no cell has a finite validation loss.
    """
    missing = [column for column in _NEEDED if column not in curves]
    if missing:
        raise UserError(f"learning curves: no column {missing[0]!r}; pass the frame of curves.parquet")
    measured = curves[np.isfinite(curves["val_loss"])]
    if measured.empty:
        raise UserError("learning curves: no row has a finite val_loss; run the study first (optiscale grid)")
    rows = _rows_of_panels(curves)
    n_columns = max(len(row) for row in rows)
    time = "epoch" if len(set(curves.groupby("cell")["epoch"].max())) == 1 else "step"
    with paper_style():
        fig = new_figure(width=(ONE_COLUMN, 5.2, TWO_COLUMNS)[min(n_columns, 3) - 1], height=0.6 + 1.75 * len(rows))
        grid = fig.subplots(len(rows), n_columns, sharex=True, sharey=True, squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for axes, (model, width) in zip(line, row, strict=False):
                chosen = (curves["model"] == model) & (curves["width"].fillna(_NO_WIDTH) == width)
                _draw_panel(axes, curves[chosen], time, curves["D"])
                axes.set_title(model if width == _NO_WIDTH else f"{model}, W = {width}", fontsize=7)
        _drop_unused(grid, rows)
        finite = curves["train_loss"][np.isfinite(curves["train_loss"])]
        held = np.concatenate([measured["val_loss"], finite.clip(upper=measured["val_loss"].max())])
        log_axis(grid[0, 0], "y", values=held[held > 0])
        fig.supxlabel(time, fontsize=8)
        fig.supylabel("loss", fontsize=8)
        _size_bar(fig, fig.get_axes(), curves["D"], aspect=20 * len(rows))
        fig.legend(handles=_meaning(), loc="outside upper center", ncols=3)
    return fig


def _rows_of_panels(curves: pd.DataFrame) -> list[list[tuple[str, int]]]:
    """(network, width) of each panel: one row if all fit, else every network starts a row of its own."""
    widths = curves["width"].fillna(_NO_WIDTH).astype(int)
    panels = sorted(set(zip(curves["model"].astype(str), widths, strict=True)))
    if len(panels) <= _MOST_COLUMNS:
        return [panels]
    networks = [[panel for panel in panels if panel[0] == model] for model in dict.fromkeys(m for m, _ in panels)]
    return [row[i : i + _MOST_COLUMNS] for row in networks for i in range(0, len(row), _MOST_COLUMNS)]


def _drop_unused(grid: np.ndarray, rows: list[list[tuple[str, int]]]) -> None:
    """Remove panels without a network and give the panel above each its own tick labels."""
    n_rows, n_columns = grid.shape
    for column in range(n_columns):
        used = [line for line in range(n_rows) if column < len(rows[line])]
        grid[used[-1], column].tick_params(labelbottom=True)
        for line in set(range(n_rows)) - set(used):
            grid[line, column].remove()


def _draw_panel(axes: Axes, frame: pd.DataFrame, time: str, sizes: pd.Series) -> None:
    colors = size_colors(sizes)
    for _, cell in frame.sort_values("D").groupby(["D", "cell"]):
        ordered = cell.sort_values("step")
        color = colors[ordered["D"].iloc[0]]
        train = ordered[np.isfinite(ordered["train_loss"])]
        axes.plot(train[time], train["train_loss"], color=color, linewidth=0.6, alpha=0.35)
        val = ordered[np.isfinite(ordered["val_loss"])]
        if len(val):
            axes.plot(val[time], val["val_loss"], color=color, linewidth=0.9)
            best = val.loc[val["val_loss"].idxmin()]
            edge: dict[str, Any] = {"markeredgecolor": "w", "markeredgewidth": 0.4}
            axes.plot(best[time], best["val_loss"], "o", color=color, markersize=3, zorder=3, **edge)


def _meaning() -> list[Line2D]:
    return [
        Line2D([], [], color=GREY, linewidth=0.9, label="validation"),
        Line2D([], [], color=GREY, linewidth=0.6, alpha=0.5, label="training"),
        Line2D([], [], color=GREY, marker="o", markersize=3, linestyle="none", label="lowest validation loss"),
    ]


def _size_bar(fig: Figure, panels: list[Axes], sizes: pd.Series, *, aspect: float) -> None:
    cmap, norm, steps = stepped_colors(sizes)
    bar = fig.colorbar(ScalarMappable(norm, cmap), ax=panels, ticks=range(len(steps)), aspect=aspect, pad=0.02)
    bar.ax.set_yticklabels([short_number(size) for size in steps])
    bar.ax.tick_params(which="both", length=0)
    bar.set_label("D")
