"""Drude frequencies from the slopes of density-functional bands: held-out binaries, materials of the shelf.

usage: python benchmarks/tight_binding_slopes.py OUT [NAME ...]

The diagonal velocity of a band is its slope, hbar v = dE/dk. The reference spectra take it from momentum matrix
elements of projector-augmented waves instead, which agrees as far as the partial waves are complete. Here the slopes
are finite differences of the eigenvalues at displaced points, on a mesh of at most 0.12/Å, at the density of the
shelf's recipe with a denser mesh. About 2 minutes of one core a binary; resumable: one npz a crystal in OUT. All that
OUT holds goes into ``benchmarks/results/tight_binding_slopes.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "tight_binding_slopes.json"
BINARIES = ROOT / "benchmarks" / "data" / "held_out_binaries.parquet"
SPACING = 0.12  # 1/Å
TEMPERATURE = 0.1  # eV
STEP = 0.01  # 1/Å, of the differences
NEAR = 0.9  # eV from E_F: points without a state so near have no weight
COULOMB = 180.95128  # e^2 / eps_0, eV Å
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def work(job: dict[str, Any]) -> None:
    """Compute one crystal, under the interpreter that has GPAW."""
    sys.path.insert(0, str(ROOT / "optiscale" / "spectra"))
    import gpaw_recipe
    from ase import Atoms

    recipe = gpaw_recipe.RECIPES[5] | {"scf_length": 22.0}
    atoms = Atoms(numbers=job["numbers"], positions=job["positions"], cell=job["cell"], pbc=True)
    density = gpaw_recipe.ground_state(atoms, recipe)
    electrons = density.wfs.nvalence
    n_bands = int(electrons / 2 + 4 * len(atoms))
    points, weights = np.asarray(job["points"]), np.asarray(job["weights"])

    def energies(at: np.ndarray) -> np.ndarray:
        calculator = density.fixed_density(
            kpts=at.tolist(),
            symmetry="off",
            nbands=n_bands + 3,
            convergence={"bands": n_bands, "eigenstates": 1e-8},
            txt=None,
            maxiter=120,
        )
        return np.array([calculator.get_eigenvalues(kpt=point)[:n_bands] for point in range(len(at))])

    E = energies(points)
    low, high = E.min(), E.max()
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if 2 * (weights[:, None] * occupation(E - level)).sum() < electrons else (low, level)
    near = (np.abs(E - level) < NEAR).any(axis=1)
    velocity2 = np.zeros_like(E)
    for axis in range(3):
        moved = energies(points[near] + STEP * atoms.cell.array[:, axis] / (2 * np.pi))
        velocity2[near] += ((moved - E[near]) / STEP) ** 2
    filled = occupation(E - level)
    total = (weights[:, None] * filled * (1 - filled) / TEMPERATURE * velocity2 / 3).sum()
    omega_D = math.sqrt(2 * COULOMB * total / atoms.get_volume())
    partial = Path(job["out"]).with_suffix(".part.npz")
    np.savez_compressed(partial, omega_D=omega_D, points=len(points), divisions=job["divisions"])
    partial.replace(job["out"])


def occupation(x: np.ndarray) -> np.ndarray:
    """Fermi-Dirac occupations."""
    return 1 / (1 + np.exp(np.clip(x / TEMPERATURE, -200, 200)))


def main() -> None:
    """Compute what is missing and write the results."""
    from optiscale.dataset.shelf import read_shelf
    from optiscale.io import write_json
    from optiscale.spectra.interpreter import find_gpaw
    from optiscale.spectra.tight_binding.engine import find_rotations
    from optiscale.spectra.tight_binding.kmesh import irreducible_points, mesh_divisions

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="such as bin_CoTi or A1_Rh; all binaries without any")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    records = [*read_shelf(BINARIES), *read_shelf()]
    names = set(options.names) or {record.id for record in read_shelf(BINARIES)}
    for record in records:
        path = options.out / f"{record.id}.npz"
        if path.exists() or record.id not in names:
            continue
        atoms = record.atoms
        rotations = find_rotations(atoms.cell.array, atoms.numbers, atoms.positions)
        mesh = irreducible_points(mesh_divisions(atoms.cell.array, rotations, SPACING), rotations)
        job = {
            "cell": atoms.cell.array.tolist(),
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "points": mesh.points.tolist(),
            "weights": mesh.weights.tolist(),
            "divisions": mesh.divisions,
            "out": str(path),
        }
        subprocess.run(
            ["nice", "-n", "10", find_gpaw(None), __file__, "--worker"],
            input=json.dumps(job),
            text=True,
            check=True,
            env=os.environ | _ONE_THREAD,
        )
        print(record.id, flush=True)
    rows = {}
    for record in records:
        if (options.out / f"{record.id}.npz").exists():
            with np.load(options.out / f"{record.id}.npz", allow_pickle=False) as data:
                rows[record.id] = {
                    "omega_D": round(float(data["omega_D"]), 4),
                    "mesh": data["divisions"].tolist(),
                    "omega_D_of_momentum": round(record.omega_D, 4),
                    "mesh_of_momentum": record.provenance["kpts"],
                }
    write_json(RESULT, {"spacing": SPACING, "materials": rows})


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work(json.load(sys.stdin))
    else:
        main()
