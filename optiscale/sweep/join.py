"""Results of one study from several machines, joined strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from optiscale.config import RESOLVED, Study, load_study, parse_study, save_study
from optiscale.errors import UserError
from optiscale.sweep.changes import copy_cell, differences
from optiscale.sweep.plan import cells_of
from optiscale.sweep.records import DONE, cell_folder, check_whole, merge, read_record
from optiscale.training import Cell, cell_hash
from optiscale.training.record import RECORD


@dataclass(frozen=True)
class Joined:
    """What came of a merge.

    Attributes
    ----------
    study
        With the cells of all folders.
    runs
        One row a run, as in `runs.parquet`.
    missing
        Cells that a folder's grid names and that have no result yet.
    """

    study: Study
    runs: pd.DataFrame
    missing: list[Cell]


def join(folders: Sequence[Path], out: Path) -> Joined:
    """Join the results folders of one study into a new one.

    Every record must be whole, of the same config and the same data set, of a cell that its folder's grid names, and
    stand in one folder only.

    Parameters
    ----------
    folders
        Results folders, each with its `resolved.yaml`.
    out
        A new folder.

    Raises
    ------
    UserError
        If something does not fit; then nothing is written.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: not empty; name a new folder with --out")
    studies = {folder: _study_of(folder) for folder in folders}
    first = next(iter(studies))
    for folder, study in studies.items():
        if changed := differences(studies[first], study, but=("data.source",)):
            raise UserError(f"{folder}: not the study of {first}: {changed[0]}; merge folders of one study")
    joined = _union(list(studies.values()))
    found: dict[Cell, Path] = {}
    hashes: dict[str, Path] = {}
    for folder, study in studies.items():
        for cell, record in _records(folder, study).items():
            if cell in found:
                raise UserError(f"{folder}: {cell.id} has its record in {found[cell]}, too; keep one of the two")
            found[cell] = folder
            hashes.setdefault(record["data_hash"], folder)
    if len(hashes) > 1:
        (one, a), (two, b) = list(hashes.items())[:2]
        raise UserError(f"{b}: data set {two}, but {a} has {one}; they make no study together")
    for cell, folder in found.items():
        copy_cell(cell_folder(folder, cell), cell_folder(out, cell))
    save_study(joined, out / RESOLVED)
    records = {cell: read_record(cell_folder(out, cell)) for cell in found}
    runs = merge([record for record in records.values() if record is not None], out)
    done = {cell for cell, record in records.items() if record is not None and record["status"] in DONE}
    return Joined(joined, runs, [cell for cell in cells_of(joined) if cell not in done])


def _study_of(folder: Path) -> Study:
    if not (folder / RESOLVED).exists():
        raise UserError(f"{folder}: no results folder ({RESOLVED} is missing)")
    return load_study(folder / RESOLVED)


def _records(folder: Path, study: Study) -> dict[Cell, dict[str, Any]]:
    """Read all records of a folder; each must be of its study."""
    known = {cell.id: cell for cell in cells_of(study)}
    records = {}
    for path in sorted((folder / "cells").glob(f"*/{RECORD}")):
        cell = known.get(path.parent.name)
        if cell is None:
            raise UserError(f"{path.parent}: not a cell of the grid in {folder / RESOLVED}; remove it or name it there")
        check_whole(path.parent)
        record = read_record(path.parent)
        if record is None or record["config_hash"] != cell_hash(study, cell):
            raise UserError(f"{path.parent}: made with another config than {folder / RESOLVED}; run the grid again")
        records[cell] = record
    return records


def _union(studies: Sequence[Study]) -> Study:
    """Return the study with the cells of all, a block for each model, width and D."""
    seeds: dict[tuple[str, int | None, int], set[int]] = {}
    subset_seeds = {seed for study in studies for seed in study.data.subset.seeds}
    for cell in (cell for study in studies for cell in cells_of(study)):
        seeds.setdefault((cell.model, cell.width, cell.D), set()).add(cell.seed)
    content = studies[0].resolved()
    for study in studies:
        content["models"] = {**study.resolved()["models"], **content["models"]}
    content["data"]["subset"]["seeds"] = sorted(subset_seeds)
    forests = {name for study in studies for block in study.grid if block.trees for name in [block.model]}
    content["grid"] = [
        {
            "model": model,
            ("trees" if model in forests else "widths"): [width],
            "data_sizes": [D],
            "seeds": sorted(values),
        }
        for (model, width, D), values in seeds.items()
    ]
    return parse_study(content, origin="merge")
