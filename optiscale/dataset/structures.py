"""The structures of all materials, from the list columns of materials.parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optiscale.dataset.formula import symbols
from optiscale.dataset.schema import STRUCTURE_COLUMNS
from optiscale.errors import UserError


@dataclass(frozen=True)
class Structures:
    """M crystals with A atoms in all.

    Attributes
    ----------
    lattice
        (M, 3, 3) float64, Å, rows are the lattice vectors.
    site_offset
        (M + 1,) int64, first atom of each material.
    atomic_number
        (A,) uint8.
    position
        (A, 3) float64, Å, Cartesian.
    """

    lattice: np.ndarray
    site_offset: np.ndarray
    atomic_number: np.ndarray
    position: np.ndarray


def read_structures(path: Path) -> Structures:
    """Read the structures through the columns' flat buffers, without a loop over materials.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(STRUCTURE_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable ({reason}); remove the folder and build the set again") from error
    lattice, species, positions = (table.column(name).combine_chunks() for name in STRUCTURE_COLUMNS)
    counts = np.diff(_whole(species).offsets.to_numpy())
    return Structures(
        lattice=_flat(_flat_list(_flat_list(lattice))).reshape(-1, 3, 3),
        site_offset=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        atomic_number=_numbers(_flat_list(species)),
        position=_flat(_flat_list(_flat_list(positions))).reshape(-1, 3),
    )


def _whole(column: Any) -> Any:
    """Return one array of a column; older pyarrow keeps the chunks of a combined column."""
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _flat_list(column: Any) -> Any:
    return _whole(column).flatten()


def _flat(column: Any) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)


def _numbers(species: Any) -> np.ndarray:
    coded = species.dictionary_encode()
    number_of = {symbol: number for number, symbol in enumerate(symbols())}
    numbers = np.array([number_of[symbol] for symbol in coded.dictionary.to_pylist()], dtype=np.uint8)
    return numbers[coded.indices.to_numpy()]
