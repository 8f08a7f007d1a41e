"""What the fit minimizes: differences of bands on reference crystals, too small overlaps, and a prior.

The residual of a band is phi(E) - phi(E_reference) with phi(E) = E below and a constant above a smooth step at 7 eV, so
that bands leave the window without a jump, and states near the Fermi level count more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from ase import Atoms
from torch import Tensor

from optiscale.spectra.tight_binding.bonds import Species
from optiscale.spectra.tight_binding.model import species
from optiscale.spectra.tight_binding.parameters import ElementParameters
from optiscale.spectra.tight_binding.reference import BandModel, ReferenceBands, fermi_level, pack, unpack
from optiscale.spectra.tight_binding.start import N_VALENCE
from optiscale.structures import ATOMIC_VOLUMES

WINDOW = (-12.0, 5.0)
"""eV from the Fermi level: where the root mean square is taken."""

_TOP = 7.0  # eV: the step of phi
_NEAR = (2.0, 1.5)  # weight 1 + 2 exp(-(E / 1.5 eV)^2)
_OVERLAP = (0.15, 20.0)  # wanted smallest eigenvalue of S, and the weight of what is missing
_PRIOR = torch.tensor([20.0] * 3 + [0.5] * 3 + [10.0] * 6 + [1.0] * 6, dtype=torch.float64)  # exponents: relative
_PRIOR_WEIGHT = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Terms:
    """Residuals of one crystal and what it says about the fit."""

    residual: Tensor  # (R,)
    jacobian: Tensor | None  # (R, A, 18)
    rms: float  # eV, over WINDOW
    overlap_min: float


class Target:
    """A crystal that the fit looks at; without bands only its overlap counts."""

    def __init__(self, atoms: Atoms, k_points: Tensor, cutoff: float, bands: ReferenceBands | None) -> None:
        self.symbols = atoms.get_chemical_symbols()
        self.electrons = sum(N_VALENCE[symbol] for symbol in self.symbols)
        self.bands = bands
        self.model = BandModel(atoms, k_points, cutoff)
        # The elements' own volumes define the common zero of energy: their Fermi level.
        volume = sum(ATOMIC_VOLUMES[symbol] for symbol in self.symbols)
        self.defines_zero = len(set(self.symbols)) == 1 and abs(atoms.get_volume() / volume - 1) < 0.01

    def terms(self, elements: Species, row: dict[str, int], *, derivative: bool = False) -> Terms:
        """Residuals, and their derivatives if asked, at the parameters `elements`."""
        atoms = elements[torch.tensor([row[symbol] for symbol in self.symbols])]
        if self.bands is None:
            values, vectors = self.model.overlap(atoms)
            worst = int(values[:, 0].argmin())
            smallest = float(values[worst, 0])
            slope = self.model.overlap_jacobian(atoms, vectors[:, :, 0])[worst] if derivative else None
            return Terms(*_overlap_terms(smallest, slope), rms=float("nan"), overlap_min=smallest)
        bands = self.model.bands(atoms)
        fermi, share = fermi_level(bands.energies, self.bands.weights, self.electrons)
        n = min(bands.energies.shape[1], self.bands.energies.shape[1])
        energies, wanted = bands.energies[:, :n] - fermi, self.bands.energies[:, :n]
        weight = self.bands.weights[:, None] * (1 + _NEAR[0] * torch.exp(-((wanted / _NEAR[1]) ** 2)))
        weight = weight.sqrt()
        level = torch.tensor([fermi * self.defines_zero], dtype=torch.float64)
        residual = torch.cat([(weight * (_phi(energies) - _phi(wanted))).reshape(-1), level])
        worst = int(bands.overlap_min.argmin())
        smallest, slope, jacobian = float(bands.overlap_min[worst]), None, None
        if derivative:
            by_energy, by_overlap = bands.jacobian(atoms)
            by_level = torch.einsum("kn,knap->ap", share, by_energy)
            change = (weight * torch.sigmoid(_TOP - energies))[:, :, None, None] * (by_energy[:, :n] - by_level)
            jacobian = torch.cat([change.reshape(-1, *by_level.shape), by_level[None] * self.defines_zero])
            slope = by_overlap[worst]
        of_overlap, overlap_slope = _overlap_terms(smallest, slope)
        if jacobian is not None and overlap_slope is not None:
            jacobian = torch.cat([jacobian, overlap_slope])
        return Terms(
            residual=torch.cat([residual, of_overlap]),
            jacobian=jacobian,
            rms=window_rms(energies, wanted, self.bands.weights),
            overlap_min=smallest,
        )


def _overlap_terms(smallest: float, slope: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Residual (1,) of a small overlap eigenvalue, and its derivatives (1, A, 18)."""
    lacking = max(0.0, _OVERLAP[0] - smallest)
    residual = torch.tensor([_OVERLAP[1] * lacking], dtype=torch.float64)
    return residual, None if slope is None else -_OVERLAP[1] * float(lacking > 0) * slope[None]


