"""Random crystals, and files of every layout that is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pymatgen.core import Element, Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

N_OMEGA = 2001
METALS = ("Li", "Na", "Mg", "Al", "Sc", "Ti", "Ni", "Cu", "Zn", "Pd", "Ag", "Bi")


@dataclass(frozen=True, eq=False)
class Made:
    """A random crystal with random targets, in the precision of the published files."""

    id: str
    structure: Structure
    eps: np.ndarray  # (n_omega, 3) complex128: x, y, z
    drude: np.ndarray  # (3,) eV
    e_above_hull: float

    @property
    def lattice(self) -> np.ndarray:
        return self.structure.lattice.matrix.astype(np.float32)

    @property
    def position(self) -> np.ndarray:
        return self.structure.cart_coords.astype(np.float32)

    @property
    def atomic_number(self) -> np.ndarray:
        return np.array(self.structure.atomic_numbers, dtype=np.uint16)

    @property
    def eps_average(self) -> np.ndarray:
        x, y, z = self.eps.T
        average = np.empty(len(x), dtype=np.complex64)  # part by part: a product with 1j would lose the sign of -0.0
        average.real, average.imag = (x.real + y.real + z.real) / 3, (x.imag + y.imag + z.imag) / 3
        return average

    @property
    def drude_mean(self) -> np.float32:
        return np.float32(np.sqrt(np.mean(self.drude**2)))


def random_materials(n: int, *, seed: int = 0, first: int = 1) -> list[Made]:
    """Skew cells of 1 to 10 atoms that do not overlap; the spectra hold -0.0."""
    rng = np.random.default_rng(seed)
    made = []
    while len(made) < n:
        atoms = int(rng.integers(1, 11))
        cell = np.eye(3) * (18 * atoms) ** (1 / 3) + rng.normal(scale=0.4, size=(3, 3))
        symbols = rng.choice(METALS, size=atoms)
        structure = Structure(Lattice(cell), symbols, rng.random((atoms, 3)))
        if not structure.is_valid(tol=0.8):
            continue
        eps = rng.normal(size=(N_OMEGA, 3)) + 1j * np.abs(rng.normal(size=(N_OMEGA, 3)))
        eps[0] = complex(-0.0, -0.0)
        name = f"agm{first + len(made):06d}"
        made.append(Made(name, structure, eps, rng.uniform(0, 9, size=3), float(rng.uniform(0, 0.1))))
    return made


def write_hdf5(path: Path, materials: Sequence[Made], change: Callable[[h5py.Group], None] | None = None) -> Path:
    """Write one part of the published data set; `change` spoils the second group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for place, one in enumerate(materials):
            group = file.create_group(one.id)
            group["mat_id"] = one.id
            group["e_above_hull"] = one.e_above_hull
            group["composition"] = one.structure.composition.reduced_formula
            group["lattice"] = one.lattice
            group["atomic_number"] = one.atomic_number
            group["position"] = one.position
            group["drude"] = one.drude_mean
            group["eps"] = one.eps_average
            if change is not None and place == 1:
                change(group)
    return path


def write_published(folder: Path, parts: dict[str, Sequence[Made]]) -> Path:
    """Write the files of the published data set under `folder`/dataset."""
    for part, materials in parts.items():
        write_hdf5(folder / "dataset" / f"{part}.h5", materials)
    return folder


def monty(values: np.ndarray) -> dict[str, Any]:
    """Write an array as monty does."""
    return {"@module": "numpy", "@class": "array", "dtype": str(values.dtype), "data": values.tolist()}


def raw_entry(one: Made) -> dict[str, Any]:
    """Return the published raw entry of a material; pymatgen writes its structure."""
    energies = np.round(np.linspace(0, 20, N_OMEGA), 6)
    energies[83] = 0.829999
    data = {
        "mat_id": one.id,
        "prototype_id": "cF4",
        "formula": one.structure.composition.reduced_formula,
        "spg": 1,
        "nsites": len(one.structure),
        "band_gap_ind": 0.0,
        "dos_ef": 1.5,
        "e_above_hull": one.e_above_hull,
        "e_form": -0.25,
        "drude_freq": one.drude.tolist(),
        "eps_inter_re": monty(np.column_stack([energies, one.eps.real])),
        "eps_inter_im": monty(np.column_stack([energies, one.eps.imag])),
    }
    entry = ComputedStructureEntry(
        one.structure, energy=-1.0, data=data, parameters={"functional": "PBE", "k_mesh": [12, 12, 12]}
    )
    return entry.as_dict()


def write_raw(folder: Path, materials: Sequence[Made], *, part: int = 0) -> Path:
    """Write raw entries into `folder`/database_nsite_<n>_part_<part>."""
    for one in materials:
        place = folder / f"database_nsite_{len(one.structure)}_part_{part}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{one.id}.json").write_text(json.dumps(raw_entry(one)))
    return folder


def symbols(numbers: Sequence[int]) -> list[str]:
    return [str(Element.from_Z(int(number))) for number in numbers]
