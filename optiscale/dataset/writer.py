"""The one way into the cache: materials appended to a folder that appears complete or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from optiscale.dataset.publish import ROWS, SKIPPED, finish_files, plain, raw_arrays
from optiscale.dataset.schema import COLUMNS, MANIFEST, SCHEMA_VERSION, EnergyGrid, Scalar, read_manifest
from optiscale.dataset.split import PARTS
from optiscale.dataset.staging import Staging
from optiscale.dataset.store import OpticalDataset
from optiscale.dataset.symmetry import space_groups
from optiscale.errors import UserError
from optiscale.io import write_json

CHUNK = 1024
_COMMIT_SECONDS = 10.0
_MEND = "mend it or leave it out, and build the data set again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """One crystal with its targets.

    Attributes
    ----------
    id
        Unique name.
    lattice
        (3, 3) Å, rows are the lattice vectors.
    atomic_number
        (n,).
    position
        (n, 3) Å, Cartesian.
    spectrum
        (n_omega, C), Re and Im of eps_inter on the set's energy grid; None in a set without spectra.
    scalars
        (S,), in the order of `DatasetInfo.scalars`, such as omega_D in eV.
    prototype
        Structure type.
    space_group
        International number; found with spglib when None.
    split
        "train", "validation" or "test", where the source fixes one.
    provenance
        How it was made; plain values, kept as JSON.
    extra
        Further columns, such as e_above_hull; the same keys and types for every material of a set.
    """

    id: str
    lattice: np.ndarray
    atomic_number: np.ndarray
    position: np.ndarray
    spectrum: np.ndarray | None
    scalars: np.ndarray
    prototype: str | None = None
    space_group: int | None = None
    split: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, float | str | int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What a data set is, before its materials are known.

    Attributes
    ----------
    name, source
        For people.
    energy, components
        The grid of the spectra and what they hold, such as ("re", "im"); None and () in a set of scalar targets only.
    scalars
        Name, unit and sign of every scalar target.
    seed
        Of a source that draws its materials.
    provenance
        How it was made; plain values.
    build_key
        Whatever makes this build different from another one of the same folder, of plain values: a build that goes on
        with other values is refused.
    """

    name: str
    source: str
    energy: EnergyGrid | None
    components: tuple[str, ...]
    scalars: tuple[Scalar, ...]
    seed: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    build_key: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> dict[str, Any]:
        """Return what an interrupted build must share with the one that goes on with it, as JSON values."""
        return plain(
            {
                **self.build_key,
                "schema_version": SCHEMA_VERSION,
                "name": self.name,
                "seed": self.seed,
                "energy": self.energy.model_dump() if self.energy else None,
                "components": self.components,
                "scalars": [scalar.model_dump() for scalar in self.scalars],
            }
        )


