from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optiscale.dataset import OpticalDataset
from optiscale.dataset.check.kramers_kronig import KramersKronig, kramers_kronig_matrix
from optiscale.dataset.check.targets import KRAMERS_KRONIG
from optiscale.dataset.shelf import build_shelf

E = np.linspace(0, 20, 2001)
Curves = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> OpticalDataset:
    return build_shelf(tmp_path_factory.mktemp("kk") / "shelf")


def parts(dataset: OpticalDataset) -> Curves:
    spectra = np.asarray(dataset.spectrum, dtype=float)
    return spectra[:, :, 0], spectra[:, :, 1]


def flagged(energies: np.ndarray, re: np.ndarray, im: np.ndarray) -> np.ndarray:
    rest, resolution = KramersKronig(energies).residual(re, im)
    return rest > KRAMERS_KRONIG + 2 * resolution


def test_the_integral_of_a_triangle_is_the_one_in_closed_form() -> None:
    """f(w') = w' on [0, 1]: the integral of w'^2 / (w'^2 - w^2) is 1 + w / 2 ln((1 - w) / (1 + w))."""
    grid, judged = np.linspace(0, 1, 11), np.array([0.25, 0.5, 0.93])
    closed = 2 / np.pi * (1 + judged / 2 * np.log((1 - judged) / (1 + judged)))
    np.testing.assert_allclose(kramers_kronig_matrix(grid, judged) @ grid, closed, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    poles=st.lists(st.tuples(st.floats(0.3, 60), st.floats(1, 300), st.floats(0.1, 3)), min_size=1, max_size=5),
    low=st.sampled_from([0.0, 0.5]),
)
def test_lorentz_oscillators_in_and_above_the_window_are_causal(
    poles: list[tuple[float, float, float]], low: float
) -> None:
    grid = E[np.searchsorted(E, low) :]
    eps = 1 + sum(strength / (place**2 - grid**2 - 1j * width * grid) for place, strength, width in poles)
    rest, _ = KramersKronig(grid).residual(eps.real[None], eps.imag[None])
    assert rest[0] < KRAMERS_KRONIG / 2


def test_every_spectrum_of_the_shelf_is_causal(shelf: OpticalDataset) -> None:
    rest, resolution = KramersKronig(shelf.energies).residual(*parts(shelf))
    assert rest.max() < KRAMERS_KRONIG / 10
    assert resolution.max() < KRAMERS_KRONIG / 5


WRONG = {
    "of another material": lambda re, im: (np.roll(re, 1, axis=0), im),
    "shifted by 0.1 eV": lambda re, im: (np.roll(re, 10, axis=1), im),
    "a tenth too large": lambda re, im: (1 + 1.1 * (re - 1), im),
    "swapped": lambda re, im: (im, re),
    "of the other sign": lambda re, im: (2 - re, im),
    "reversed": lambda re, im: (re[:, ::-1], im),
}


@pytest.mark.parametrize("what", WRONG)
def test_every_wrong_real_part_is_found(shelf: OpticalDataset, what: str) -> None:
    wrong: Curves = WRONG[what](*parts(shelf))
    assert flagged(shelf.energies, *wrong).all()


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 501, 1), (0, 2001, 5), (100, 1501, 1), (200, 1201, 2)])
def test_other_windows_and_grids_are_judged_alike(shelf: OpticalDataset, start: int, stop: int, step: int) -> None:
    part = slice(start, stop, step)
    energies, (re, im) = shelf.energies[part], (values[:, part] for values in parts(shelf))
    assert not flagged(energies, re, im).any()
    assert flagged(energies, np.roll(re, 1, axis=0), im).mean() > 0.97


def test_a_grid_too_coarse_for_the_spectrum_accuses_nobody(shelf: OpticalDataset) -> None:
    re, im = (values[:, ::10] for values in parts(shelf))
    assert flagged(shelf.energies[::10], re, im).mean() < 0.01


def test_no_number_gives_no_number() -> None:
    re, im = np.ones((2, 2001)), np.zeros((2, 2001))
    im[1, 50] = np.nan
    rest, _ = KramersKronig(E).residual(re, im)
    assert rest[0] == 0
    assert np.isnan(rest[1])
