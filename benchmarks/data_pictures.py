"""Pictures of the spectra of each source, and of five metals beside measurements: docs/data/.

usage: python benchmarks/data_pictures.py [--tight-binding FOLDER] [--out docs/data]

Without --tight-binding a set of 1,000 materials is built in a temporary folder first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from optiscale.dataset import OpticalDataset, open_source
from optiscale.dataset.tight_binding import build_tight_binding
from optiscale.evaluation.optics import drude_term
from optiscale.figures.gallery import gallery_of
from optiscale.figures.metals import figure_metals
from optiscale.figures.style import save_figure
from optiscale.spectra.measured import METALS, measured_eps, measured_omega_D
from optiscale.spectra.tight_binding.engine import Optics, Rejected, TightBindingEngine
from optiscale.spectra.tight_binding.model import TightBinding

IDS = {"Al": "A1_Al", "Cu": "A1_Cu", "Ag": "A1_Ag", "Au": "A1_Au", "NiAl": "B2_Ni-Al"}
ENERGIES = slice(50, 601)  # 0.5 to 6 eV, where the fit to the measurements holds for all four


def metals(shelf: OpticalDataset) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Whole dielectric functions by metal and source, and a Markdown table of their Drude frequencies."""
    engine = TightBindingEngine(TightBinding.load().to("cpu", torch.float64))
    energies = shelf.energies[ENERGIES]
    row_of = {name: row for row, name in enumerate(shelf.materials["id"])}
    curves: dict[str, dict[str, np.ndarray]] = {}
    table = ["| metal | measured omega_D, eV | DFT | tight binding |", "|---|---|---|---|"]
    for formula, name in IDS.items():
        row = row_of[name]
        atoms = shelf.atoms(row)
        ready = engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)
        (optics,) = [ready] if isinstance(ready, Rejected) else engine.solve([ready])
        if not isinstance(optics, Optics):
            raise TypeError(f"{name}: {optics.reason}")
        eps_inter = np.asarray(shelf.spectrum[row, :, 0] + 1j * shelf.spectrum[row, :, 1])
        dft = float(shelf.scalars[row, 0])
        curves[formula] = {"measured": measured_eps(formula, energies)} if formula in METALS else {}
        curves[formula]["density functional theory (shelf)"] = eps_inter[ENERGIES] + drude_term(energies, dft)
        curves[formula]["tight binding"] = optics.eps_inter[ENERGIES] + drude_term(energies, optics.omega_D)
        known = f"{measured_omega_D(formula):.1f}" if formula in METALS else "-"
        table.append(f"| {formula} | {known} | {dft:.2f} | {optics.omega_D:.2f} |")
    return curves, table


def main() -> None:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tight-binding", type=Path, default=None, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("docs/data"))
    options = parser.parse_args()
    shelf = open_source("dft-shelf")
    save_figure(gallery_of(shelf), options.out, "spectra_dft_shelf")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.tight_binding
        bound = OpticalDataset(folder) if folder else build_tight_binding(Path(scratch) / "tight-binding", n=1000)
        save_figure(gallery_of(bound), options.out, "spectra_tight_binding")
    curves, table = metals(shelf)
    save_figure(figure_metals(shelf.energies[ENERGIES], curves), options.out, "metals")
    (options.out / "metals.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    for pdf in options.out.glob("*.pdf"):
        pdf.unlink()  # the pages show the PNG


if __name__ == "__main__":
    main()
