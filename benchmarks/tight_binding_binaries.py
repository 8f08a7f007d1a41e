"""Spectra of the twelve held-out binaries by the recipe of the shelf, at the volumes of their reference bands.

usage: python benchmarks/tight_binding_binaries.py BANDS OUT [--workers 2]

The bands in ``bin_*.npz`` come from meshes of 10^3 and 12^3 points, which leave omega_D open by some tenths of an eV.
The newest recipe has a denser mesh, and a second one where the spectrum shows the first. Resumable: one record a
crystal in OUT, packed into ``benchmarks/data/held_out_binaries.parquet`` when all are there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ase import Atoms

from optiscale.dataset.shelf import pack_shelf
from optiscale.errors import UserError
from optiscale.spectra.gpaw_recipe import NEWEST
from optiscale.spectra.interpreter import RECIPE_FILE, find_gpaw
from optiscale.spectra.records import read_record
from optiscale.spectra.tight_binding.parameters import read_parameters
from optiscale.spectra.tight_binding.reference import read_reference

PACKED = Path(__file__).parent / "data" / "held_out_binaries.parquet"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def compute(name: str, atoms: Atoms, out: Path, python: str) -> None:
    """Run the recipe for one crystal, unless its record is there."""
    if (out / f"{name}.npz").exists():
        return
    job = {
        "id": name,
        "out": str(out),
        "recipe_version": NEWEST,
        "plan": "held-out binaries",
        "nice": 10,
        "prototype": "",
        "volume_scale": 1.0,
        "cell": atoms.cell.array.tolist(),
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
    }
    subprocess.run(
        [python, str(RECIPE_FILE)], input=json.dumps(job), text=True, check=True, env=os.environ | _ONE_THREAD
    )
    print(name, flush=True)


def main() -> None:
    """Compute what is missing and pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bands", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    n_valence = {symbol: element.n_valence for symbol, element in read_parameters().items()}
    references = [read_reference(path, n_valence) for path in sorted(options.bands.glob("bin_*.npz"))]
    if not references:
        raise UserError(f"{options.bands}: no bin_*.npz; name the folder of the reference bands")
    options.out.mkdir(parents=True, exist_ok=True)
    python = find_gpaw(None)
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda reference: compute(reference.name, reference.atoms, options.out, python), references))
    pack_shelf([read_record(options.out / f"{reference.name}.npz") for reference in references], PACKED)
    print(PACKED)


if __name__ == "__main__":
    main()
