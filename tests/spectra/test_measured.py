from __future__ import annotations

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.spectra.measured import METALS, measured_eps, measured_omega_D


@pytest.mark.parametrize("symbol", METALS)
def test_measured_metals_absorb_and_reflect(symbol: str) -> None:
    energies = np.linspace(0.1, 6, 500)
    eps = measured_eps(symbol, energies)
    assert (eps.imag > 0).all()
    assert eps[0].real < -300
    # far in the infrared the Drude term alone is left
    near = energies < 0.2
    drude = -(measured_omega_D(symbol) ** 2) / energies[near] ** 2
    assert np.abs(eps.real[near] / drude - 1).max() < 0.35


@pytest.mark.parametrize(
    ("symbol", "energy", "n", "k"),
    [
        # P. B. Johnson and R. W. Christy, Phys. Rev. B 6, 4370 (1972); other films, and a fit to yet others
        ("Au", 1.51, 0.14, 5.083),
        ("Ag", 2.013, 0.05, 4.152),
        ("Cu", 2.01, 0.30, 3.205),
    ],
)
def test_noble_metals_agree_with_other_measurements(symbol: str, energy: float, n: float, k: float) -> None:
    eps = measured_eps(symbol, np.array([energy]))[0]
    assert eps.real == pytest.approx(n**2 - k**2, rel=0.25)
    assert eps.imag < 2.5


def test_gold_turns_yellow_and_aluminium_has_its_interband_peak() -> None:
    energies = np.linspace(1.2, 4, 1000)
    gold, aluminium = measured_eps("Au", energies), measured_eps("Al", energies)
    rise = energies[np.argmax(np.gradient(gold.imag, energies)[energies > 1.6]) + int((energies <= 1.6).sum())]
    assert 2.2 < rise < 2.9  # the d bands begin to absorb
    wide = (energies > 1.2) & (energies < 2.2)
    bump = energies[wide][np.argmax(aluminium.imag[wide] * energies[wide] ** 2.5)]
    assert 1.4 < bump < 1.9  # parallel bands of Al at 1.5 eV


def test_unknown_metal_is_one_line() -> None:
    with pytest.raises(UserError, match=r"'Fe'.*use one of Al, Cu, Ag, Au"):
        measured_eps("Fe", np.array([1.0]))