class DatasetWriter:
    """Append materials to a data set folder; a killed program loses the last few, and the next one goes on.

    A second program that writes the same folder waits, and then finds it finished. ::

        with DatasetWriter(folder, info) as writer:
            for item in items[writer.n_seen:]:
                writer.add(material_of(item))
            dataset = writer.finish()

    Parameters
    ----------
    folder
        Where; must not exist yet.
    info
        What the set is.

    Attributes
    ----------
    finished
        Whether the folder is complete: another program wrote it, or an earlier one all but published it.

    Raises
    ------
    UserError
        If the folder exists, or an interrupted build of another set is there.
    """

    def __init__(self, folder: Path | str, info: DatasetInfo) -> None:
        self.info = info
        self.finished = False
        self._arrays = raw_arrays(info.energy, info.components, info.scalars)
        self._staging = Staging(Path(folder), complete=MANIFEST, scratch=(*set(self._arrays) - _KEPT, ROWS, SKIPPED))
        self.folder = self._staging.target
        self._n_materials = self._n_skipped = 0  # committed
        self._ids: set[str] = set()
        self._extra_types: dict[str, str] | None = None
        self._buffer: list[Material] = []
        self._skipped: list[list[str]] = []
        self._committed = time.monotonic()
        self._half_written = False

    @property
    def n_seen(self) -> int:
        """Items added or skipped by this and earlier programs."""
        return self.n_added + self._n_skipped + len(self._skipped)

    def __enter__(self) -> Self:
        if (self.folder / MANIFEST).exists():
            raise UserError(f"{self.folder}: a data set is there already; remove it or choose another folder")
        self._staging.acquire()
        try:
            self._resume()
        except BaseException:
            self._staging.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not (self.finished or self._half_written):
                self._commit()  # what was made before the interruption is kept
        finally:
            self._staging.release()

    @property
    def n_added(self) -> int:
        """Materials of this and earlier programs."""
        return self._n_materials + len(self._buffer)

    def add(self, material: Material) -> None:
        """Append a material.

        Raises
        ------
        UserError
            If a value is missing, not finite or of another shape, or the id is taken; names the material.
        """
        if self.finished:
            raise RuntimeError(f"{self.folder} is finished: add() came after all n_seen items")
        self._check(material)
        self._ids.add(material.id)
        self._buffer.append(material)
        self._commit_now_and_then()

    def skip(self, name: str, reason: str) -> None:
        """Count an item that gives no material; the manifest's provenance lists it with the reason."""
        self._skipped.append([name, reason])
        self._commit_now_and_then()

    def finish(self) -> OpticalDataset:
        """Publish the folder and open it.

        Raises
        ------
        UserError
            If no material was added.
        """
        if not self.finished:
            self._commit()
            if self._n_materials == 0:
                self._staging.discard()
                self.finished = True
                raise UserError(f"{self.folder}: the data set is empty; build it from a source that has materials")
            manifest = finish_files(self._staging, self._arrays, self.info, self._n_materials, self._extra_types or {})
            write_json(self._staging.folder / MANIFEST, manifest.model_dump(mode="json"))
            self._staging.publish()
            self.finished = True
        return OpticalDataset(self.folder)

    def _resume(self) -> None:
        self.finished = self._staging.resume(self.info.key())
        if self.finished:
            self._find_finished()
            return
        state = self._staging.state
        self._n_materials, self._n_skipped = state.get("materials", 0), state.get("skipped", 0)
        self._extra_types = state.get("extra")
        with self._staging.path(ROWS).open(encoding="utf-8") as rows:
            self._ids = {json.loads(row)["id"] for row in rows}

    def _find_finished(self) -> None:
        """Count the items of the folder that another program wrote meanwhile."""
        manifest = read_manifest(self.folder)
        if manifest.build_key != self.info.key():
            raise UserError(f"{self.folder}: another data set was written there meanwhile; choose another folder")
        self._n_materials, self._n_skipped = manifest.n_materials, len(manifest.provenance["skipped"])

    def _commit_now_and_then(self) -> None:
        waiting = len(self._buffer) + len(self._skipped)
        if waiting >= CHUNK or time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Append what is buffered and make it lasting."""
        self._half_written = True
        buffer, self._buffer = self._buffer, []
        skipped, self._skipped = self._skipped, []
        if buffer:
            for name, array in self._arrays.items():
                self._staging.append(name, np.concatenate([array.values(material) for material in buffer]))
            rows = zip(buffer, space_groups(buffer), strict=True)
            self._staging.append(ROWS, b"".join(_line(_row(material, group)) for material, group in rows))
        self._staging.append(SKIPPED, b"".join(map(_line, skipped)))
        self._n_materials += len(buffer)
        self._n_skipped += len(skipped)
        counts = {"materials": self._n_materials, "skipped": self._n_skipped}
        self._staging.commit({**counts, "extra": self._extra_types})
        self._committed, self._half_written = time.monotonic(), False

    def _check(self, material: Material) -> None:
        name, info = material.id, self.info
        if not name or name in self._ids:
            raise UserError(f"{self.folder}: material {name!r} occurs twice or has no name; give each its own id")
        n = len(material.atomic_number)
        numbers = np.asarray(material.atomic_number)
        if n == 0 or numbers.ndim != 1 or numbers.min() < 1 or numbers.max() > 118:
            raise UserError(f"material {name}: atomic numbers must be 1 to 118, one an atom; {_MEND}")
        self._check_array(name, "lattice", material.lattice, (3, 3))
        self._check_array(name, "position", material.position, (n, 3))
        if abs(np.linalg.det(material.lattice)) < 1e-3:
            raise UserError(f"material {name}: the lattice vectors span no volume; {_MEND}")
        if (material.spectrum is None) != (info.energy is None):
            what = "none, the set has spectra" if material.spectrum is None else "one, the set has none"
            raise UserError(f"material {name}: spectrum: {what}; {_MEND}")
        if material.spectrum is not None and info.energy is not None:
            self._check_array(name, "spectrum", material.spectrum, (info.energy.n, len(info.components)))
        self._check_array(name, "scalars", material.scalars, (len(info.scalars),))
        if material.split is not None and material.split not in PARTS:
            raise UserError(f"material {name}: split {material.split!r} must be one of {', '.join(PARTS)}")
        self._check_extra(material)

    def _check_array(self, name: str, what: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
        array = np.asarray(values)
        if array.shape != shape:
            raise UserError(f"material {name}: {what} has shape {array.shape}, not {shape}; {_MEND}")
        finite = np.isfinite(array)
        if not finite.all():
            if what == "scalars":
                what = self.info.scalars[int(np.argmin(finite))].name
            raise UserError(f"material {name} has a {what} that is not finite; {_MEND}")

    def _check_extra(self, material: Material) -> None:
        types = {key: _type_name(value) for key, value in material.extra.items()}
        if self._extra_types is None:
            taken = {*COLUMNS, *(scalar.name for scalar in self.info.scalars)} & set(types)
            if taken:
                raise UserError(f"material {material.id}: the column {min(taken)!r} is the data set's own; rename it")
            self._extra_types = types
        elif types != self._extra_types:
            raise UserError(
                f"material {material.id}: further columns {types}, others have {self._extra_types}; "
                "give every material the same"
            )


_KEPT = {"spectrum.npy", "scalars.npy"}


def _row(material: Material, space_group: int | None) -> dict[str, Any]:
    return {
        "id": material.id,
        "prototype": material.prototype,
        "space_group": space_group,
        "split": material.split,
        "extra": plain(dict(material.extra)),
        "provenance": plain(dict(material.provenance)),
    }


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _type_name(value: object) -> str:
    if isinstance(value, str):
        return "string"
    return "int64" if isinstance(value, int | np.integer) else "float64"
