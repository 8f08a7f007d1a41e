"""Dielectric functions of well-known metals, computed beside measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.figures.spectra import formula_text
from optiscale.figures.style import BLACK, BLUE, GREEN, TWO_COLUMNS, VERMILLION, new_figure, paper_style

_COLORS = (BLACK, VERMILLION, BLUE, GREEN)
_LINES: tuple[Literal["--", "-"], ...] = ("--", "-", "-", "-")


def figure_metals(
    energies: NDArray[np.floating], metals: Mapping[str, Mapping[str, NDArray[np.complexfloating]]]
) -> Figure:
    """Draw Re and Im of the whole dielectric function (interband and Drude) of some metals, one column each.

    Parameters
    ----------
    energies
        (n_omega,), eV, above zero.
    metals
        For each formula, for each source ("measured", "DFT", …): (n_omega,) complex. Sources keep one colour through
        all panels, in the order of their first appearance.

    Raises
    ------
    UserError
        If there is no metal.
    """
    if not metals:
        raise UserError("metals figure: there is no metal; pass at least one")
    sources = list(dict.fromkeys(source for curves in metals.values() for source in curves))
    looks = {source: (_COLORS[i], _LINES[i]) for i, source in enumerate(sources)}
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=3.4)
        grid = fig.subplots(2, len(metals), sharex=True, squeeze=False)
        for column, (formula, curves) in zip(grid.T, metals.items(), strict=True):
            column[0].set_title(formula_text(formula))
            for source, eps in curves.items():
                color, line = looks[source]
                column[0].plot(energies, eps.real, color=color, linestyle=line)
                column[1].plot(energies, eps.imag, color=color, linestyle=line)
            column[0].axhline(0, color="0.8", linewidth=0.6, zorder=0)
            # the Drude term diverges at zero: the interband structure sets the scale
            shown = energies >= 1.5
            reals = np.concatenate([eps.real[shown] for eps in curves.values()])
            imags = np.concatenate([eps.imag[shown] for eps in curves.values()])
            column[0].set_ylim(1.05 * reals.min(), max(3.0, 1.2 * reals.max()))
            column[1].set_ylim(0, 1.15 * imags.max())
            column[1].set_xlim(0, energies[-1])
            column[1].set_xlabel(r"$\hbar\omega$ (eV)")
        grid[0, 0].set_ylabel(r"Re $\varepsilon$")
        grid[1, 0].set_ylabel(r"Im $\varepsilon$")
        fig.align_ylabels(grid[:, 0])
        handles = [Line2D([], [], color=looks[s][0], linestyle=looks[s][1], label=s) for s in sources]
        fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return fig
