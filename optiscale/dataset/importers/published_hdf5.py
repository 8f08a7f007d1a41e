"""The published files: one HDF5 file a part of the split, one group a material (arXiv:2602.05702)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optiscale.dataset.importers.build import Outcome
from optiscale.dataset.importers.crystal import Crystal, check_crystal
from optiscale.dataset.importers.layout import COMPONENTS, ENERGY, SCALARS, check_drude, stamp
from optiscale.dataset.writer import DatasetInfo, Material
from optiscale.errors import UserError

if TYPE_CHECKING:
    import h5py

#: the part of the split that a file holds
PARTS = {"train": "train", "val": "validation", "test": "test"}
DATASETS = ("mat_id", "e_above_hull", "composition", "lattice", "atomic_number", "position", "drude", "eps")
REMEDY = "download it again, or export it in the published layout (docs/own-data.md)"
#: what h5py raises on damaged files; "RuntimeError: Unspecified error" among them
DAMAGED = (OSError, KeyError, RuntimeError, ValueError)


class PublishedFiles:
    """Materials of `{train,val,test}.h5`, file after file, groups in the order of their names.

    Parameters
    ----------
    paths
        The files; `train`, `val` and `test` give the part of the split, other names none.
    name
        Of the data set.
    skip_bad
        Count a file that cannot be opened as one item, instead of stopping at it.

    Raises
    ------
    UserError
        If a file is no HDF5 file or is truncated, or nothing is in them.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, skip_bad: bool = False) -> None:
        self.paths = list(paths)
        self._skip_bad = skip_bad
        self._groups = [self._list(path) for path in self.paths]
        if len(self) == 0:
            raise UserError(f"{self.paths[0]}: holds no materials; {REMEDY}")
        self.info = DatasetInfo(
            name=name,
            source="published HDF5 files (arXiv:2602.05702)",
            energy=ENERGY,
            components=COMPONENTS,
            scalars=SCALARS,
            provenance={"files": [stamp(path) for path in self.paths]},
            build_key={"files": [stamp(path) for path in self.paths]},
        )

    def _list(self, path: Path) -> list[str] | UserError:
        try:
            with _open(path) as file:
                return _names(file, path)
        except UserError as error:
            if self._skip_bad:
                return error
            raise

    def __len__(self) -> int:
        return sum(1 if isinstance(groups, UserError) else len(groups) for groups in self._groups)

    def read(self, start: int) -> Iterator[Outcome]:
        """Yield materials from item `start` on."""
        for path, groups in zip(self.paths, self._groups, strict=True):
            n = 1 if isinstance(groups, UserError) else len(groups)
            if start < n:
                if isinstance(groups, UserError):
                    yield str(path), groups
                else:
                    yield from self._read_file(path, groups[start:])
            start = max(0, start - n)

    def _read_file(self, path: Path, groups: list[str]) -> Iterator[Outcome]:
        with _open(path) as file:
            for group in groups:
                try:
                    yield f"{path}: {group}", read_group(file, group, path)
                except UserError as error:
                    yield f"{path}: {group}", error


def read_group(file: h5py.File, group: str, path: Path) -> Material:
    """Read one material; float32 and complex64 values stay what they are, bit for bit.

    Raises
    ------
    UserError
        Naming file, group and remedy.
    """
    where = f"{path}: {group}"
    try:
        content = file[group]
        values = {name: content[name][()] for name in DATASETS}
    except (*DAMAGED, TypeError) as error:  # a TypeError: a group where a dataset should be, or the other way round
        present = _present(file, group)
        if present is not None and (missing := [name for name in DATASETS if name not in present]):
            raise UserError(f"{where}: dataset {missing[0]!r} is missing; {REMEDY}") from error
        raise UserError(f"{where}: not readable ({_reason(error)}); {REMEDY}") from error
    try:
        return _material(values, split=PARTS.get(path.stem))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: values of another kind ({_reason(error)}); {REMEDY}") from error


def _material(values: dict[str, Any], *, split: str | None) -> Material:
    name = _text(values["mat_id"])
    eps = np.ascontiguousarray(values["eps"], dtype=np.complex64)
    if eps.shape != (ENERGY.n,):
        raise UserError(f"{name}: eps has shape {eps.shape}, not ({ENERGY.n},); {REMEDY}")
    omega_D = np.float32(np.asarray(values["drude"]).item())
    check_drude(float(omega_D), name=name)
    crystal = Crystal(
        id=name,
        lattice=np.asarray(values["lattice"], dtype=np.float64),
        atomic_number=np.asarray(values["atomic_number"]).astype(int),
        position=np.asarray(values["position"], dtype=np.float64),
    )
    check_crystal(crystal)
    return Material(
        id=name,
        lattice=crystal.lattice,
        atomic_number=crystal.atomic_number,
        position=crystal.position,
        spectrum=eps.view(np.float32).reshape(-1, 2),
        scalars=np.array([omega_D]),
        split=split,
        provenance={"composition": _text(values["composition"])},
        extra={"e_above_hull": float(np.asarray(values["e_above_hull"]).item())},
    )


def _text(value: object) -> str:
    scalar = np.asarray(value).item()
    return scalar.decode() if isinstance(scalar, bytes) else str(scalar)


def _open(path: Path) -> h5py.File:
    import h5py

    try:
        return h5py.File(path, "r")
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _names(file: h5py.File, path: Path) -> list[str]:
    try:
        return sorted(file)
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _present(file: h5py.File, group: str) -> set[str] | None:
    try:
        return set(file[group])
    except (*DAMAGED, TypeError):
        return None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable HDF5 file ({_reason(error)}); {REMEDY}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
