"""Fit the table of parameters to reference bands.

    python -m optiscale.spectra.tight_binding.fit BANDS [BANDS ...] --out parameters.json

Every element is fitted alone: its parameters to the bands of its own crystals, from two to six starting points, then
its dipole lengths to its own spectrum. Compounds (``bin_*``, ``pair_*``) are never read: they are the test. Least
squares by Levenberg and Marquardt with exact derivatives; nothing is random.

A joint stage on pairs of elements does not help: with one or two pairs an element it fits those closely and makes pairs
that it has not seen worse.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.dipoles import fit_dipoles
from optiscale.spectra.tight_binding.objective import Objective, Target, band_rms, minimize
from optiscale.spectra.tight_binding.parameters import ElementParameters, read_parameters, write_parameters
from optiscale.spectra.tight_binding.reference import read_reference
from optiscale.spectra.tight_binding.start import N_VALENCE, STARTS, start_parameters
from optiscale.structures import ATOMIC_VOLUMES

_COMPRESSED = 0.75  # volume at which an element's overlap must still be positive
_GOOD = 0.08  # eV: an element fitted better needs no other start


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
    """Fit the bands of one element from several starts; return the best, with the mean RMS of its crystals in eV."""
    torch.set_num_threads(1)
    best: tuple[float, ElementParameters, float] | None = None
    references = [read_reference(path, N_VALENCE) for path in paths]
    cutoff = start_parameters(symbol).cutoff
    targets = [Target(bands.atoms, bands.k_points, cutoff, bands) for bands in references]
    targets += _overlap_targets(symbol, cutoff)
    for higher_p in (False, True):
        for start in STARTS:
            first = start_parameters(symbol, start, higher_p=higher_p)
            objective = Objective({symbol: first}, targets)
            values, value, every = minimize(objective, objective.centre, iterations=40)
            rms = float(np.mean(every[: len(paths)]))
            if best is None or value < best[0]:
                best = (value, replace_fitted(first, values[0]), rms)
            if rms < _GOOD:
                break
    assert best is not None  # noqa: S101 (STARTS is not empty)
    return symbol, best[1], best[2]


def replace_fitted(element: ElementParameters, values: Tensor) -> ElementParameters:
    """Put fitted values (18,) into an element."""
    onsite, exponent, kappa, kinetic = (tuple(part.tolist()) for part in values.split([3, 3, 6, 6]))
    return dataclasses.replace(element, onsite=onsite, exponent=exponent, kappa=kappa, kinetic=kinetic)


def find_references(folders: Iterable[Path]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Find the files of each element: bands, and spectra without bands to fit."""
    singles: dict[str, list[Path]] = {}
    spectra: dict[str, list[Path]] = {}
    for folder in folders:
        for group, pattern in ((singles, "el_*.npz"), (spectra, "spectrum_*.npz")):
            for path in sorted(Path(folder).glob(pattern)):
                group.setdefault(path.stem.split("_")[1], []).append(path)
    if not singles:
        raise UserError(f"{', '.join(map(str, folders))}: no reference bands (el_*.npz); name their folder")
    return singles, spectra


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fit the tight-binding parameters to reference bands.")
    parser.add_argument("bands", nargs="+", type=Path, help="folders of el_*.npz and spectrum_*.npz")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--start", type=Path, help="a fitted table, whose elements keep their bands")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    singles, spectra = find_references(options.bands)
    fitted = read_parameters(options.start) if options.start else {}
    order = [symbol for symbol in ATOMIC_VOLUMES if symbol in singles and symbol not in fitted]
    with ProcessPoolExecutor(options.workers) as pool:
        for symbol, element, rms in pool.map(fit_element, order, [singles[symbol] for symbol in order]):
            fitted[symbol] = element
            print(f"{symbol}: band RMS {rms:.3f} eV", flush=True)
    elements = {symbol: fitted[symbol] for symbol in ATOMIC_VOLUMES if symbol in fitted}
    crystals = {
        symbol: [read_reference(path, N_VALENCE) for path in singles.get(symbol, []) + spectra.get(symbol, [])]
        for symbol in elements
    }
    elements = fit_dipoles(elements, crystals)
    residuals = {
        symbol: {
            path.stem: round(band_rms(elements, read_reference(path, N_VALENCE)), 4) for path in singles.get(symbol, [])
        }
        for symbol in elements
    }
    provenance = {
        "program": "python -m optiscale.spectra.tight_binding.fit",
        "bands": "density functional theory (GPAW 22.8, PBE, plane waves to 300 eV), fcc and bcc elements",
        "residual": "eV, root mean square over -12 to 5 eV from the Fermi level, by file",
    }
    write_parameters(options.out, elements, provenance=provenance, residuals=residuals)


if __name__ == "__main__":
    main()
