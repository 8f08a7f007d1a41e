"""Fit the table of parameters to reference bands.

    python -m optiscale.spectra.tight_binding.fit BANDS [BANDS ...] --out parameters.json

Stage 1 fits every element alone, to its own crystals, from up to three starting points. Stage 2 fits all elements
together to their own crystals and to the pairs of elements, held to the values of stage 1. Stage 3 sets the dipole
lengths of each element by its own spectrum. Files ``bin_*`` are never read: they are the test. Least squares by
Levenberg and Marquardt with exact derivatives; nothing is random.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.dipoles import fit_dipoles
from optiscale.spectra.tight_binding.objective import Objective, Target, band_rms, minimize
from optiscale.spectra.tight_binding.parameters import ElementParameters, read_parameters, write_parameters
from optiscale.spectra.tight_binding.reference import read_reference, thinned
from optiscale.spectra.tight_binding.start import N_VALENCE, STARTS, start_parameters
from optiscale.structures import ATOMIC_VOLUMES

_COMPRESSED = 0.75  # volume at which an element's overlap must still be positive
_GOOD = 0.08  # eV: an element fitted better needs no other start
_JOINT_POINTS = 24  # k points of a crystal in the joint stage


def _overlap_targets(symbol: str, cutoff: float) -> list[Target]:
    """Compress the element, fcc and bcc; only the overlap counts."""
    mesh = torch.cartesian_prod(*[torch.arange(3, dtype=torch.float64) / 4] * 3)
    targets = []
    for atoms_a_cell in (4, 2):
        a = (_COMPRESSED * ATOMIC_VOLUMES[symbol] * atoms_a_cell) ** (1 / 3)
        unit = np.ones((3, 3)) - (1 if atoms_a_cell == 4 else 2) * np.eye(3)
        targets.append(Target(Atoms(symbol, cell=a / 2 * unit, pbc=True), mesh, cutoff, None))
    return targets


def fit_element(symbol: str, paths: Sequence[Path]) -> tuple[str, ElementParameters, float]:
    """Stage 1; the best of several starts for one element, with the mean RMS of its crystals in eV."""
    torch.set_num_threads(1)
    best: tuple[float, ElementParameters, float] | None = None
    for start in STARTS:
        first = start_parameters(symbol, start)
        references = [read_reference(path, N_VALENCE) for path in paths]
        targets = [Target(bands.atoms, bands.k_points, first.cutoff, bands) for bands in references]
        objective = Objective({symbol: first}, targets + _overlap_targets(symbol, first.cutoff))
        values, value, every = minimize(objective, objective.centre, iterations=40)
        if best is None or value < best[0]:
            best = (value, replace_fitted(first, values[0]), float(np.mean(every[: len(paths)])))
        if best[2] < _GOOD:
            break
    assert best is not None  # noqa: S101 (STARTS is not empty)
    return symbol, best[1], best[2]


def replace_fitted(element: ElementParameters, values: Tensor) -> ElementParameters:
    """Put fitted values (18,) into an element."""
    onsite, exponent, kappa, kinetic = (tuple(part.tolist()) for part in values.split([3, 3, 6, 6]))
    return dataclasses.replace(element, onsite=onsite, exponent=exponent, kappa=kappa, kinetic=kinetic)


def fit_jointly(
    elements: dict[str, ElementParameters], paths: Sequence[Path], *, iterations: int, workers: int
) -> dict[str, ElementParameters]:
    """Stage 2: all elements on all crystals, held to where they start."""
    targets = []
    for path in paths:
        bands = read_reference(path, N_VALENCE)
        electrons = sum(N_VALENCE[symbol] for symbol in bands.atoms.get_chemical_symbols())
        bands = thinned(bands, _JOINT_POINTS, electrons)
        cutoff = max(elements[symbol].cutoff for symbol in bands.atoms.get_chemical_symbols())
        targets.append(Target(bands.atoms, bands.k_points, cutoff, bands))
    for symbol, element in elements.items():
        targets += _overlap_targets(symbol, element.cutoff)
    with ThreadPoolExecutor(workers) as pool:
        objective = Objective(elements, targets, run=pool.map)
        values, _, _ = minimize(objective, objective.centre, iterations=iterations, label="joint")
    return {symbol: replace_fitted(elements[symbol], values[row]) for symbol, row in objective.row.items()}


def find_references(folders: Iterable[Path]) -> tuple[dict[str, list[Path]], dict[str, list[Path]], list[Path]]:
    """Find the files of each element: bands, and spectra without bands to fit; and the files of pairs.

    The held-out ``bin_*`` are left alone.
    """
    singles: dict[str, list[Path]] = {}
    spectra: dict[str, list[Path]] = {}
    pairs = []
    for folder in folders:
        for group, pattern in ((singles, "el_*.npz"), (spectra, "spectrum_*.npz")):
            for path in sorted(Path(folder).glob(pattern)):
                group.setdefault(path.stem.split("_")[1], []).append(path)
        pairs += sorted(Path(folder).glob("pair_*.npz"))
    if not singles:
        raise UserError(f"{', '.join(map(str, folders))}: no reference bands (el_*.npz); name their folder")
    return singles, spectra, pairs


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fit the tight-binding parameters to reference bands.")
    parser.add_argument("bands", nargs="+", type=Path, help="folders of el_*.npz and pair_*.npz")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--start", type=Path, help="a fitted table, whose elements skip stage 1")
    parser.add_argument("--iterations", type=int, default=10, help="of the joint stage (0: skip it)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    singles, spectra, pairs = find_references(options.bands)
    fitted = read_parameters(options.start) if options.start else {}
    order = [symbol for symbol in ATOMIC_VOLUMES if symbol in singles and symbol not in fitted]
    with ProcessPoolExecutor(options.workers) as pool:
        for symbol, element, rms in pool.map(fit_element, order, [singles[symbol] for symbol in order]):
            fitted[symbol] = element
            print(f"{symbol}: band RMS {rms:.3f} eV", flush=True)
    elements = {symbol: fitted[symbol] for symbol in ATOMIC_VOLUMES if symbol in fitted}
    provenance: dict[str, Any] = {
        "program": "python -m optiscale.spectra.tight_binding.fit",
        "bands": "density functional theory (GPAW, PBE, plane waves)",
        "stages": ["elements", "dipoles"],
    }
    paths = [path for symbol in elements for path in singles.get(symbol, [])] + pairs
    if options.iterations and pairs:
        elements = fit_jointly(elements, paths, iterations=options.iterations, workers=options.workers)
        provenance["stages"].insert(1, "all elements and pairs")
    for symbol in elements:
        crystals = [read_reference(path, N_VALENCE) for path in singles.get(symbol, []) + spectra.get(symbol, [])]
        elements[symbol] = fit_dipoles(symbol, elements[symbol], crystals)
        print(symbol, "dipoles", [round(x, 3) for x in elements[symbol].dipole], flush=True)
    residuals: dict[str, dict[str, float]] = {symbol: {} for symbol in elements}
    for path in paths:
        bands = read_reference(path, N_VALENCE)
        rms = round(band_rms(elements, bands), 4)
        for symbol in set(bands.atoms.get_chemical_symbols()):
            residuals[symbol][bands.name] = rms
    write_parameters(options.out, elements, provenance=provenance, residuals=residuals)


if __name__ == "__main__":
    main()
