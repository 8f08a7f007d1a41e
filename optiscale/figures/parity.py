"""Predicted against true scalar targets, such as Drude frequencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.figures.style import ONE_COLUMN, network_styles, new_figure, paper_style


def figure_parity(
    values: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]], *, name: str = "omega_D", unit: str = "eV"
) -> Figure:
    """Draw predicted over true values with the line of identity; MAE and R2 of each network are in the legend.

    Parameters
    ----------
    values
        Name of a network -> (true, predicted), each (B,).
    name, unit
        Of the scalar target; the unit "1" is not written.

    Raises
    ------
    UserError
        If there is no network, or a network's two arrays differ in length or are empty.
    """
    if not values:
        raise UserError("parity figure: no network; pass {name: (true, predicted)}")
    for network, (true, pred) in values.items():
        if len(true) != len(pred) or not len(true):
            raise UserError(
                f"parity figure: {network} has {len(true)} true and {len(pred)} predicted {name}; pass pairs"
            )
    styles = network_styles(values)
    largest = max(float(max(true.max(), pred.max())) for true, pred in values.values()) * 1.05
    smallest = min(0.0, *(float(min(true.min(), pred.min())) for true, pred in values.values()))
    label = r"$\omega_D$" if name == "omega_D" else name
    written = "" if unit == "1" else f" {unit}"
    with paper_style():
        fig = new_figure(width=ONE_COLUMN, height=ONE_COLUMN + 0.15 + 0.13 * len(styles))
        axes = fig.subplots()
        axes.plot([smallest, largest], [smallest, largest], color="0.5", linewidth=0.7, zorder=1)
        for network, style in styles.items():
            true, pred = values[network]
            axes.plot(
                true,
                pred,
                style.marker,
                color=style.color,
                markersize=3,
                markeredgewidth=0,
                alpha=_opacity(len(true)),
                label=f"{network}: MAE {np.abs(pred - true).mean():.3f}{written}, $R^2$ {_r2(true, pred):.3f}",
                rasterized=len(true) > 5000,
            )
        axes.set(xlim=(smallest, largest), ylim=(smallest, largest), aspect="equal")
        in_unit = f" ({unit})" if written else ""
        axes.set_xlabel(f"true {label}{in_unit}")
        axes.set_ylabel(f"predicted {label}{in_unit}")
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
