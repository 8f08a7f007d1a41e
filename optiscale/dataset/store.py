"""The cached data set: a folder that opens by memory map."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from optiscale.dataset.schema import ARRAYS, MATERIALS, STRUCTURE_COLUMNS, FileEntry, Manifest, read_manifest
from optiscale.dataset.structures import Structures, read_structures
from optiscale.errors import UserError
from optiscale.io import file_hash

if TYPE_CHECKING:
    from ase import Atoms


class OpticalDataset:
    """Crystals with spectra and scalar targets, memory-mapped from a folder.

    Parameters
    ----------
    folder
        A folder written by `DatasetWriter`.

    Attributes
    ----------
    manifest
        Names, units, energy grid, hashes.
    spectrum
        (M, n_omega, C) float32, memory-mapped; (M, 0, 0) in a set without spectra.
    scalars
        (M, S) float32, memory-mapped.

    Raises
    ------
    UserError
        If the folder holds no data set of this schema, or a file is missing or damaged.
    """

    spectrum: np.ndarray
    scalars: np.ndarray

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        entries = self.manifest.files.values()
        if any(_size(self.folder / entry.file) != entry.size for entry in entries):
            damaged = damaged_files(self.folder, self.manifest)
            raise UserError(f"{self.folder}: damaged: {'; '.join(damaged)}; remove the folder and build the set again")
        for name in ARRAYS:
            setattr(self, name, _open_array(self.folder, self.manifest, name))

    def __len__(self) -> int:
        return self.manifest.n_materials

    @property
    def hash(self) -> str:
        """The data hash of the manifest."""
        return self.manifest.hash

    @cached_property
    def materials(self) -> pd.DataFrame:
        """One row a material: the columns of materials.parquet but for the structures."""
        import pyarrow.parquet as pq

        path = self.folder / MATERIALS
        columns = [name for name in pq.read_schema(path).names if name not in STRUCTURE_COLUMNS]
        return pd.read_parquet(path, columns=columns)

    @cached_property
    def energies(self) -> np.ndarray:
        """(n_omega,) photon energies, eV; none in a set without spectra."""
        return self.manifest.energy.values() if self.manifest.energy else np.empty(0)

    @cached_property
    def _structures(self) -> Structures:
        return read_structures(self.folder / MATERIALS)

    @property
    def lattice(self) -> np.ndarray:
        """(M, 3, 3) float64, Å, rows are the lattice vectors."""
        return self._structures.lattice

    @property
    def site_offset(self) -> np.ndarray:
        """(M + 1,) int64, first atom of each material."""
        return self._structures.site_offset

    @property
    def atomic_number(self) -> np.ndarray:
        """(A,) uint8."""
        return self._structures.atomic_number

    @property
    def position(self) -> np.ndarray:
        """(A, 3) float64, Å, Cartesian."""
        return self._structures.position

    @property
    def n_sites(self) -> np.ndarray:
        """(M,) atoms a cell."""
        return np.diff(self.site_offset)

    def atoms(self, row: int) -> Atoms:
        """Return the crystal of a row as `ase.Atoms`."""
        from ase import Atoms  # imported here: opening a data set must stay quick

        sites = slice(int(self.site_offset[row]), int(self.site_offset[row + 1]))
        return Atoms(
            numbers=self.atomic_number[sites], positions=self.position[sites], cell=self.lattice[row], pbc=True
        )

    def check_targets(self, rows: np.ndarray, *, chunk: int = 4096) -> None:
        """Refuse targets that are not finite.

        Raises
        ------
        UserError
            Naming the first material and target with a NaN or an infinity.
        """
        scalar_names = [scalar.name for scalar in self.manifest.scalars]
        for start in range(0, len(rows), chunk):
            part = np.sort(rows[start : start + chunk])
            bad_scalars = ~np.isfinite(self.scalars[part])
            bad_spectra = ~np.isfinite(self.spectrum[part]).all(axis=(1, 2))
            if bad_scalars.any():
                row, column = np.argwhere(bad_scalars)[0]
                self._refuse(part[row], scalar_names[column])
            if bad_spectra.any():
                self._refuse(part[np.flatnonzero(bad_spectra)[0]], "spectrum")

    def _refuse(self, row: int, target: str) -> None:
        name = self.materials["id"].iloc[int(row)]
        raise UserError(
            f"{self.folder}: material {name} has a {target} that is not finite; "
            "mend or drop it and build the data set again"
        )


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Verify the size and the SHA-256 of every file of a data set; return a line for each damaged one.

    Parameters
    ----------
    folder, manifest
        Of the data set.
    """
    lines = (damage(folder / entry.file, size=entry.size, sha256=entry.sha256) for entry in manifest.files.values())
    return [line for line in lines if line]


def damage(path: Path, *, size: int, sha256: str) -> str | None:
    """Say in a few words what is wrong with a file, or None."""
    found = _size(path)
    if found is None:
        return f"{path.name} is missing"
    if found != size:
        return f"{path.name} has {found} bytes, not {size}"
    return None if file_hash(path) == sha256 else f"{path.name} has another checksum"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _open_array(folder: Path, manifest: Manifest, name: str) -> np.ndarray:
    entry: FileEntry | None = manifest.files.get(name)
    if entry is None:
        return np.empty((manifest.n_materials, 0, 0), dtype=np.float32)
    if entry.shape is not None and 0 in entry.shape:
        return np.empty(entry.shape, dtype=entry.dtype)  # a memory map cannot be empty
    path = folder / entry.file
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{path}: not an array ({error}); remove the folder and build the set again") from error
    if array.shape != entry.shape or str(array.dtype) != entry.dtype:
        raise UserError(
            f"{path}: is {array.dtype} {array.shape}, the manifest says {entry.dtype} {entry.shape}; "
            "remove the folder and build the set again"
        )
    return array
