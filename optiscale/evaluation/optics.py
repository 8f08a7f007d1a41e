"""From dielectric functions to reflectance."""

from __future__ import annotations

import numpy as np

GAMMA = 0.1
"""Drude damping of the published study, eV."""


def drude_term(energies: np.ndarray, omega_D: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    r"""Intraband part of the dielectric function of a metal.

    .. math:: \varepsilon_D(\omega) = -\frac{\omega_D^2}{\omega^2 + i \gamma \omega}

    Parameters
    ----------
    energies
        (n_omega,) eV, above zero: the term diverges at zero.
    omega_D
        (...,) Drude frequencies, eV.
    gamma
        Damping, eV.

    Returns
    -------
    numpy.ndarray
        (..., n_omega) complex.
    """
    energies = np.asarray(energies, dtype=float)
    if not (energies > 0).all():
        raise ValueError("the Drude term needs energies above zero")
    return -np.square(np.asarray(omega_D, dtype=float))[..., None] / (energies**2 + 1j * gamma * energies)


def reflectance(eps: np.ndarray) -> np.ndarray:
    r"""Share of light that a plane surface reflects at normal incidence from vacuum.

    .. math:: R = \left| \frac{\sqrt{\varepsilon} - 1}{\sqrt{\varepsilon} + 1} \right|^2

    Parameters
    ----------
    eps
        Dielectric function, complex, any shape.

    Returns
    -------
    numpy.ndarray
        Between 0 and 1, for any complex `eps` (the principal root has no negative real part).
    """
    index = np.sqrt(np.asarray(eps, dtype=complex))
    return np.square(np.abs((index - 1) / (index + 1)))
