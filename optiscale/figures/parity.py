"""Predicted against true Drude frequencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.figures.style import ONE_COLUMN, network_styles, new_figure, paper_style


def figure_parity(omega_D: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]) -> Figure:
    """Draw predicted over true omega_D with the line of identity; MAE and R2 of each network are in the legend.

    Parameters
    ----------
    omega_D
        Name of a network -> (true, predicted), each (B,), eV.

    Raises
    ------
    UserError
        If there is no network, or a network's two arrays differ in length or are empty.
    """
    if not omega_D:
        raise UserError("parity figure: no network; pass {name: (true, predicted)}")
    for name, (true, pred) in omega_D.items():
        if len(true) != len(pred) or not len(true):
            raise UserError(f"parity figure: {name} has {len(true)} true and {len(pred)} predicted omega_D; pass pairs")
    styles = network_styles(omega_D)
    largest = max(float(max(true.max(), pred.max())) for true, pred in omega_D.values()) * 1.05
    smallest = min(0.0, *(float(pred.min()) for _, pred in omega_D.values()))
    with paper_style():
        fig = new_figure(width=ONE_COLUMN, height=ONE_COLUMN + 0.15 + 0.13 * len(styles))
        axes = fig.subplots()
        axes.plot([smallest, largest], [smallest, largest], color="0.5", linewidth=0.7, zorder=1)
        for name, style in styles.items():
            true, pred = omega_D[name]
            axes.plot(
                true,
                pred,
                style.marker,
                color=style.color,
                markersize=3,
                markeredgewidth=0,
                alpha=_opacity(len(true)),
                label=f"{name}: MAE {np.abs(pred - true).mean():.3f} eV, $R^2$ {_r2(true, pred):.3f}",
                rasterized=len(true) > 5000,
            )
        axes.set(xlim=(smallest, largest), ylim=(smallest, largest), aspect="equal")
        axes.set_xlabel(r"true $\omega_D$ (eV)")
        axes.set_ylabel(r"predicted $\omega_D$ (eV)")
        axes.yaxis.set_major_locator(axes.xaxis.get_major_locator())
        legend = fig.legend(loc="outside upper center", markerscale=1.5, handletextpad=0.2)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)
    return fig


def _opacity(n_points: int) -> float:
    return float(np.clip(20 / np.sqrt(n_points), 0.15, 0.8))


def _r2(true: NDArray[np.floating], pred: NDArray[np.floating]) -> float:
    """Coefficient of determination; NaN when all true values are equal."""
    spread = float(((true - true.mean()) ** 2).sum())
    return 1.0 - float(((pred - true) ** 2).sum()) / spread if spread else float("nan")
