from __future__ import annotations

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.figures.gallery import figure_gallery, gallery_title, spread_rows
from optiscale.figures.metals import figure_metals
from optiscale.spectra.measured import METALS, measured_eps


def test_rows_spread_from_small_to_large_cells() -> None:
    n_sites = np.array([4] * 50 + [1, 1, 10, 10, 2] * 4)
    rows = spread_rows(n_sites)
    assert len(rows) == len(set(rows)) == 8
    assert (np.diff(n_sites[rows]) >= 0).all()
    assert n_sites[rows][0] == 1
    assert n_sites[rows][-1] == 10
    np.testing.assert_array_equal(rows, spread_rows(n_sites))
    assert len(spread_rows(n_sites[:3])) == 3


def test_gallery_draws_every_component_and_hides_empty_panels() -> None:
    energies = np.linspace(0, 20, 201)
    spectra = np.random.default_rng(0).normal(size=(5, 201, 2))
    fig = figure_gallery(energies, spectra, components=("re", "im"), titles=["A"] * 5, notes=[r"$\omega_D$ = 5 eV"] * 5)
    visible = [axes for axes in fig.axes if axes.get_visible()]
    assert len(visible) == 5
    drawn = visible[3].get_lines()[1:]
    np.testing.assert_array_equal(np.stack([line.get_ydata() for line in drawn], axis=-1), spectra[3])
    fig.canvas.draw()


def test_gallery_refuses_what_does_not_agree() -> None:
    with pytest.raises(UserError, match="gallery"):
        figure_gallery(np.arange(3.0), np.zeros((2, 4, 2)), components=("re", "im"), titles=["a", "b"], notes=["", ""])


def test_titles_lower_their_numbers() -> None:
    assert gallery_title("AlNi3", "L1_2") == "AlNi$_{3}$\nL1$_{2}$"
    assert gallery_title("AlNi", None) == "AlNi"
    assert gallery_title("AlNi", "ABC2_cF16_225") == "AlNi\nABC2_cF16_225"


def test_metals_keep_one_colour_a_source() -> None:
    energies = np.linspace(0.5, 6, 300)
    metals = {name: {"measured": measured_eps(name, energies)} for name in METALS}
    metals["NiAl"] = {"DFT": measured_eps("Al", energies)}
    fig = figure_metals(energies, metals)
    fig.canvas.draw()
    assert len(fig.axes) == 2 * len(metals)
    top = fig.axes[: len(metals)]
    assert len({axes.get_lines()[0].get_color() for axes in top[:4]}) == 1
    assert top[4].get_lines()[0].get_color() != top[0].get_lines()[0].get_color()
    with pytest.raises(UserError, match="no metal"):
        figure_metals(energies, {})
