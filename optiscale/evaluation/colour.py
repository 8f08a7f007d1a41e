"""Colour of a surface under daylight from its reflectance."""

from __future__ import annotations

import numpy as np

from optiscale.errors import UserError

HC = 1239.841984
"""Planck's constant times the speed of light, eV nm (CODATA 2018)."""

OBSERVER = "CIE 1931 2 Degree Standard Observer"
ILLUMINANT = "D65"
_WAVELENGTHS = (360, 830, 1)  # nm: first, last, step
VISIBLE = (HC / _WAVELENGTHS[1], HC / _WAVELENGTHS[0])
"""Lowest and highest photon energy that the eye's response is tabulated for, eV: 1.49 and 3.44."""


def xyz_weights(energies: np.ndarray) -> np.ndarray:
    """Weights that turn a reflectance on an energy grid into tristimulus values.

    The reflectance is interpolated linearly in energy to wavelengths of 360 to 830 nm in steps of 1 nm, multiplied by
    the illuminant and the colour-matching functions and summed (CIE 15:2004), all of which is linear.

    Parameters
    ----------
    energies
        (n_omega,) eV, rising, covering `VISIBLE`.

    Returns
    -------
    numpy.ndarray
        (n_omega, 3): ``reflectance @ weights`` are X, Y, Z; Y of a perfect mirror is 1.
    """
    energies = np.asarray(energies, dtype=float)
    if energies[0] > VISIBLE[0] or energies[-1] < VISIBLE[1]:
        raise UserError(
            f"energies: {energies[0]:.2f} to {energies[-1]:.2f} eV do not cover the visible, "
            f"{VISIBLE[0]:.2f} to {VISIBLE[1]:.2f} eV; compute colours from a wider grid"
        )
    import colour  # 70 MB, of use to spectra that cover the visible only

    shape = colour.SpectralShape(*_WAVELENGTHS)
    matching = colour.MSDS_CMFS[OBSERVER].copy().align(shape)
    light = colour.SDS_ILLUMINANTS[ILLUMINANT].copy().align(shape)
    stimulus = matching.values * light.values[:, None]  # (n_wavelength, 3)
    stimulus /= stimulus[:, 1].sum()

    photon = HC / matching.wavelengths
    left = np.clip(np.searchsorted(energies, photon) - 1, 0, len(energies) - 2)
    share = ((photon - energies[left]) / (energies[left + 1] - energies[left]))[:, None]
    weights = np.zeros((len(energies), 3))
    np.add.at(weights, left, (1 - share) * stimulus)
    np.add.at(weights, left + 1, share * stimulus)
    return weights


def reflectance_to_lab(energies: np.ndarray, reflectance: np.ndarray) -> np.ndarray:
    """CIE L*a*b* colour (1931 2° observer, D65) of reflecting surfaces.

    Parameters
    ----------
    energies
        (n_omega,) eV, covering `VISIBLE`.
    reflectance
        (..., n_omega), 0 to 1.

    Returns
    -------
    numpy.ndarray
        (..., 3): L*, a*, b*. A perfect mirror is (100, 0, 0).
    """
    weights = xyz_weights(energies)
    import colour

    white = colour.XYZ_to_xy(weights.sum(axis=0))  # the mirror itself, so that it is exactly without colour
    return colour.XYZ_to_Lab(np.asarray(reflectance) @ weights, white)


def colour_difference(lab_a: np.ndarray, lab_b: np.ndarray) -> np.ndarray:
    """Colour difference dE of the CIE of 1976, the distance in L*a*b*: (..., 3), (..., 3) -> (...,)."""
    import colour

    return colour.delta_E(lab_a, lab_b, method="CIE 1976")
