"""Compare the second GPAW recipe with the first one, which has the same meshes: time, and how far the spectra differ.

``python benchmarks/gpaw_recipe.py OUT`` computes what OUT lacks (some 12 minutes of one core) and rewrites the table in
``docs/ab-initio.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from optiscale.io import atomic_write
from optiscale.spectra import ENERGIES, Record, read_record
from optiscale.spectra.compute import recipe_job
from optiscale.spectra.interpreter import RECIPE_FILE, find_gpaw
from optiscale.structures import INTERMETALLICS_1, PlannedMaterial, plan_materials

# One of each cubic or tetragonal cell that the plan has, with simple and transition metals, light and heavy.
MATERIALS = ("B2_Zn-Tl", "L1_0_Sn-Co", "C1_b_Pb-W-Co", "L1_2_Cu-Nb", "L2_1_Ti-Ag-Tl")
DOCUMENT = Path(__file__).parents[1] / "docs" / "ab-initio.md"
BEGIN, END = "<!-- benchmarks/gpaw_recipe.py -->", "<!-- end -->"


def record_of(material: PlannedMaterial, version: int, out: Path, python: str) -> Record:
    """Compute one material by one version of the recipe, unless it is there already."""
    folder = out.resolve() / f"version-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{material.id}.npz"
    if not path.exists():
        job = recipe_job(material, out=folder, plan=INTERMETALLICS_1, version=version)
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([python, str(RECIPE_FILE)], input=json.dumps(job), text=True, check=True, env=one_thread)
    return read_record(path)


def row(old: Record, new: Record) -> str:
    """One line of the table."""
    loss = ENERGIES * np.abs(new.eps_inter.imag - old.eps_inter.imag)
    imaginary = loss.sum() / (ENERGIES * np.abs(old.eps_inter.imag)).sum()
    real = np.abs(new.eps_inter.real - old.eps_inter.real).sum() / np.abs(old.eps_inter.real).sum()
    seconds = " | ".join(
        " + ".join(f"{part:.0f}" for part in record.provenance["cpu_s"]) + f" = {sum(record.provenance['cpu_s']):.0f}"
        for record in (old, new)
    )
    drude = new.omega_D / old.omega_D - 1
    return f"| {new.id} | {seconds} | {100 * imaginary:.3f} | {100 * real:.3f} | {100 * drude:+.3f} |"


def main() -> None:
    """Compute, compare, write."""
    out = Path(sys.argv[1])
    python = find_gpaw()
    wanted = [material for material in plan_materials(200, plan=INTERMETALLICS_1) if material.id in MATERIALS]
    lines = [
        "| material | version 1, s | version 2, s | Im, % | Re, % | omega_D, % |",
        "|---|---|---|---|---|---|",
    ]
    for material in wanted:
        old, new = (record_of(material, version, out, python) for version in (1, 2))
        lines.append(row(old, new))
        print(lines[-1], flush=True)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    with atomic_write(DOCUMENT, "w") as stream:
        stream.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()
