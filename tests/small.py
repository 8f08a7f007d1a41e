"""Small crystals with made-up spectra, and a study of seconds on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.build import bulk

from optiscale.dataset import EnergyGrid, OpticalDataset, Scalar, write_dataset
from optiscale.dataset.formula import reduced_formula

ELEMENTS = ["Li", "Na", "Mg", "Al", "Ti", "V", "Ni", "Cu", "Zn", "Nb", "Pd", "Ag"]
N_OMEGA = 21


def small_crystals(n: int) -> list[Atoms]:
    """B2 and L1_2-like crystals of two elements, n different compositions."""
    pairs = [(one, two) for place, one in enumerate(ELEMENTS) for two in ELEMENTS[place + 1 :]]
    crystals = []
    for number, (one, two) in enumerate(pairs[:n]):
        a = 2.9 + 0.4 * ((number * 7) % 10) / 10
        if number % 3:
            crystals.append(bulk(f"{one}{two}", "cesiumchloride", a=a))
        else:
            fcc = bulk(one, "fcc", a=1.28 * a, cubic=True)
            fcc.symbols[0] = two
            crystals.append(fcc)
    return crystals


def make_dataset(folder: Path, n: int = 30, **changes: object) -> OpticalDataset:
    """Spectra that depend smoothly on composition and volume, so that a network can learn them."""
    crystals = small_crystals(n)
    energy = EnergyGrid(start=0.0, stop=20.0, n=N_OMEGA)
    centre = np.array([atoms.numbers.mean() / 5 for atoms in crystals])
    width = np.array([atoms.get_volume() / len(atoms) / 5 for atoms in crystals])
    x = (energy.values()[None] - centre[:, None]) / width[:, None]
    content: dict[str, object] = {
        "name": "small",
        "source": "made up for tests",
        "materials": pd.DataFrame(
            {
                "id": [f"m{row}" for row in range(n)],
                "formula": [reduced_formula(atoms.numbers) for atoms in crystals],
            }
        ),
        "structures": [(atoms.cell.array, atoms.numbers, atoms.positions) for atoms in crystals],
        "spectrum": np.stack([1 - x * np.exp(-(x**2)), np.exp(-(x**2))], axis=-1),
        "scalars": (centre / width)[:, None],
        "energy": energy,
        "components": ("re", "im"),
        "scalar_info": (Scalar(name="omega_D", unit="eV"),),
    }
    return write_dataset(folder, **{**content, **changes})  # type: ignore[arg-type]


def study_content(source: Path | str, **changes: object) -> dict[str, object]:
    """A study of seconds."""
    content: dict[str, object] = {
        "name": "tiny",
        "data": {"source": str(source), "split": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 0}},
        "training": {
            "length": {"steps": 6},
            "batch_size": 4,
            "schedule": {"warmup": 2},
            "precision": "32-true",
            "validate_every": {"steps": 3},
            "device": "cpu",
        },
        "models": {
            "2B": {
                "network": {"type": "OptiMetal2B", "message": "TC"},
                "optimizer": {"lr": 1e-3},
            }
        },
        "grid": [{"model": "2B", "widths": [8], "data_sizes": [4, 8], "seeds": [1, 42]}],
        "sweep": {"workers": 1, "threads": 1},
    }
    return {**content, **changes}
