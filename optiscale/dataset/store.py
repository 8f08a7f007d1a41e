"""The cached data set: a folder that opens by memory map and is written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from optiscale.dataset.schema import (
    ARRAYS,
    MANIFEST,
    MATERIALS,
    SCHEMA_VERSION,
    EnergyGrid,
    FileEntry,
    Manifest,
    Scalar,
    read_manifest,
)
from optiscale.errors import UserError
from optiscale.io import file_hash, value_hash, write_json

if TYPE_CHECKING:
    from ase import Atoms


class OpticalDataset:
    """Crystals with spectra and scalar targets, memory-mapped from a folder.

    Parameters
    ----------
    folder
        A folder written by `write_dataset`.

    Attributes
    ----------
    manifest
        Names, units, energy grid, hashes.
    lattice, site_offset, atomic_number, position, spectrum, scalars
        Memory-mapped arrays; `optiscale.dataset.schema.ARRAYS` states their shapes and units.

    Raises
    ------
    UserError
        If the folder holds no data set, a file is missing or truncated, or the set is empty.
    """

    lattice: np.ndarray
    site_offset: np.ndarray
    atomic_number: np.ndarray
    position: np.ndarray
    spectrum: np.ndarray
    scalars: np.ndarray

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        if self.manifest.n_materials == 0:
            raise UserError(f"{self.folder}: the data set is empty; build it from a source that has materials")
        for entry in self.manifest.files.values():
            _check_size(self.folder / entry.file, entry)
        for name in ARRAYS:
            setattr(self, name, _open_array(self.folder, self.manifest.files[name]))

    def __len__(self) -> int:
        return self.manifest.n_materials

    @property
    def hash(self) -> str:
        """The data hash of the manifest."""
        return self.manifest.hash

    @cached_property
    def materials(self) -> pd.DataFrame:
        """One row a material: id, formula, n_sites, split, scalar targets and what the source adds."""
        return pd.read_parquet(self.folder / MATERIALS)

    @cached_property
    def energies(self) -> np.ndarray:
        """(n_omega,) photon energies, eV."""
        return self.manifest.energy.values()

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

    def check_structures(self) -> None:
        """Refuse lattices and positions that are not finite.

        Raises
        ------
        UserError
            Naming the first such material.
        """
        bad_lattice = ~np.isfinite(self.lattice).all(axis=(1, 2))
        bad_atom = np.flatnonzero(~np.isfinite(self.position).all(axis=1))
        if bad_lattice.any():
            self._refuse(int(np.flatnonzero(bad_lattice)[0]), "lattice")
        if len(bad_atom):
            self._refuse(int(np.searchsorted(self.site_offset, bad_atom[0], side="right")) - 1, "position")

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


def write_dataset(
    folder: Path | str,
    *,
    name: str,
    source: str,
    materials: pd.DataFrame,
    structures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    spectrum: np.ndarray,
    scalars: np.ndarray,
    energy: EnergyGrid,
    components: tuple[str, ...],
    scalar_info: tuple[Scalar, ...],
    provenance: dict[str, Any] | None = None,
) -> OpticalDataset:
    """Write a data set folder; it appears complete or not at all.

    Parameters
    ----------
    folder
        Where; must not exist yet.
    materials
        (M rows) with at least `id` and `formula` (reduced); `split` where the source fixes one.
    structures
        M tuples of lattice (3, 3) Å, atomic_number (n,), position (n, 3) Å.
    spectrum
        (M, n_omega, C).
    scalars
        (M, S).
    energy, components, scalar_info, provenance
        What the manifest says of them.

    Returns
    -------
    OpticalDataset
        The folder, opened.
    """
    folder = Path(folder)
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder}: a data set is there already; remove it or choose another folder")
    counts = [len(numbers) for _, numbers, _ in structures]
    arrays: dict[str, np.ndarray] = {
        "lattice": np.asarray([lattice for lattice, _, _ in structures], dtype=np.float64).reshape(-1, 3, 3),
        "site_offset": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        "atomic_number": np.concatenate([numbers for _, numbers, _ in structures] or [np.empty(0)]).astype(np.uint8),
        "position": np.concatenate([position for _, _, position in structures] or [np.empty((0, 3))]),
        "spectrum": np.asarray(spectrum, dtype=np.float32),
        "scalars": np.asarray(scalars, dtype=np.float32),
    }
    table = materials.reset_index(drop=True).assign(n_sites=counts)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        files = {key: _write_array(staging, key, array) for key, array in arrays.items()}
        table.to_parquet(staging / MATERIALS, index=False)
        files["materials"] = _entry(staging / MATERIALS)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=name,
            source=source,
            n_materials=len(table),
            energy=energy,
            components=components,
            scalars=scalar_info,
            provenance=provenance or {},
            identity=_identity(table),
            files=files,
        )
        write_json(staging / MANIFEST, manifest.model_dump(mode="json"))
        staging.chmod(0o755)
        _publish(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return OpticalDataset(folder)


def _identity(table: pd.DataFrame) -> str:
    columns = [name for name in ("id", "formula", "split") if name in table]
    return value_hash([[str(value) for value in table[name]] for name in columns])


def _publish(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError:
        # another program finished the same data set first; a rename onto a full folder fails
        if not (folder / MANIFEST).exists():
            raise


def _write_array(folder: Path, name: str, array: np.ndarray) -> FileEntry:
    path = folder / f"{name}.npy"
    np.save(path, array, allow_pickle=False)
    return _entry(path, shape=array.shape, dtype=str(array.dtype))


def _entry(path: Path, *, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> FileEntry:
    return FileEntry(file=path.name, sha256=file_hash(path), size=path.stat().st_size, shape=shape, dtype=dtype)


def _check_size(path: Path, entry: FileEntry) -> None:
    if not path.exists():
        raise UserError(f"{path}: missing from the data set; build it again")
    if path.stat().st_size != entry.size:
        raise UserError(
            f"{path}: truncated or changed ({path.stat().st_size} bytes, the manifest says {entry.size}); "
            "build the data set again"
        )


def _open_array(folder: Path, entry: FileEntry) -> np.ndarray:
    path = folder / entry.file
    if entry.shape is not None and 0 in entry.shape:
        return np.empty(entry.shape, dtype=entry.dtype)  # a memory map cannot be empty
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape != entry.shape or str(array.dtype) != entry.dtype:
        raise UserError(f"{path}: is {array.dtype} {array.shape}, the manifest says {entry.dtype} {entry.shape}")
    return array
