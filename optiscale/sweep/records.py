"""Records of finished cells: read, checked against the study, and merged into Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import pandas as pd

from optiscale.config import Study
from optiscale.errors import UserError
from optiscale.io import atomic_save, read_json
from optiscale.training import Cell, cell_hash
from optiscale.training.record import RECORD
from optiscale.training.run import CURVE

#: a cell with one of these has its result; any other status is tried again by the next `grid`
DONE = ("finished", "diverged")
IDENTITY = ["model", "width", "D", "seed", "subset_seed"]


def cell_folder(out: Path, cell: Cell) -> Path:
    """Return the folder of a cell."""
    return out / "cells" / cell.id


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a cell, or None if it has none yet.

    Raises
    ------
    UserError
        If the file is there but damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = read_json(path)
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove the folder {folder} and run the grid again") from error
    if not isinstance(record, dict) or "status" not in record:
        raise UserError(f"{path}: not a record of a run; remove the folder {folder} and run the grid again")
    return record


def records_of(study: Study, cells: Sequence[Cell], out: Path, data_hash: str) -> dict[Cell, dict[str, Any]]:
    """Read the records of the cells that have one, each checked against the study and the data set.

    Raises
    ------
    UserError
        If a record was made with another config or another data set.
    """
    records: dict[Cell, dict[str, Any]] = {}
    for cell in cells:
        record = read_record(cell_folder(out, cell))
        if record is None:
            continue
        if record["config_hash"] != cell_hash(study, cell):
            raise UserError(
                f"{cell_folder(out, cell)}: made with another config ({record['config_hash']}, now "
                f"{cell_hash(study, cell)}); give another --out, or start over with --fresh"
            )
        if record["data_hash"] != data_hash:
            raise UserError(
                f"{cell_folder(out, cell)}: made with another data set ({record['data_hash']}, now {data_hash}); "
                "give another --out, or start over with --fresh"
            )
        records[cell] = record
    return records


def merge(records: Sequence[dict[str, Any]], out: Path) -> pd.DataFrame:
    """Write `runs.parquet` and `curves.parquet` from the records of a study.

    Returns
    -------
    DataFrame
        One row a run.

    Raises
    ------
    UserError
        If two records are of the same cell, or they belong to more than one data set.
    """
    runs = pd.DataFrame(list(records))
    duplicated = runs[runs.duplicated(IDENTITY, keep=False)]
    if len(duplicated):
        raise UserError(f"{out}: {duplicated['cell'].iloc[0]} is recorded twice; keep one of the two folders")
    hashes = runs["data_hash"].unique()
    if len(hashes) > 1:
        raise UserError(f"{out}: records of {len(hashes)} data sets ({', '.join(hashes)}); they make no study together")
    runs["width"] = runs["width"].astype("Int64")
    runs = runs.sort_values(IDENTITY, ignore_index=True)
    columns = ["cell", "model", "D", "width", "N", "seed"]
    curves = [
        pd.read_parquet(path).assign(**{name: record[name] for name in columns})
        for record in records
        if (path := out / "cells" / str(record["cell"]) / CURVE).exists()
    ]
    atomic_save(out / "runs.parquet", lambda stream: runs.to_parquet(stream, index=False))
    if curves:
        table = pd.concat(curves, ignore_index=True)
        table["width"] = table["width"].astype("Int64")
        atomic_save(out / "curves.parquet", lambda stream: table.to_parquet(stream, index=False))
    return runs
