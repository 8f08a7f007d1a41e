"""The embedded default: real density-functional spectra in one Parquet file that ships inside the package."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms

from optiscale.dataset.schema import EnergyGrid, Scalar
from optiscale.dataset.store import OpticalDataset
from optiscale.dataset.writer import DatasetInfo, DatasetWriter, Material
from optiscale.errors import UserError
from optiscale.io import atomic_save, file_hash
from optiscale.spectra.records import Record

ENERGY = EnergyGrid(start=0.0, stop=20.0, n=2001)
COMPONENTS = ("re", "im")
SCALARS = (Scalar(name="omega_D", unit="eV", nonnegative=True),)

_FLOATS = pa.list_(pa.float32(), ENERGY.n)
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prototype", pa.string()),
        ("lattice", pa.list_(pa.float64(), 9)),  # Å, rows joined
        ("atomic_number", pa.list_(pa.uint8())),
        ("position", pa.list_(pa.float64())),  # Å, rows joined
        ("eps_inter_re", _FLOATS),  # direction average
        ("eps_inter_im", _FLOATS),
        ("omega_D2", pa.list_(pa.float64(), 9)),  # eV^2, the tensor
        ("provenance", pa.string()),  # JSON: recipe, meshes, bands, version of the code
    ]
)


def shelf_file() -> Path:
    """Return the path of the packed shelf inside the package."""
    with as_file(files("optiscale.dataset") / "data" / "dft_shelf.parquet") as path:
        return path


def pack_shelf(records: Sequence[Record], path: Path) -> None:
    """Write records into one compressed Parquet file, atomically, sorted by id.

    Parameters
    ----------
    records
        One a material.
    path
        The file.

    Raises
    ------
    UserError
        If an id occurs twice.
    """
    ordered = sorted(records, key=lambda record: record.id)
    for one, next_one in itertools.pairwise(ordered):
        if one.id == next_one.id:
            raise UserError(f"{one.id} is recorded twice; keep one of the two records")
    columns = {
        "id": [record.id for record in ordered],
        "prototype": [record.prototype for record in ordered],
        "lattice": [record.atoms.cell.array.ravel() for record in ordered],
        "atomic_number": [record.atoms.numbers.astype(np.uint8) for record in ordered],
        "position": [record.atoms.positions.ravel() for record in ordered],
        "eps_inter_re": [record.eps_inter.real.astype(np.float32) for record in ordered],
        "eps_inter_im": [record.eps_inter.imag.astype(np.float32) for record in ordered],
        "omega_D2": [np.asarray(record.omega_D2).ravel() for record in ordered],
        "provenance": [json.dumps(record.provenance, sort_keys=True) for record in ordered],
    }
    table = pa.Table.from_pydict(columns, schema=_SCHEMA)
    spectra = ["eps_inter_re.list.element", "eps_inter_im.list.element"]
    atomic_save(
        path,
        lambda stream: pq.write_table(
            table,
            stream,
            compression="zstd",
            compression_level=19,
            use_dictionary=False,
            use_byte_stream_split=spectra,  # a third smaller: neighbouring exponents are alike
        ),
    )


def shelf_ids(path: Path | None = None) -> set[str]:
    """Return the ids of the materials on a packed shelf (the embedded one by default)."""
    return set(pq.read_table(path or shelf_file(), columns=["id"]).column("id").to_pylist())


def read_shelf(path: Path | None = None) -> list[Record]:
    """Read the records of a packed shelf (the embedded one by default).

    Raises
    ------
    UserError
        If the file is damaged, or no shelf.
    """
    remedy = "install the package again" if path is None else "pack it again with `optiscale data pack`"
    path = path or shelf_file()
    try:
        missing = sorted(set(_SCHEMA.names) - set(pq.read_schema(path).names))
        if missing:
            raise UserError(f"{path}: no packed shelf (the column {missing[0]} is missing); {remedy}")
        rows = pq.read_table(path, schema=_SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: a damaged shelf, cut short or no Parquet file; {remedy}") from error
    return [_record(row) for row in rows]


def _record(row: dict[str, Any]) -> Record:
    omega_D2 = np.reshape(row["omega_D2"], (3, 3))
    eps_inter = np.asarray(row["eps_inter_re"]) + 1j * np.asarray(row["eps_inter_im"])
    return Record(
        id=row["id"],
        prototype=row["prototype"],
        atoms=Atoms(
            numbers=row["atomic_number"],
            positions=np.reshape(row["position"], (-1, 3)),
            cell=np.reshape(row["lattice"], (3, 3)),
            pbc=True,
        ),
        eps_inter=eps_inter.astype(np.complex64),
        omega_D=float(np.sqrt(np.trace(omega_D2) / 3)),
        omega_D2=omega_D2,
        provenance=json.loads(row["provenance"]),
    )


def build_shelf(folder: Path, path: Path | None = None) -> OpticalDataset:
    """Build the data set of a packed shelf (the embedded one by default) as a folder.

    Raises
    ------
    UserError
        If the file is damaged or holds nothing.
    """
    path = path or shelf_file()
    records = read_shelf(path)
    if not records:
        raise UserError(f"{path}: the shelf is empty; pack records into it with `optiscale data pack`")
    info = DatasetInfo(
        name="dft-shelf",
        source="density functional theory, GPAW, PBE (docs/ab-initio.md)",
        energy=ENERGY,
        components=COMPONENTS,
        scalars=SCALARS,
        build_key={"shelf_sha256": file_hash(path)},
    )
    with DatasetWriter(folder, info) as writer:
        for record in records[writer.n_seen :]:
            writer.add(_material(record))
        return writer.finish()


def _material(record: Record) -> Material:
    return Material(
        id=record.id,
        lattice=record.atoms.cell.array,
        atomic_number=record.atoms.numbers,
        position=record.atoms.positions,
        spectrum=np.stack([record.eps_inter.real, record.eps_inter.imag], axis=-1),
        scalars=np.array([record.omega_D]),
        prototype=record.prototype,
        provenance=record.provenance,
    )
