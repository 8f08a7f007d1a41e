"""The common energy grid of a set, and interpolation to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from optiscale.dataset.importers.spectra import Spectrum
from optiscale.dataset.schema import EnergyGrid
from optiscale.errors import UserError

INTERPOLATE = "name a grid to interpolate to with --energy START:STOP:N (eV)"
#: part of a step by which a grid may be off a uniform one: files round energies
TOLERANCE = 0.02


def parse_grid(text: str) -> EnergyGrid:
    """Read "START:STOP:N", in eV.

    Raises
    ------
    UserError
        If it is something else.
    """
    try:
        start, stop, n = text.split(":")
        grid = EnergyGrid(start=float(start), stop=float(stop), n=int(n))
    except ValueError as error:
        raise UserError(f"--energy {text}: not START:STOP:N in eV; for example 0:20:2001") from error
    if not (np.isfinite([grid.start, grid.stop]).all() and 0 <= grid.start < grid.stop and grid.n >= 2):
        raise UserError(f"--energy {text}: needs 0 <= START < STOP and N of at least 2; for example 0:20:2001")
    return grid


def common_grid(spectra: Mapping[str, Spectrum]) -> EnergyGrid:
    """Return the grid that most spectra are on.

    Raises
    ------
    UserError
        If it is not uniform.
    """
    count = Counter(id(spectrum.energy) for spectrum in spectra.values())  # equal grids are one array
    name = max(spectra, key=lambda name: count[id(spectra[name].energy)])
    energy = spectra[name].energy
    grid = EnergyGrid(start=float(energy[0]), stop=float(energy[-1]), n=len(energy))
    if len(energy) < 2 or not on_grid(energy, grid):
        raise UserError(f"{name}: the energies are not uniform in eV ({describe(energy)}); {INTERPOLATE}")
    return grid


def on_grid(energy: np.ndarray, grid: EnergyGrid) -> bool:
    """Whether energies are those of a grid, but for rounding."""
    if len(energy) != grid.n:
        return False
    step = (grid.stop - grid.start) / max(grid.n - 1, 1)
    return bool((np.abs(energy - grid.values()) <= TOLERANCE * step).all())


def interpolate(spectrum: Spectrum, grid: EnergyGrid, *, name: str) -> np.ndarray:
    """Return a spectrum on a grid, linear between its points; unchanged where it is on the grid already.

    Returns
    -------
    ndarray
        (n_omega, C).

    Raises
    ------
    UserError
        If the spectrum does not cover the grid: nothing is extrapolated.
    """
    energy = spectrum.energy
    if on_grid(energy, grid):
        return spectrum.y
    margin = TOLERANCE * (grid.stop - grid.start) / (grid.n - 1)
    if energy[0] > grid.start + margin or energy[-1] < grid.stop - margin:
        raise UserError(
            f"{name}: the spectrum covers {describe(energy)}, not all of {grid.start:g} to {grid.stop:g} eV, and "
            "nothing is extrapolated; choose a narrower --energy"
        )
    columns = [np.interp(grid.values(), energy, column) for column in spectrum.y.T]
    return np.stack(columns, axis=-1)


def describe(energy: np.ndarray) -> str:
    """Say in words which energies these are."""
    return f"{energy[0]:g} to {energy[-1]:g} eV in {len(energy)} points"
