"""The manifest of a data set folder: what every file holds, with units and hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from optiscale.errors import UserError
from optiscale.io import read_json, value_hash

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MATERIALS = "materials.parquet"

#: every array: axes (M materials, A atoms, n_omega energies, S scalar targets) and meaning
ARRAYS: dict[str, str] = {
    "lattice": "(M, 3, 3) float64, Å, rows are the lattice vectors",
    "site_offset": "(M + 1) int64, first atom of each material",
    "atomic_number": "(A) uint8",
    "position": "(A, 3) float64, Å, Cartesian",
    "spectrum": "(M, n_omega, C) float32, C components (Re and Im of eps_inter)",
    "scalars": "(M, S) float32, scalar targets in the order of the manifest",
}


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
    """What a data set folder holds; `identity` is a hash of the materials' ids, formulas and split."""

    schema_version: int
    name: str
    source: str
    n_materials: int
    energy: EnergyGrid
    components: tuple[str, ...]
    scalars: tuple[Scalar, ...]
    provenance: dict[str, Any]
    identity: str
    files: dict[str, FileEntry]

    @property
    def hash(self) -> str:
        """The data hash: 16 hexadecimal digits that change with any value of the data.

        The Parquet file counts through `identity` (ids, formulas, split): its bytes depend on the library's version.
        """
        content = {name: self.files[name].sha256 for name in ARRAYS}
        return value_hash(
            {
                "arrays": content,
                "identity": self.identity,
                "energy": self.energy.model_dump(),
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
        manifest = Manifest.model_validate(read_json(path))
    except (ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a data set manifest ({reason}); build the data set again") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {manifest.schema_version}, this OptiScale reads {SCHEMA_VERSION}; "
            "build the data set again"
        )
    return manifest