def _phi(energies: Tensor) -> Tensor:
    return energies - torch.nn.functional.softplus(energies - _TOP)


def window_rms(energies: Tensor, wanted: Tensor, weights: Tensor) -> float:
    """Root mean square difference of bands (K, B) in eV over the reference's states inside `WINDOW`."""
    inside = weights[:, None] * ((wanted > WINDOW[0]) & (wanted < WINDOW[1]))
    return float(((inside * (energies - wanted) ** 2).sum() / inside.sum()).sqrt())


def band_rms(elements: dict[str, ElementParameters], reference: ReferenceBands) -> float:
    """Root mean square difference in eV of the model's bands from reference bands, each from its own Fermi level."""
    symbols = reference.atoms.get_chemical_symbols()
    model = BandModel(reference.atoms, reference.k_points, max(elements[symbol].cutoff for symbol in symbols))
    order = list(elements)
    bands = model.bands(species(elements)[torch.tensor([order.index(symbol) for symbol in symbols])])
    level, _ = fermi_level(bands.energies, reference.weights, sum(elements[symbol].n_valence for symbol in symbols))
    n = min(bands.energies.shape[1], reference.energies.shape[1])
    return window_rms(bands.energies[:, :n] - level, reference.energies[:, :n], reference.weights)


@dataclasses.dataclass(frozen=True, eq=False)
class Normal:
    """Sum of squares of one target with its part of the normal equations."""

    value: float
    columns: Tensor
    matrix: Tensor
    gradient: Tensor
    rms: float


Job = tuple["Target", Species, dict[str, int]]


def _value(job: Job) -> float:
    target, elements, row = job
    return float((target.terms(elements, row).residual ** 2).sum())


def _normal(job: Job) -> Normal:
    target, elements, row = job
    terms = target.terms(elements, row, derivative=True)
    assert terms.jacobian is not None  # noqa: S101 (asked for)
    n = terms.jacobian.shape[2]
    rows = torch.tensor([row[symbol] for symbol in target.symbols])
    present, place = torch.unique(rows, return_inverse=True)
    local = terms.jacobian.new_zeros((len(terms.residual), len(present), n))
    local = local.index_add(1, place, terms.jacobian).reshape(len(terms.residual), -1)
    return Normal(
        value=float((terms.residual**2).sum()),
        columns=(present[:, None] * n + torch.arange(n)).reshape(-1),
        matrix=local.T @ local,
        gradient=local.T @ terms.residual,
        rms=terms.rms,
    )


class Objective:
    """Sum of squares over targets plus the prior, as a function of the parameters (P, 18) of elements."""

    def __init__(self, elements: dict[str, ElementParameters], targets: Sequence[Target]) -> None:
        self.elements = species(elements)
        self.row = {symbol: row for row, symbol in enumerate(elements)}
        self.targets = targets
        self.centre = pack(self.elements)
        scale = _PRIOR.repeat(len(elements), 1)
        scale[:, 3:6] *= self.centre[:, 3:6]
        self.prior = _PRIOR_WEIGHT / scale

    def value(self, values: Tensor) -> float:
        """Return the sum of squares."""
        pull = self.prior * (values - self.centre)
        return float((pull**2).sum()) + sum(map(_value, self._jobs(values)))

    def normal_equations(self, values: Tensor) -> tuple[float, Tensor, Tensor, list[float]]:
        """Return the sum of squares, J^T J, J^T r and the RMS of every target in eV."""
        pull = self.prior * (values - self.centre)
        matrix = torch.diag((self.prior**2).reshape(-1))
        gradient = (self.prior * pull).reshape(-1)
        value, rms = float((pull**2).sum()), []
        for part in map(_normal, self._jobs(values)):
            value += part.value
            matrix[part.columns[:, None], part.columns] += part.matrix
            gradient[part.columns] += part.gradient
            rms.append(part.rms)
        return value, matrix, gradient, rms

    def _jobs(self, values: Tensor) -> list[Job]:
        elements = unpack(self.elements, values)
        return [(target, elements, self.row) for target in self.targets]


def minimize(objective: Objective, values: Tensor, *, iterations: int) -> tuple[Tensor, float, list[float]]:
    """Levenberg-Marquardt; return parameters (P, 18), sum of squares and the RMS of every target at the minimum."""
    damping = 1e-2
    value, matrix, gradient, rms = objective.normal_equations(values)
    for _ in range(iterations):
        for _ in range(8):
            step = torch.linalg.solve(matrix + damping * torch.diag(matrix.diagonal() + 1e-6), gradient)
            trial = values - step.view_as(values)
            trial[:, 3:6] = trial[:, 3:6].clamp(min=0.3)
            trial_value = objective.value(trial)
            if trial_value < value:
                break
            damping *= 4
        else:
            break
        gain, values, damping = 1 - trial_value / value, trial, max(damping / 4, 1e-7)
        value, matrix, gradient, rms = objective.normal_equations(values)
        if gain < 1e-4:
            break
    return values, value, rms
