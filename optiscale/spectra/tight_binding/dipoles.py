"""On-site dipole lengths: from the Slater orbitals, then fitted to the element's own spectrum.

The squared matrix elements, and so eps2, are a quadratic form in the two lengths of an element (s-p and p-d). Six runs
of the engine determine it; every other pair of lengths costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from optiscale.spectra.records import ENERGIES
from optiscale.spectra.tight_binding.engine import Optics, TightBindingEngine
from optiscale.spectra.tight_binding.model import TightBinding
from optiscale.spectra.tight_binding.parameters import ElementParameters
from optiscale.spectra.tight_binding.reference import ReferenceBands

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


def fit_dipoles(symbol: str, element: ElementParameters, crystals: Sequence[ReferenceBands]) -> ElementParameters:
    """Set the dipole lengths of an element.

    They minimize the relative L1 difference of omega eps2 from the element's own spectra, held to the integrals of its
    Slater orbitals; without a spectrum they are those integrals.
    """
    start = np.asarray(slater_dipoles(element))
    known = [(_absorption(symbol, element, crystal), crystal) for crystal in crystals if crystal.eps_inter is not None]
    if not known:
        return dataclasses.replace(element, dipole=(float(start[0]), float(start[1])))
    references = [_broadened(np.asarray(crystal.eps_inter).imag) for _, crystal in known]

    def loss(lengths: np.ndarray) -> float:
        errors = [
            np.abs(_terms(lengths) @ form - reference).sum() / reference.sum()
            for (form, _), reference in zip(known, references, strict=True)
        ]
        return float(np.mean(errors) + _PULL * np.square(lengths / start - 1).sum())

    tried = [minimize(loss, start * scale, method="Nelder-Mead") for scale in ((1, 1), (1.2, 0.4), (1.5, 1.2))]
    best = min(tried, key=lambda result: result.fun).x
    return dataclasses.replace(element, dipole=(float(best[0]), float(best[1])))
