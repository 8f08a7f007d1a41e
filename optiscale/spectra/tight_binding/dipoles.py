"""On-site dipole lengths: from the Slater orbitals, then fitted to the element's own spectrum.

The squared matrix elements, and so eps2, are a quadratic form in the two lengths of an element (s-p and p-d). Six runs
of the engine determine it; every other pair of lengths costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from optiscale.spectra.records import ENERGIES
from optiscale.spectra.tight_binding.engine import Optics, TightBindingEngine
from optiscale.spectra.tight_binding.model import TightBinding
from optiscale.spectra.tight_binding.parameters import ElementParameters
from optiscale.spectra.tight_binding.reference import ReferenceBands
from optiscale.spectra.tight_binding.start import is_d_metal

_PROBES = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (0.0, 2.0))  # Å
_BROADENING = 0.25  # eV: the reference meshes are coarse
_PULL = 0.05  # relative L1 that a doubled length costs


def slater_dipoles(element: ElementParameters) -> tuple[float, float]:
    """Radial integrals of r between the s and p, and the p and d Slater orbitals of an atom, Å."""
    n, zeta = element.principal, element.exponent

    def integral(a: int, b: int) -> float:
        norm = sum((n[i] + 0.5) * math.log(2 * zeta[i]) - 0.5 * math.lgamma(2 * n[i] + 1) for i in (a, b))
        power = n[a] + n[b] + 2
        return math.exp(norm + math.lgamma(power) - power * math.log(zeta[a] + zeta[b]))

    return integral(0, 1), integral(1, 2)


def _terms(lengths: Sequence[float] | np.ndarray) -> np.ndarray:
    a, b = lengths
    return np.asarray([1.0, a, b, a * a, b * b, a * b])


def _absorption(symbol: str, element: ElementParameters, crystal: ReferenceBands) -> np.ndarray:
    """Broadened omega eps2 as a quadratic form in the lengths, (6, 2001)."""
    atoms, spectra = crystal.atoms, []
    for lengths in _PROBES:
        engine = TightBindingEngine(TightBinding({symbol: dataclasses.replace(element, dipole=lengths)}))
        prepared = engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)
        (optics,) = engine.solve([prepared])  # type: ignore[list-item]
        assert isinstance(optics, Optics)  # noqa: S101 (the fit keeps the overlap of the elements sound)
        spectra.append(optics.eps_inter.imag)
    form = np.linalg.solve(np.stack([_terms(lengths) for lengths in _PROBES]), np.stack(spectra))
    return _broadened(form)


def _broadened(eps2: np.ndarray) -> np.ndarray:
    return gaussian_filter1d(ENERGIES * eps2, _BROADENING / (ENERGIES[1] - ENERGIES[0]), axis=-1)


def _fitted_lengths(symbol: str, element: ElementParameters, crystals: Sequence[ReferenceBands]) -> np.ndarray:
    """Lengths (2,) of least relative L1 difference of omega eps2 from the element's spectra, held to the integrals."""
    start = np.asarray(slater_dipoles(element))
    forms = [_absorption(symbol, element, crystal) for crystal in crystals]
    references = [_broadened(np.asarray(crystal.eps_inter).imag) for crystal in crystals]

    def loss(lengths: np.ndarray) -> float:
        errors = [
            np.abs(_terms(lengths) @ form - reference).sum() / reference.sum()
            for form, reference in zip(forms, references, strict=True)
        ]
        return float(np.mean(errors) + _PULL * np.square(lengths / start - 1).sum())

    tried = [minimize(loss, start * scale, method="Nelder-Mead") for scale in ((1, 1), (1.2, 0.4), (1.5, 1.2))]
    return min(tried, key=lambda result: result.fun).x


def fit_dipoles(
    elements: dict[str, ElementParameters], crystals: dict[str, list[ReferenceBands]]
) -> dict[str, ElementParameters]:
    """Set the dipole lengths of all elements.

    They minimize the relative L1 difference of omega eps2 from the element's own spectra, held to the integrals of its
    Slater orbitals. An element without a spectrum takes its integrals times the ratio found for the elements nearest
    in atomic number, among d metals for a d metal and among the others for another.
    """
    ratio: dict[str, np.ndarray] = {}
    for symbol, element in elements.items():
        known = [crystal for crystal in crystals.get(symbol, []) if crystal.eps_inter is not None]
        if known:
            ratio[symbol] = _fitted_lengths(symbol, element, known) / slater_dipoles(element)
            print(f"{symbol}: dipoles over Slater's {ratio[symbol].round(2)}", flush=True)
    return {
        symbol: dataclasses.replace(
            element, dipole=tuple((ratio.get(symbol, _near(symbol, ratio)) * slater_dipoles(element)).tolist())
        )
        for symbol, element in elements.items()
    }


def _near(symbol: str, ratio: dict[str, np.ndarray]) -> np.ndarray:
    """Mean ratio of the elements of the same block that are nearest in atomic number; 1 if there are none."""
    away = {
        other: abs(atomic_numbers[other] - atomic_numbers[symbol])
        for other in ratio
        if is_d_metal(other) == is_d_metal(symbol)
    }
    return (
        np.mean([ratio[other] for other in away if away[other] == min(away.values())], axis=0) if away else np.ones(2)
    )
