"""Small crystals with made-up spectra, and a study of seconds on them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from optiscale.dataset import DatasetInfo, DatasetWriter, EnergyGrid, Material, OpticalDataset, Scalar
from optiscale.io import file_hash, write_json

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


ENERGY = EnergyGrid(start=0.0, stop=20.0, n=N_OMEGA)


def small_info(**changes: object) -> DatasetInfo:
    """Spectra and one scalar target."""
    content: dict[str, object] = {
        "name": "small",
        "source": "made up for tests",
        "energy": ENERGY,
        "components": ("re", "im"),
        "scalars": (Scalar(name="omega_D", unit="eV"),),
    }
    return DatasetInfo(**{**content, **changes})  # type: ignore[arg-type]


def small_materials(n: int = 30) -> list[Material]:
    """Spectra that depend smoothly on composition and volume, so that a network can learn them."""
    materials = []
    for row, atoms in enumerate(small_crystals(n)):
        centre, width = atoms.numbers.mean() / 5, atoms.get_volume() / len(atoms) / 5
        x = (ENERGY.values() - centre) / width
        material = Material(
            id=f"m{row}",
            lattice=atoms.cell.array,
            atomic_number=atoms.numbers,
            position=atoms.positions,
            spectrum=np.stack([1 - x * np.exp(-(x**2)), np.exp(-(x**2))], axis=-1),
            scalars=np.array([centre / width]),
        )
        materials.append(material)
    return materials


def write_materials(folder: Path, materials: Iterable[Material], **changes: object) -> OpticalDataset:
    """Write a set of the small kind."""
    with DatasetWriter(folder, small_info(**changes)) as writer:
        for material in materials:
            writer.add(material)
        return writer.finish()


def make_dataset(folder: Path, n: int = 30) -> OpticalDataset:
    """The small set."""
    return write_materials(folder, small_materials(n))


def spoil(dataset: OpticalDataset, name: str, place: tuple[int, ...], value: float) -> OpticalDataset:
    """Change a value of an array file behind the data set's back, and open the folder again."""
    array = np.load(dataset.folder / f"{name}.npy", mmap_mode="r+")
    array[place] = value
    array.flush()
    return OpticalDataset(dataset.folder)


def renew_checksums(dataset: OpticalDataset) -> OpticalDataset:
    """Let the manifest say that the files are as they should be."""
    files = {
        name: entry.model_copy(update={"sha256": file_hash(dataset.folder / entry.file)})
        for name, entry in dataset.manifest.files.items()
    }
    manifest = dataset.manifest.model_copy(update={"files": files})
    write_json(dataset.folder / "manifest.json", manifest.model_dump(mode="json"))
    return OpticalDataset(dataset.folder)


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
