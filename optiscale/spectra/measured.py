"""Measured optical constants of metals, to stand beside computed ones."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from optiscale.errors import UserError

SOURCE = "A. D. Rakić et al., Appl. Opt. 37, 5271 (1998), Lorentz-Drude model"


@dataclass(frozen=True)
class LorentzDrude:
    """Parameters of one metal: plasma frequency (eV), then strength, width (eV) and place (eV) of each oscillator.

    The first oscillator, at 0 eV, is the Drude term.
    """

    omega_p: float
    oscillators: tuple[tuple[float, float, float], ...]


# Table 2 of the source: f, Gamma, omega.
METALS = MappingProxyType(
    {
        "Al": LorentzDrude(
            14.98,
            ((0.523, 0.047, 0.0), (0.227, 0.333, 0.162), (0.050, 0.312, 1.544), (0.166, 1.351, 1.808),
             (0.030, 3.382, 3.473)),
        ),
        "Cu": LorentzDrude(
            10.83,
            ((0.575, 0.030, 0.0), (0.061, 0.378, 0.291), (0.104, 1.056, 2.957), (0.723, 3.213, 5.300),
             (0.638, 4.305, 11.18)),
        ),
        "Ag": LorentzDrude(
            9.01,
            ((0.845, 0.048, 0.0), (0.065, 3.886, 0.816), (0.124, 0.452, 4.481), (0.011, 0.065, 8.185),
             (0.840, 0.916, 9.083), (5.646, 2.419, 20.29)),
        ),
        "Au": LorentzDrude(
            9.03,
            ((0.760, 0.053, 0.0), (0.024, 0.241, 0.415), (0.010, 0.345, 0.830), (0.071, 0.870, 2.969),
             (0.601, 2.494, 4.304), (4.384, 2.214, 13.32)),
        ),
    }
)  # fmt: skip
"""Metals whose measured dielectric function is known here."""


def measured_eps(symbol: str, energies: np.ndarray) -> np.ndarray:
    r"""Measured dielectric function of a metal, bound and free electrons together, as a published fit states it.

    .. math::
        \varepsilon(\omega) = 1 - \frac{f_0 \omega_p^2}{\omega (\omega + i \Gamma_0)}
        + \sum_j \frac{f_j \omega_p^2}{\omega_j^2 - \omega^2 - i \omega \Gamma_j}

    The fit describes measurements from about 0.1 to 5 or 6 eV (Al: to 15 eV). Measurements of different films differ by
    up to a quarter.

    Parameters
    ----------
    symbol
        A key of `METALS`.
    energies
        (n_omega,) eV, above zero.

    Returns
    -------
    numpy.ndarray
        (n_omega,) complex.

    Raises
    ------
    UserError
        For another metal.
    """
    if symbol not in METALS:
        raise UserError(f"no measured optical constants of {symbol!r} here; use one of {', '.join(METALS)}")
    metal = METALS[symbol]
    omega = np.asarray(energies, dtype=float)[:, None]
    strength, width, place = np.array(metal.oscillators).T
    return 1 + (strength * metal.omega_p**2 / (place**2 - omega**2 - 1j * omega * width)).sum(axis=1)


def measured_omega_D(symbol: str) -> float:  # noqa: N802
    """Drude frequency of the same fit, eV."""
    metal = METALS[symbol]
    return float(metal.omega_p * np.sqrt(metal.oscillators[0][0]))
