"""Fit the table of parameters to reference bands.

    python -m optiscale.spectra.tight_binding.fit BANDS [BANDS ...] --out parameters.json

Stage 1 fits every element alone, to its own crystals, from several starting points. Stage 2 fits all elements together
to their own crystals and to the pairs of elements, held to the values of stage 1. Files ``bin_*`` are never read: they
are the test. Least squares by Levenberg and Marquardt with exact derivatives; nothing is random.

The residual of a band is phi(E) - phi(E_reference) with phi(E) = E below and a constant above a smooth step at 7 eV, so
that bands leave the window without a jump, and states near the Fermi level count more.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.bonds import Species
from optiscale.spectra.tight_binding.model import species
from optiscale.spectra.tight_binding.parameters import ElementParameters, read_parameters, write_parameters
from optiscale.spectra.tight_binding.reference import (
    BandModel,
    ReferenceBands,
    fermi_level,
    pack,
    read_reference,
    unpack,
)
from optiscale.spectra.tight_binding.start import N_VALENCE, STARTS, start_parameters
from optiscale.structures import ATOMIC_VOLUMES

WINDOW = (-12.0, 5.0)
"""eV from the Fermi level: where the root mean square is taken."""

_TOP = 7.0  # eV: the step of phi
_NEAR = (2.0, 1.5)  # weight 1 + 2 exp(-(E / 1.5 eV)^2)
_OVERLAP = (0.15, 20.0)  # wanted smallest eigenvalue of S, and the weight of what is missing
_COMPRESSED = 0.75  # volume at which an element's overlap must still be positive
_PRIOR = torch.tensor([20.0] * 3 + [0.5] * 3 + [10.0] * 6 + [1.0] * 6, dtype=torch.float64)  # exponents: relative
_PRIOR_WEIGHT = 0.1
_GOOD = 0.1  # eV: an element fitted better needs no other start


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
        elements = unpack(self.elements, values)
        terms = (target.terms(elements, self.row).residual for target in self.targets)
        return float((self._pull(values) ** 2).sum()) + sum(float((residual**2).sum()) for residual in terms)

    def normal_equations(self, values: Tensor) -> tuple[float, Tensor, Tensor, list[Terms]]:
        """Return the sum of squares, J^T J, J^T r and the terms of every target."""
        elements = unpack(self.elements, values)
        pull, n = self._pull(values), values.shape[1]
        matrix = torch.diag((self.prior**2).reshape(-1))
        gradient = (self.prior * pull).reshape(-1)
        value, report = float((pull**2).sum()), []
        for target in self.targets:
            terms = target.terms(elements, self.row, derivative=True)
            value += float((terms.residual**2).sum())
            rows = torch.tensor([self.row[symbol] for symbol in target.symbols])
            present, place = torch.unique(rows, return_inverse=True)
            assert terms.jacobian is not None  # noqa: S101 (asked for)
            local = terms.jacobian.new_zeros((len(terms.residual), len(present), n))
            local = local.index_add(1, place, terms.jacobian).reshape(len(terms.residual), -1)
            columns = (present[:, None] * n + torch.arange(n)).reshape(-1)
            matrix[columns[:, None], columns] += local.T @ local
            gradient[columns] += local.T @ terms.residual
            report.append(dataclasses.replace(terms, jacobian=None))
        return value, matrix, gradient, report

    def _pull(self, values: Tensor) -> Tensor:
        return self.prior * (values - self.centre)


def minimize(
    objective: Objective, values: Tensor, *, iterations: int, label: str = ""
) -> tuple[Tensor, float, list[Terms]]:
    """Levenberg-Marquardt; return parameters (P, 18), sum of squares and terms at the minimum."""
    damping = 1e-2
    value, matrix, gradient, report = objective.normal_equations(values)
    for iteration in range(iterations):
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
        value, matrix, gradient, report = objective.normal_equations(values)
        if label:
            rms = np.nanmean([terms.rms for terms in report])
            print(f"{label} {iteration}: {value:.4f}, mean RMS {rms:.3f} eV", flush=True)
        if gain < 1e-4:
            break
    return values, value, report


def _overlap_targets(symbol: str, cutoff: float) -> list[Target]:
    """Compress the element, fcc and bcc; only the overlap counts."""
    mesh = torch.cartesian_prod(*[torch.arange(3, dtype=torch.float64) / 4] * 3)
    targets = []
    for atoms_a_cell in (4, 2):
        a = (_COMPRESSED * ATOMIC_VOLUMES[symbol] * atoms_a_cell) ** (1 / 3)
        unit = np.ones((3, 3)) - (1 if atoms_a_cell == 4 else 2) * np.eye(3)
        targets.append(Target(Atoms(symbol, cell=a / 2 * unit, pbc=True), mesh, cutoff, None))
    return targets


def fit_element(symbol: str, paths: Sequence[Path]) -> tuple[str, ElementParameters, dict[str, float]]:
    """Stage 1; the best of several starts for one element, with the RMS of its crystals."""
    torch.set_num_threads(1)
    best: tuple[float, ElementParameters, dict[str, float]] | None = None
    for start in STARTS:
        first = start_parameters(symbol, start)
        references = [read_reference(path, N_VALENCE) for path in paths]
        targets = [Target(bands.atoms, bands.k_points, first.cutoff, bands) for bands in references]
        objective = Objective({symbol: first}, targets + _overlap_targets(symbol, first.cutoff))
        values, value, report = minimize(objective, objective.centre, iterations=40)
        if best is None or value < best[0]:
            rms = {bands.name: terms.rms for bands, terms in zip(references, report, strict=False)}
            best = (value, replace_fitted(first, values[0]), rms)
        if np.mean(list(best[2].values())) < _GOOD:
            break
    assert best is not None  # noqa: S101 (STARTS is not empty)
    return symbol, best[1], best[2]


def replace_fitted(element: ElementParameters, values: Tensor) -> ElementParameters:
    """Put fitted values (18,) into an element."""
    onsite, exponent, kappa, kinetic = (tuple(part.tolist()) for part in values.split([3, 3, 6, 6]))
    return dataclasses.replace(element, onsite=onsite, exponent=exponent, kappa=kappa, kinetic=kinetic)


def fit_jointly(
    elements: dict[str, ElementParameters], paths: Sequence[Path], *, iterations: int
) -> tuple[dict[str, ElementParameters], dict[str, float]]:
    """Stage 2: all elements on all crystals, held to where they start."""
    targets, names = [], []
    for path in paths:
        bands = read_reference(path, N_VALENCE)
        cutoff = max(elements[symbol].cutoff for symbol in bands.atoms.get_chemical_symbols())
        targets.append(Target(bands.atoms, bands.k_points, cutoff, bands))
        names.append(bands.name)
    for symbol, element in elements.items():
        targets += _overlap_targets(symbol, element.cutoff)
    objective = Objective(elements, targets)
    values, _, report = minimize(objective, objective.centre, iterations=iterations, label="joint")
    fitted = {symbol: replace_fitted(elements[symbol], values[row]) for symbol, row in objective.row.items()}
    return fitted, {name: terms.rms for name, terms in zip(names, report, strict=False)}


def find_references(folders: Iterable[Path]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Files of each element, and files of pairs, in the folders; the held-out ``bin_*`` are left alone."""
    singles: dict[str, list[Path]] = {}
    pairs = []
    for folder in folders:
        for path in sorted(Path(folder).glob("el_*.npz")):
            singles.setdefault(path.stem.split("_")[1], []).append(path)
        pairs += sorted(Path(folder).glob("pair_*.npz"))
    if not singles:
        raise UserError(f"{', '.join(map(str, folders))}: no reference bands (el_*.npz); name their folder")
    return singles, pairs


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fit the tight-binding parameters to reference bands.")
    parser.add_argument("bands", nargs="+", type=Path, help="folders of el_*.npz and pair_*.npz")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--start", type=Path, help="a fitted table: skip stage 1")
    parser.add_argument("--iterations", type=int, default=10, help="of the joint stage (0: skip it)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    singles, pairs = find_references(options.bands)
    elements: dict[str, ElementParameters] = {}
    residuals: dict[str, dict[str, float]] = {}
    if options.start:
        elements = read_parameters(options.start)
    else:
        order = [symbol for symbol in ATOMIC_VOLUMES if symbol in singles]
        with ProcessPoolExecutor(options.workers) as pool:
            for symbol, element, rms in pool.map(fit_element, order, [singles[symbol] for symbol in order]):
                elements[symbol], residuals[symbol] = element, rms
                print(symbol, {name: round(value, 3) for name, value in rms.items()}, flush=True)
    provenance: dict[str, Any] = {
        "program": "python -m optiscale.spectra.tight_binding.fit",
        "bands": "density functional theory (GPAW, PBE, plane waves)",
        "stages": ["elements"],
    }
    if options.iterations and pairs:
        paths = [path for symbol in elements for path in singles.get(symbol, [])] + pairs
        elements, rms = fit_jointly(elements, paths, iterations=options.iterations)
        residuals = {symbol: {} for symbol in elements}
        for name, value in rms.items():
            for symbol in name.split("_")[1].split("-"):
                residuals[symbol][name] = value
        provenance["stages"] = ["elements", "all elements and pairs"]
    write_parameters(options.out, elements, provenance=provenance, residuals=residuals)


if __name__ == "__main__":
    main()
