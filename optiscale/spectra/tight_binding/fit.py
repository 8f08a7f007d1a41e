"""Fit the table of parameters to reference bands.

    python -m optiscale.spectra.tight_binding.fit BANDS [BANDS ...] --out parameters.json

Stage 1 fits every element alone, to its own crystals, from up to three starting points. Stage 2 fits all elements
together to their own crystals and to the pairs of elements, held to the values of stage 1. Files ``bin_*`` are never
read: they are the test. Least squares by Levenberg and Marquardt with exact derivatives; nothing is random.
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
from optiscale.spectra.tight_binding.objective import Objective, Target, minimize
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


def fit_element(symbol: str, paths: Sequence[Path]) -> tuple[str, ElementParameters, dict[str, float]]:
    """Stage 1; the best of several starts for one element, with the RMS of its crystals."""
    torch.set_num_threads(1)
    best: tuple[float, ElementParameters, dict[str, float]] | None = None
    for start in STARTS:
        first = start_parameters(symbol, start)
        references = [read_reference(path, N_VALENCE) for path in paths]
        targets = [Target(bands.atoms, bands.k_points, first.cutoff, bands) for bands in references]
        objective = Objective({symbol: first}, targets + _overlap_targets(symbol, first.cutoff))
        values, value, every = minimize(objective, objective.centre, iterations=40)
        if best is None or value < best[0]:
            rms = {bands.name: value for bands, value in zip(references, every, strict=False)}
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
    elements: dict[str, ElementParameters], paths: Sequence[Path], *, iterations: int, workers: int
) -> tuple[dict[str, ElementParameters], dict[str, float]]:
    """Stage 2: all elements on all crystals, held to where they start."""
    targets, names = [], []
    for path in paths:
        bands = read_reference(path, N_VALENCE)
        electrons = sum(N_VALENCE[symbol] for symbol in bands.atoms.get_chemical_symbols())
        bands = thinned(bands, _JOINT_POINTS, electrons)
        cutoff = max(elements[symbol].cutoff for symbol in bands.atoms.get_chemical_symbols())
        targets.append(Target(bands.atoms, bands.k_points, cutoff, bands))
        names.append(bands.name)
    for symbol, element in elements.items():
        targets += _overlap_targets(symbol, element.cutoff)
    with ThreadPoolExecutor(workers) as pool:
        objective = Objective(elements, targets, run=pool.map)
        values, _, every = minimize(objective, objective.centre, iterations=iterations, label="joint")
    fitted = {symbol: replace_fitted(elements[symbol], values[row]) for symbol, row in objective.row.items()}
    return fitted, dict(zip(names, every, strict=False))


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
    parser.add_argument("--start", type=Path, help="a fitted table, whose elements skip stage 1")
    parser.add_argument("--iterations", type=int, default=10, help="of the joint stage (0: skip it)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    singles, pairs = find_references(options.bands)
    residuals: dict[str, dict[str, float]] = {}
    fitted = read_parameters(options.start) if options.start else {}
    order = [symbol for symbol in ATOMIC_VOLUMES if symbol in singles and symbol not in fitted]
    with ProcessPoolExecutor(options.workers) as pool:
        for symbol, element, rms in pool.map(fit_element, order, [singles[symbol] for symbol in order]):
            fitted[symbol], residuals[symbol] = element, rms
            print(symbol, {name: round(value, 3) for name, value in rms.items()}, flush=True)
    elements = {symbol: fitted[symbol] for symbol in ATOMIC_VOLUMES if symbol in fitted}
    provenance: dict[str, Any] = {
        "program": "python -m optiscale.spectra.tight_binding.fit",
        "bands": "density functional theory (GPAW, PBE, plane waves)",
        "stages": ["elements"],
    }
    if options.iterations and pairs:
        paths = [path for symbol in elements for path in singles.get(symbol, [])] + pairs
        elements, rms = fit_jointly(elements, paths, iterations=options.iterations, workers=options.workers)
        residuals = {symbol: {} for symbol in elements}
        for name, value in rms.items():
            for symbol in name.split("_")[1].split("-"):
                residuals[symbol][name] = value
        provenance["stages"] = ["elements", "all elements and pairs"]
    write_parameters(options.out, elements, provenance=provenance, residuals=residuals)


if __name__ == "__main__":
    main()
