"""matminer's published data sets of structures with scalar targets, such as refractive indices."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optiscale.dataset.importers.build import Outcome
from optiscale.dataset.importers.crystal import Crystal, check_crystal
from optiscale.dataset.schema import Scalar
from optiscale.dataset.source import cache_folder
from optiscale.dataset.writer import DatasetInfo, Material
from optiscale.errors import UserError
from optiscale.io import file_hash

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "matminer:"
STRUCTURE_COLUMNS = ("structure", "final_structure")
ID_COLUMNS = ("material_id", "jid", "mpid", "task")

_EPSILON = tuple(Scalar(name=f"epsilon_{axis} opt", unit="1") for axis in "xyz")
#: targets by default; units as in matminer's descriptions of the columns, "1" where a quantity has none
TARGETS: dict[str, tuple[Scalar, ...]] = {
    "dielectric_constant": tuple(Scalar(name=name, unit="1") for name in ("n", "poly_electronic", "poly_total")),
    "elastic_tensor_2015": tuple(Scalar(name=name, unit="GPa") for name in ("K_VRH", "G_VRH")),
    "jarvis_dft_2d": _EPSILON,
    "jarvis_dft_3d": _EPSILON,
    "jarvis_ml_dft_training": _EPSILON,
    "matbench_dielectric": (Scalar(name="n", unit="1"),),
    "matbench_jdft2d": (Scalar(name="exfoliation_en", unit="meV/atom", nonnegative=False),),
    "matbench_log_gvrh": (Scalar(name="log10(G_VRH)", unit="log10 GPa", nonnegative=False),),
    "matbench_log_kvrh": (Scalar(name="log10(K_VRH)", unit="log10 GPa", nonnegative=False),),
    "matbench_mp_gap": (Scalar(name="gap pbe", unit="eV"),),
    "matbench_phonons": (Scalar(name="last phdos peak", unit="1/cm"),),
    "phonon_dielectric_mp": tuple(Scalar(name=name, unit="1") for name in ("eps_electronic", "eps_total")),
}


class MatminerSet:
    """The materials of a data set of matminer.

    Parameters
    ----------
    name
        As matminer calls it, such as "dielectric_constant".
    scalars
        Columns to learn, with their units; by default those of `TARGETS`.

    Raises
    ------
    UserError
        If there is no such set or column, the set has no structures, or the file cannot be downloaded or is not the
        published one.
    """

    def __init__(self, name: str, *, scalars: Sequence[Scalar] = ()) -> None:
        metadata = _metadata(name)
        columns = list(metadata["columns"])
        targets = tuple(scalars) or TARGETS.get(name, ())
        named = f"{PREFIX}{name}"
        if not set(STRUCTURE_COLUMNS) & set(columns):
            raise UserError(f"{named}: this set has no structures; choose one that has, such as dielectric_constant")
        if not targets:
            raise UserError(f"{named}: name a target with --scalar NAME=UNIT; the columns are {', '.join(columns)}")
        for target in targets:
            if target.name not in columns:
                raise UserError(f"{named}: no column {target.name!r}; the columns are {', '.join(columns)}")
        self.info = DatasetInfo(
            name=name,
            source=f"matminer {name}: {metadata['reference']}",
            energy=None,
            components=(),
            scalars=targets,
            provenance={
                "matminer": version("matminer"),
                "url": metadata["url"],
                "sha256": metadata["hash"],
                "columns": {target.name: metadata["columns"][target.name] for target in targets},
                "bibtex": metadata["bibtex_refs"],
            },
            build_key={"sha256": metadata["hash"]},
        )
        self.table = _load(name, metadata)
        self._structures = self.table[next(column for column in STRUCTURE_COLUMNS if column in self.table)]
        self._ids = _ids(self.table, name)

    def __len__(self) -> int:
        return len(self.table)

    def read(self, start: int) -> Iterator[Outcome]:
        """Yield the materials in the order of the file; the error of a bad one stands in its place."""
        values = self.table[[scalar.name for scalar in self.info.scalars]].to_numpy(dtype=object)
        for row in range(start, len(self.table)):
            name = self._ids[row]
            try:
                yield name, self._material(name, self._structures.iloc[row], values[row])
            except UserError as error:
                yield name, error

    def _material(self, name: str, structure: Any, values: np.ndarray) -> Material:
        crystal = _crystal(name, structure)
        check_crystal(crystal)
        return Material(
            id=name,
            lattice=crystal.lattice,
            atomic_number=crystal.atomic_number,
            position=crystal.position,
            spectrum=None,
            scalars=np.array(
                [_number(name, scalar, value) for scalar, value in zip(self.info.scalars, values, strict=True)]
            ),
        )


def _metadata(name: str) -> dict[str, Any]:
    """Return what matminer knows of a set before it is downloaded."""
    from matminer.datasets import get_available_datasets
    from matminer.datasets.dataset_retrieval import get_dataset_attribute

    known = get_available_datasets(print_format=None)
    if name not in known:
        raise UserError(f"{PREFIX}{name}: matminer has no such data set; it has {', '.join(known)}")
    fields = ("columns", "url", "hash", "file_type", "reference", "bibtex_refs")
    return {field: get_dataset_attribute(name, field) for field in fields}


def _load(name: str, metadata: dict[str, Any]) -> pd.DataFrame:
    """Read the set with matminer's loader, from the published file and no other.

    The loader decodes JSON with monty, which imports and calls any class that a file names, and it checks the hash of
    what it downloads only, not of what is there already. So the file is read if its SHA-256 is the published one.
    """
    from matminer.datasets import load_dataset

    home = Path(os.environ.get("MATMINER_DATA") or cache_folder() / "matminer")
    path = home / f"{name}.{metadata['file_type']}"
    if not path.exists():
        _download(name, metadata, path)
    if (found := file_hash(path)) != metadata["hash"]:
        raise UserError(
            f"{path}: not the published file (sha256 {found[:12]}…, published {metadata['hash'][:12]}…); remove it and "
            "import again"
        )
    return load_dataset(name, data_home=str(home), download_if_missing=False, pbar=sys.stderr.isatty())


def _download(name: str, metadata: dict[str, Any], path: Path) -> None:
    """Fetch the published file; it appears whole and checked, or not at all."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            metadata["url"],
            known_hash=f"sha256:{metadata['hash']}",
            fname=path.name,
            path=path.parent,
            progressbar=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise UserError(
            f"{PREFIX}{name}: {metadata['url']} gave another file than the published one (sha256 "
            f"{metadata['hash'][:12]}…); import again later, or put the file at {path}"
        ) from error
    except (requests.RequestException, OSError) as error:
        raise UserError(
            f"{PREFIX}{name}: {metadata['url']} could not be downloaded ({type(error).__name__}); connect to the "
            f"internet and import again, or put the file at {path}"
        ) from error


def _ids(table: pd.DataFrame, name: str) -> list[str]:
    """Return a unique name for every row: the set's own where it has one."""
    for column in ID_COLUMNS:
        if column in table and table[column].notna().all() and table[column].is_unique:
            return [str(value) for value in table[column]]
    return [f"{name}-{row}" for row in range(len(table))]


def _crystal(name: str, structure: Any) -> Crystal:
    from pymatgen.core import Structure

    if not isinstance(structure, Structure):
        raise UserError(f"{name}: has no crystal structure but {type(structure).__name__}; leave it out")
    if not structure.is_ordered:
        raise UserError(f"{name}: a site is shared or partly occupied; leave it out")
    return Crystal(
        id=name,
        lattice=structure.lattice.matrix.copy(),
        atomic_number=np.array(structure.atomic_numbers),
        position=structure.cart_coords,
    )


def _number(name: str, scalar: Scalar, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {scalar.name} is {value!r}, no number; leave it out") from error
    if scalar.nonnegative and number < 0:
        raise UserError(
            f"{name}: {scalar.name} is {number:g}, taken to be never below 0; "
            f"--scalar '{scalar.name}={scalar.unit}' allows it"
        )
    return number
