"""The manifest of a data set folder: what every file holds, with units and hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from optiscale.errors import UserError
from optiscale.io import read_json, value_hash

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
MATERIALS = "materials.parquet"

#: the memory-mapped arrays: axes (M materials, n_omega energies, C components, S scalar targets) and meaning
ARRAYS: dict[str, str] = {
    "spectrum": "(M, n_omega, C) float32, C components (Re and Im of eps_inter); no file in a set without spectra",
    "scalars": "(M, S) float32, scalar targets in the order of the manifest",
}

#: the columns of materials.parquet, in this order; then a float32 column a scalar target, then what the source adds
COLUMNS: dict[str, str] = {
    "id": "unique name",
    "formula": "of the cell, elements in alphabetical order",
    "reduced_formula": "reduced composition, the unit of the split",
    "prototype": "structure type, or null",
    "n_sites": "atoms a cell",
    "space_group": "international number",
    "lattice": "(3, 3) float64, Å, rows are the lattice vectors",
    "species": "(n) element symbols",
    "positions": "(n, 3) float64, Å, Cartesian",
    "split": "train, validation or test, or null",
    "provenance": "JSON: how the material was made",
}
STRUCTURE_COLUMNS = ("lattice", "species", "positions")
UNITS = {"energy": "eV", "lattice": "Å", "positions": "Å"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnergyGrid(_Strict):
    """Photon energies: `n` points from `start` to `stop` (eV), both included."""

    start: float
    stop: float
    n: int

    def values(self) -> np.ndarray:
        """(n,) float64, eV."""
        return np.linspace(self.start, self.stop, self.n)


class Scalar(_Strict):
    """A scalar target; `nonnegative` ones are predicted through a ReLU."""

    name: str
    unit: str
    nonnegative: bool = True


class FileEntry(_Strict):
    """One file of the folder; shape and dtype are None for the Parquet table."""

    file: str
    sha256: str
    size: int
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


class Manifest(_Strict):
    """What a data set folder holds.

    `energy` is None in a set of scalar targets only. `content` has a SHA-256 of every part of the data as plain bytes,
    whatever wrote them; `files` those of the files, to find damage. `build_key` tells this build from another one.
    """

    schema_version: int
    name: str
    source: str
    seed: int | None
    n_materials: int
    n_atoms: int
    energy: EnergyGrid | None
    components: tuple[str, ...]
    scalars: tuple[Scalar, ...]
    units: dict[str, str]
    provenance: dict[str, Any]
    build_key: dict[str, Any]
    versions: dict[str, str]
    content: dict[str, str]
    files: dict[str, FileEntry]

    @property
    def hash(self) -> str:
        """The data hash: 16 hexadecimal digits that change with any value of the data.

        Ids, prototypes, splits, structures, spectra, scalar targets and added columns count. What follows from them
        (formulas, space groups) and how they were made (provenance) does not, nor do the bytes of the Parquet file,
        which depend on the library's version.
        """
        return value_hash(
            {
                "content": self.content,
                "energy": self.energy.model_dump() if self.energy else None,
                "components": self.components,
                "scalars": [scalar.model_dump() for scalar in self.scalars],
            }
        )


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a data set folder.

    Raises
    ------
    UserError
        If there is none, it is not readable, or it was written by another version of the schema.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise UserError(f"{folder}: no data set here ({MANIFEST} is missing); build one with `optiscale data build`")
    try:
        content = read_json(path)
        _check_version(path, content)
        return Manifest.model_validate(content)
    except (ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a data set manifest ({reason}); build the data set again") from error


def _check_version(path: Path, content: Any) -> None:
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise ValueError("it names no schema version")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path}: written by a newer OptiScale (schema version {version}, this one reads {SCHEMA_VERSION}); "
            "update OptiScale"
        )
    if version < SCHEMA_VERSION:
        raise UserError(
            f"{path}: written by an older OptiScale (schema version {version}, this one reads {SCHEMA_VERSION}); "
            "remove the folder and build the data set again"
        )
