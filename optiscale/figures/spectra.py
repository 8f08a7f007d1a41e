"""Predicted against true spectra of a good, a typical and a bad material."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.figures.style import BLACK, TWO_COLUMNS, VERMILLION, new_figure, paper_style

_PLACES = (("best decile", 0.1), ("median", 0.5), ("worst decile", 0.9))


def formula_text(formula: str) -> str:
    """Write a formula with lowered numbers (mathtext): ``Al2Cu`` becomes ``Al$_{2}$Cu``."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"$_{\1}$", formula)


def decile_materials(mae: NDArray[np.floating]) -> list[int]:
    """Rows of the materials whose MAE lies nearest above the 10 %, 50 % and 90 % quantile.

    Parameters
    ----------
    mae
        (B,), error of each material.
    """
    order = np.argsort(mae, kind="stable")
    return [int(order[round(part * (len(order) - 1))]) for _, part in _PLACES]


def figure_spectra(
    energies: NDArray[np.floating],
    spectrum_true: NDArray[np.floating],
    spectrum_pred: NDArray[np.floating],
    *,
    components: Sequence[str],
    formulas: Sequence[str],
) -> Figure:
    """Draw true and predicted spectra at the best decile, the median and the worst decile of the MAE.

    Parameters
    ----------
    energies
        (n_omega,), eV.
    spectrum_true, spectrum_pred
        (B, n_omega, C).
    components
        C names, such as ``("re", "im")``; one row of panels each.
    formulas
        B chemical formulas, for the titles.

    Raises
    ------
    UserError
        If there is no material or the shapes do not agree.
    """
    shape = (len(formulas), len(energies), len(components))
    if not shape[0] or spectrum_true.shape != shape or spectrum_pred.shape != shape:
        raise UserError(
            f"spectra figure: formulas, energies and components say {shape}, "
            f"but the true spectra are {spectrum_true.shape} and the predicted ones "
            f"{spectrum_pred.shape}; pass arrays that agree"
        )
    mae = np.abs(spectrum_pred - spectrum_true).mean(axis=(1, 2))
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=0.7 + 1.45 * len(components))
        grid = fig.subplots(len(components), len(_PLACES), sharex=True, squeeze=False)
        for column, (row, (place, _)) in enumerate(zip(decile_materials(mae), _PLACES, strict=True)):
            grid[0, column].set_title(f"{formula_text(formulas[row])}, {place}\nMAE {mae[row]:.3f}")
            for axes, true, pred in zip(grid[:, column], spectrum_true[row].T, spectrum_pred[row].T, strict=True):
                axes.axhline(0, color="0.8", linewidth=0.6)
                axes.plot(energies, true, color=BLACK, linewidth=1.2)
                axes.plot(energies, pred, color=VERMILLION, linewidth=1.0, linestyle=(0, (4, 1.5)))
                axes.set_xlim(energies[0], energies[-1])
                spread_peaks(axes, max(np.abs(true).max(), np.abs(pred).max()))
        for axes, component in zip(grid[:, 0], components, strict=True):
            axes.set_ylabel(rf"{component.capitalize()} $\varepsilon_\mathrm{{inter}}$")
        for axes in grid[-1]:
            axes.set_xlabel(r"$\hbar\omega$ (eV)")
        true_line = Line2D([], [], color=BLACK, linewidth=1.2, label="true")
        pred_line = Line2D([], [], color=VERMILLION, linewidth=1.0, linestyle=(0, (4, 1.5)), label="predicted")
        fig.legend(handles=[true_line, pred_line], loc="outside upper center", ncols=2)
        fig.align_ylabels(grid[:, 0])
    return fig


def spread_peaks(axes: Axes, highest: float) -> None:
    """Compress values beyond 10: a metal's low-energy peak would leave nothing else to see on a linear axis."""
    if highest <= 100:
        return
    axes.set_yscale("symlog", linthresh=10)
    ticks = [sign * 10.0**power for sign in (-1, 1) for power in (1, 2, 3, 4)]
    low, high = axes.get_ylim()
    axes.set_yticks(sorted([0.0, *(tick for tick in ticks if low <= tick <= high)]))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())
