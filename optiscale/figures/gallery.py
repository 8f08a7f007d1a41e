"""What the spectra of a data set look like: a gallery of some of its materials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.figures.spectra import formula_text, spread_peaks
from optiscale.figures.style import BLACK, BLUE, TWO_COLUMNS, VERMILLION, new_figure, paper_style

_COLORS = (BLUE, VERMILLION, BLACK)
_COLUMNS = 4


def spread_rows(n_sites: NDArray[np.integer], *, n: int = 8, seed: int = 0) -> NDArray[np.int64]:
    """Choose `n` rows of a data set at random, from the smallest cells to the largest.

    Parameters
    ----------
    n_sites
        (M,) atoms a cell.
    n
        Rows wanted; all of them if there are fewer.
    seed
        Of the choice.

    Returns
    -------
    ndarray
        (n,) rows, sorted by the number of atoms.
    """
    order = np.random.default_rng(seed).permutation(len(n_sites))
    by_size = order[np.argsort(np.asarray(n_sites)[order], kind="stable")]
    return np.asarray([part[len(part) // 2] for part in np.array_split(by_size, min(n, len(by_size)))], dtype=np.int64)


def gallery_of(dataset: OpticalDataset, *, n: int = 8) -> Figure:
    """Draw the spectra of `n` materials of a data set, from its smallest cells to its largest.

    Parameters
    ----------
    dataset
        A set with spectra.
    n
        Panels.
    """
    rows = spread_rows(dataset.n_sites, n=n)
    materials = dataset.materials.iloc[rows]
    scalars = dataset.manifest.scalars
    notes = [
        "\n".join(
            f"{_symbol(info.name)} = {value:.3g} {info.unit}" for info, value in zip(scalars, values, strict=True)
        )
        for values in np.asarray(dataset.scalars[rows], dtype=float)
    ]
    titles = [
        gallery_title(formula, prototype)
        for formula, prototype in zip(materials["reduced_formula"], materials["prototype"], strict=True)
    ]
    return figure_gallery(
        dataset.energies,
        np.asarray(dataset.spectrum[rows]),
        components=dataset.manifest.components,
        titles=titles,
        notes=notes,
    )


def _symbol(name: str) -> str:
    return r"$\omega_\mathrm{D}$" if name == "omega_D" else name


def figure_gallery(
    energies: NDArray[np.floating],
    spectra: NDArray[np.floating],
    *,
    components: Sequence[str],
    titles: Sequence[str],
    notes: Sequence[str],
) -> Figure:
    """Draw spectra of single materials, one panel each.

    Parameters
    ----------
    energies
        (n_omega,), eV.
    spectra
        (B, n_omega, C).
    components
        C names, such as ``("re", "im")``.
    titles
        B titles: formula and structure type.
    notes
        B further lines, such as the Drude frequency.

    Raises
    ------
    UserError
        If there is no material or the shapes do not agree.
    """
    shape = (len(titles), len(energies), len(components))
    if not shape[0] or spectra.shape != shape or len(notes) != len(titles):
        raise UserError(
            f"gallery: titles, energies and components say {shape}, but the spectra are {spectra.shape}; "
            "pass arrays that agree"
        )
    n_rows = -(-len(titles) // _COLUMNS)
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=0.5 + 1.7 * n_rows)
        grid = fig.subplots(n_rows, _COLUMNS, sharex=True, squeeze=False)
        panels = list(grid.flat)
        for axes, spectrum, title, note in zip(panels, spectra, titles, notes, strict=False):
            axes.axhline(0, color="0.8", linewidth=0.6)
            for values, color in zip(spectrum.T, _COLORS, strict=False):
                axes.plot(energies, values, color=color)
            axes.set_xlim(energies[0], energies[-1])
            axes.set_title(title, fontsize=7)
            axes.text(0.96, 0.94, note, transform=axes.transAxes, ha="right", va="top", fontsize=7)
            spread_peaks(axes, float(np.abs(spectrum).max()))
        for axes in panels[len(titles) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(titles) - _COLUMNS) : len(titles)]:
            axes.set_xlabel(r"$\hbar\omega$ (eV)")
            axes.tick_params(labelbottom=True)
        for row in grid:
            row[0].set_ylabel(r"$\varepsilon_\mathrm{inter}$")
        handles = [
            Line2D([], [], color=color, label=name.capitalize())
            for name, color in zip(components, _COLORS, strict=False)
        ]
        fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return fig


def gallery_title(formula: str, prototype: object) -> str:
    """Write the formula and the structure type of a material for a panel's title."""
    return formula_text(formula) + (f"\n{formula_text_of_type(prototype)}" if isinstance(prototype, str) else "")


def formula_text_of_type(prototype: str) -> str:
    """Write a Strukturbericht symbol with its lower index: ``L1_2`` becomes ``L1$_{2}$``."""
    head, _, index = prototype.partition("_")
    return f"{head}$_{{{index}}}$" if index and len(index) <= 2 else prototype
