"""Records of finished cells: read, checked against the study, and merged into Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from optiscale.config import Study
from optiscale.errors import UserError
from optiscale.io import atomic_save, read_json
from optiscale.training import Cell, cell_hash
from optiscale.training.record import CURVE, RECORD, WEIGHTS

#: a cell with one of these has its result; any other status is tried again by the next `grid`
DONE = ("finished", "diverged")
#: the columns of `runs.parquet`; whole numbers that a lost run lacks are nullable
COLUMNS = {
    **dict.fromkeys(("study", "cell", "model", "message_passing"), "string"),
    **dict.fromkeys(("D", "width", "N", "seed", "subset_seed"), "Int64"),
    **dict.fromkeys(("val_loss", "val_eps_loss", "val_drude_loss"), "float64"),
    **dict.fromkeys(("best_epoch", "best_step", "epochs", "steps"), "Int64"),
    **dict.fromkeys(("train_loss", "lr", "wall_s", "validation_s", "graphs_per_s", "peak_memory_mb"), "float64"),
    **dict.fromkeys(("micro_batch", "attempts", "resumed_from", "at_once"), "Int64"),
    **dict.fromkeys(("validate_every", "device", "host", "versions", "config_hash", "data_hash"), "string"),
    **dict.fromkeys(("git_commit", "recorded_at", "status", "message"), "string"),
}
#: columns of `curves.parquet` that tell its run
_WHOSE = {
    **dict.fromkeys(("cell", "model"), "object"),
    "D": "int64",
    "width": "Int64",
    **dict.fromkeys(("N", "seed", "subset_seed"), "int64"),
}
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


def set_aside_damaged(out: Path) -> list[str]:
    """Rename records, curves and weights that were cut short, so that their cells are run again; say which."""
    found = []
    for folder in sorted(path.parent for path in (out / "cells").glob(f"*/{RECORD}")):
        damaged = next((name for name in (RECORD, CURVE, WEIGHTS) if not _whole(folder / name)), None)
        if damaged is None:
            continue
        found.append(f"{folder / damaged}: damaged; set aside, and the cell is run again")
        for name in dict.fromkeys((RECORD, damaged)):
            (folder / name).replace(folder / f"{name}.damaged")
    return found


def check_whole(folder: Path) -> None:
    """Refuse a cell with a file that was cut short.

    Raises
    ------
    UserError
        That names the file.
    """
    for name in (RECORD, CURVE, WEIGHTS):
        if not _whole(folder / name):
            raise UserError(f"{folder / name}: damaged; run the grid again there, which sets it aside")


def _whole(path: Path) -> bool:
    """Whether a file is readable to its end; Parquet says so at its end, safetensors in its head."""
    if not path.exists():
        return path.name != RECORD
    try:
        if path.name == RECORD:
            read_record(path.parent)
        elif path.name == CURVE:
            pq.read_metadata(path)
        else:
            with safe_open(path, framework="numpy"):
                pass
    except (UserError, pa.ArrowInvalid, SafetensorError):
        return False
    return True


def records_of(cells: Sequence[Cell], out: Path) -> dict[Cell, dict[str, Any]]:
    """Read the records of the cells that have one."""
    folder = out / "cells"
    begun = {one.name for one in os.scandir(folder)} if folder.exists() else set()  # one question, not ten thousand
    found = ((cell, read_record(folder / cell.id)) for cell in cells if cell.id in begun)
    return {cell: record for cell, record in found if record is not None}


def extra_records(study: Study, cells: Sequence[Cell], out: Path, data_hash: str) -> list[dict[str, Any]]:
    """Read the records in a results folder that the grid does not name, such as those of an earlier, larger one.

    Raises
    ------
    UserError
        If one is not of this study: made with another config or another data set.
    """
    known = {cell.id for cell in cells}
    extras = []
    for path in sorted((out / "cells").glob(f"*/{RECORD}")):
        record = read_record(path.parent) if path.parent.name not in known else None
        if record is None:
            continue
        cell = Cell(record["model"], record["width"], record["D"], record["seed"], record["subset_seed"])
        same = cell.model in study.models and record["config_hash"] == cell_hash(study, cell)
        if not same or record["data_hash"] != data_hash:
            raise UserError(f"{path.parent}: of another study; give another --out, or start over with --fresh")
        extras.append(record)
    return extras


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
    runs = pd.DataFrame(list(records)).reindex(columns=list(COLUMNS)).astype(COLUMNS)
    duplicated = runs[runs.duplicated(IDENTITY, keep=False)]
    if len(duplicated):
        raise UserError(f"{out}: {duplicated['cell'].iloc[0]} is recorded twice; keep one of the two folders")
    hashes = runs["data_hash"].unique()
    if len(hashes) > 1:
        raise UserError(f"{out}: records of {len(hashes)} data sets ({', '.join(hashes)}); they make no study together")
    runs = runs.sort_values(IDENTITY, ignore_index=True)
    atomic_save(out / "runs.parquet", lambda stream: runs.to_parquet(stream, index=False))
    curves = _curves(runs, out)
    if len(curves):
        atomic_save(out / "curves.parquet", lambda stream: curves.to_parquet(stream, index=False))
    return runs


def _curves(runs: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Join the learning curves of runs, each row with what tells its run."""
    paths = [out / "cells" / str(cell) / CURVE for cell in runs["cell"]]
    # of ten thousand curves most of the time would go into frames: they are joined before
    tables = {place: _read_table(path) for place, path in enumerate(paths) if path.exists()}
    tables = {place: table for place, table in tables.items() if table.num_rows}
    if not tables:
        return pd.DataFrame()
    places = np.repeat(list(tables), [table.num_rows for table in tables.values()])
    whose = runs.loc[places, list(_WHOSE)].reset_index(drop=True).astype(_WHOSE)
    return pd.concat([pa.concat_tables(tables.values()).to_pandas(), whose], axis=1)


def _read_table(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()
