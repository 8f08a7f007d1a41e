"""From the staged files of a build to those of a data set folder, in blocks."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optiscale.dataset.formula import cell_formula, reduced_formula, symbols
from optiscale.dataset.schema import MATERIALS, SCHEMA_VERSION, UNITS, EnergyGrid, FileEntry, Manifest, Scalar
from optiscale.dataset.staging import NPY_HEADER, Staging
from optiscale.io import file_hash, value_hash

if TYPE_CHECKING:
    import pyarrow as pa

    from optiscale.dataset.writer import DatasetInfo, Material

ROWS = "rows.jsonl"
SKIPPED = "skipped.jsonl"
_BLOCK = 16384  # materials a row group
_PACKAGES = ("optiscale", "ase", "numpy", "pyarrow", "spglib")


@dataclass(frozen=True)
class RawArray:
    """A staged array: rows of one shape; `values` gives those of a material."""

    dtype: str
    shape: tuple[int, ...]
    values: Callable[[Material], np.ndarray]

    def read(self, stream: Any, n: int) -> np.ndarray:
        """Read the next n rows."""
        count = n * int(np.prod(self.shape))
        data = stream.read(count * np.dtype(self.dtype).itemsize)
        return np.frombuffer(data, dtype=self.dtype, count=count).reshape(n, *self.shape)


def raw_arrays(
    energy: EnergyGrid | None, components: tuple[str, ...], scalars: tuple[Scalar, ...]
) -> dict[str, RawArray]:
    """Return the staged arrays of a set by file name."""

    def array(dtype: str, shape: tuple[int, ...], values: Callable[[Material], Any]) -> RawArray:
        return RawArray(dtype, shape, lambda material: np.asarray(values(material), dtype=dtype))

    arrays = {
        "scalars.npy": array("<f4", (len(scalars),), lambda material: [material.scalars]),
        "lattice.bin": array("<f8", (3, 3), lambda material: [material.lattice]),
        "n_sites.bin": array("<i8", (), lambda material: [len(material.atomic_number)]),
        "atomic_number.bin": array("|u1", (), lambda material: material.atomic_number),
        "position.bin": array("<f8", (3,), lambda material: material.position),
    }
    if energy is not None:
        arrays["spectrum.npy"] = array("<f4", (energy.n, len(components)), lambda material: [material.spectrum])
    return arrays


def finish_files(
    staging: Staging, arrays: dict[str, RawArray], info: DatasetInfo, n_materials: int, extra: dict[str, str]
) -> Manifest:
    """Write the table and the headers, hash everything, and return the manifest."""
    identity = _write_table(staging, arrays, info, n_materials, extra)
    files = {"materials": _entry(staging.folder / MATERIALS)}
    for name in sorted(arrays):
        if name.endswith(".npy"):
            shape = (n_materials, *arrays[name].shape)
            staging.finish_array(name, shape, arrays[name].dtype)
            dtype = str(np.dtype(arrays[name].dtype))
            files[name.removesuffix(".npy")] = _entry(staging.folder / name, shape=shape, dtype=dtype)
    content = {name: entry.sha256 for name, entry in files.items() if name != "materials"}
    content |= {name.removesuffix(".bin"): file_hash(staging.path(name)) for name in arrays if name.endswith(".bin")}
    with staging.path(SKIPPED).open(encoding="utf-8") as lines:
        skipped = [json.loads(line) for line in lines]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=info.name,
        source=info.source,
        seed=info.seed,
        n_materials=n_materials,
        n_atoms=staging.path("atomic_number.bin").stat().st_size,
        energy=info.energy,
        components=info.components,
        scalars=info.scalars,
        units=UNITS,
        provenance={
            **plain(info.provenance),
            "skipped": [{"item": item, "reason": reason} for item, reason in skipped],
        },
        build_key=info.key(),
        versions={name: version(name) for name in _PACKAGES},
        content={"identity": identity, **content},
        files=files,
    )


def _write_table(
    staging: Staging, arrays: dict[str, RawArray], info: DatasetInfo, n_materials: int, extra: dict[str, str]
) -> str:
    """Write materials.parquet and return the hash of what it says that no array holds."""
    import pyarrow.parquet as pq

    digest = hashlib.sha256(value_hash(extra).encode())
    schema = _schema(info, extra)
    with pq.ParquetWriter(staging.folder / MATERIALS, schema, compression="zstd") as table:
        for block in _blocks(staging, arrays, n_materials):
            for row in block.rows:
                kept = [row["id"], row["prototype"], row["split"], row["extra"]]
                digest.update(json.dumps(kept, sort_keys=True).encode() + b"\n")
            table.write_table(block.table(schema))
    return digest.hexdigest()


def _schema(info: DatasetInfo, extra: dict[str, str]) -> pa.Schema:
    import pyarrow as pa

    vector = pa.list_(pa.float64(), 3)
    fields: list[tuple[str, Any]] = [
        ("id", pa.string()),
        ("formula", pa.string()),
        ("reduced_formula", pa.string()),
        ("prototype", pa.string()),
        ("n_sites", pa.int32()),
        ("space_group", pa.int16()),
        ("lattice", pa.list_(vector, 3)),
        ("species", pa.list_(pa.string())),
        ("positions", pa.list_(vector)),
        ("split", pa.string()),
        ("provenance", pa.string()),
    ]
    fields += [(scalar.name, pa.float32()) for scalar in info.scalars]
    fields += [(name, getattr(pa, kind)()) for name, kind in extra.items()]
    return pa.schema(fields)


@dataclass(frozen=True)
class _Block:
    """Consecutive materials: their rows, and their arrays by name."""

    rows: list[dict[str, Any]]
    lattice: np.ndarray
    n_sites: np.ndarray
    atomic_number: np.ndarray
    position: np.ndarray
    scalars: np.ndarray

    def table(self, schema: pa.Schema) -> pa.Table:
        import pyarrow as pa

        offset = np.concatenate([[0], np.cumsum(self.n_sites)]).astype(np.int32)
        cells = [self.atomic_number[start:stop] for start, stop in itertools.pairwise(offset)]
        columns: dict[str, Any] = {
            name: [row[name] for row in self.rows] for name in ("id", "prototype", "space_group", "split")
        }
        columns |= {
            "formula": [cell_formula(cell) for cell in cells],
            "reduced_formula": [reduced_formula(cell) for cell in cells],
            "n_sites": self.n_sites,
            "lattice": _vectors(_vectors(self.lattice.ravel())),
            "species": pa.ListArray.from_arrays(offset, pa.array(np.array(symbols())[self.atomic_number])),
            "positions": pa.ListArray.from_arrays(offset, _vectors(self.position.ravel())),
            "provenance": [json.dumps(row["provenance"], sort_keys=True) for row in self.rows],
        }
        for name in schema.names:
            if name not in columns and name in self.rows[0]["extra"]:
                columns[name] = [row["extra"][name] for row in self.rows]
        scalar_names = [name for name in schema.names if name not in columns]
        columns |= dict(zip(scalar_names, self.scalars.T, strict=True))
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, type=schema.field(name).type)
            for name, column in ((name, columns[name]) for name in schema.names)
        ]
        return pa.Table.from_arrays(arrays, schema=schema)


def _vectors(values: Any) -> pa.FixedSizeListArray:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(values if isinstance(values, pa.Array) else pa.array(values), 3)


def _blocks(staging: Staging, arrays: dict[str, RawArray], n_materials: int) -> Iterator[_Block]:
    names = ("lattice.bin", "n_sites.bin", "atomic_number.bin", "position.bin", "scalars.npy")
    streams = {name: staging.path(name).open("rb") for name in names}
    rows = staging.path(ROWS).open(encoding="utf-8")
    try:
        streams["scalars.npy"].seek(NPY_HEADER)
        for start in range(0, n_materials, _BLOCK):
            n = min(_BLOCK, n_materials - start)
            n_sites = arrays["n_sites.bin"].read(streams["n_sites.bin"], n)
            atoms = int(n_sites.sum())
            yield _Block(
                rows=[json.loads(next(rows)) for _ in range(n)],
                lattice=arrays["lattice.bin"].read(streams["lattice.bin"], n),
                n_sites=n_sites,
                atomic_number=arrays["atomic_number.bin"].read(streams["atomic_number.bin"], atoms),
                position=arrays["position.bin"].read(streams["position.bin"], atoms),
                scalars=arrays["scalars.npy"].read(streams["scalars.npy"], n),
            )
    finally:
        rows.close()
        for stream in streams.values():
            stream.close()


def plain(value: Any) -> Any:
    """Return numpy values as Python's, and tuples as lists, as JSON reads them back."""

    def listed(thing: object) -> object:
        if isinstance(thing, np.generic | np.ndarray):
            return thing.tolist()
        raise TypeError(f"{type(thing).__name__} is no plain value")

    return json.loads(json.dumps(value, default=listed))


def _entry(path: Path, *, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> FileEntry:
    return FileEntry(file=path.name, sha256=file_hash(path), size=path.stat().st_size, shape=shape, dtype=dtype)
