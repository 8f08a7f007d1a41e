"""How far the tight-binding spectra are from those of a mesh twice as dense, and those of double precision.

``python benchmarks/tight_binding_convergence.py [--device cuda] [--materials 64]`` writes
``benchmarks/results/tight_binding_convergence.json``. Errors are relative L1 distances of omega eps2 over 0 to 20 eV,
and differences of omega_D in eV, over the first materials of the default plan.
"""

from __future__ import annotations

import argparse
import itertools
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optiscale.io import write_json
from optiscale.spectra.tight_binding import TightBinding
from optiscale.spectra.tight_binding.bloch import BlochInput
from optiscale.spectra.tight_binding.engine import SPACING, Optics, TightBindingEngine
from optiscale.spectra.tight_binding.response import ENERGY_STEP, N_ENERGIES
from optiscale.structures.substitution import SubstitutedCrystal, SubstitutionPlan, build_substituted, decorations

RESULT = Path(__file__).parent / "results" / "tight_binding_convergence.json"
SPACINGS = (0.12, 0.15, 0.18, 0.22)


def spectra(
    crystals: list[SubstitutedCrystal], *, spacing: float, dtype: torch.dtype, device: str
) -> tuple[dict[int, Optics], float]:
    """Spectra by the place of their crystal, and the mean number of points."""
    model = TightBinding.load().to(device, dtype)
    memory = 0.3 * torch.cuda.mem_get_info()[0] if device == "cuda" else 2e8
    engine = TightBindingEngine(model, spacing=spacing, memory=memory)
    prepared = [engine.prepare(c.lattice, c.numbers, c.position, rotations=c.rotations) for c in crystals]
    ready = {place: one for place, one in enumerate(prepared) if isinstance(one, BlochInput)}
    found = zip(ready, engine.solve(list(ready.values())), strict=True)
    points = float(np.mean([len(one.mesh.points) for one in ready.values()]))
    return {place: optics for place, optics in found if isinstance(optics, Optics)}, points


def errors(spectra: dict[int, Optics], reference: dict[int, Optics]) -> dict[str, float]:
    """Distribution of the distances between two sets of spectra."""
    omega = np.arange(N_ENERGIES) * ENERGY_STEP
    both = sorted(set(spectra) & set(reference))
    loss = np.array(
        [
            (omega * np.abs(spectra[i].eps_inter.imag - reference[i].eps_inter.imag)).sum()
            / (omega * np.abs(reference[i].eps_inter.imag)).sum()
            for i in both
        ]
    )
    drude = np.array([abs(spectra[i].omega_D - reference[i].omega_D) for i in both])
    summary = {"materials": len(both)}
    for name, values in (("eps2", loss), ("omega_D", drude)):
        summary |= {f"{name}_median": float(np.median(values)), f"{name}_mean": float(values.mean()),
                    f"{name}_p90": float(np.quantile(values, 0.9))}  # fmt: skip
    return summary


def main() -> None:
    """Solve with every mesh, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--materials", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    plan = SubstitutionPlan()
    crystals = [build_substituted(plan, draw) for draw in itertools.islice(decorations(plan), options.materials)]
    result: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if options.device == "cuda" else platform.processor(),
        "torch": torch.__version__,
        "materials": options.materials,
        "spacing": SPACING,
        "meshes": [],
    }
    for spacing in SPACINGS:
        one, points = spectra(crystals, spacing=spacing, dtype=torch.float32, device=options.device)
        twice, _ = spectra(crystals, spacing=spacing / 2, dtype=torch.float32, device=options.device)
        row = {"spacing": spacing, "points": points, **errors(one, twice)}
        result["meshes"].append(row)
        print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
        if spacing == SPACING:
            double, _ = spectra(crystals, spacing=spacing, dtype=torch.float64, device=options.device)
            result["single_precision"] = errors(one, double)
            print("single against double precision", result["single_precision"], flush=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
