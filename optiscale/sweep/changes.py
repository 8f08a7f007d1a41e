"""A study that is not the one in its folder: what differs, and how both are kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optiscale.config import RESOLVED, Study, load_study
from optiscale.errors import UserError
from optiscale.sweep.records import cell_folder, read_record
from optiscale.training import Cell, cell_hash
from optiscale.training.record import RECORD

#: fields that say nothing about the result of a cell; the shared training is in every model's
_NO_MATTER = {"name", "description", "grid", "sweep", "output", "training"}
_GRID_OF_SUBSETS = "data.subset.seeds"
_SHOWN = 3


def differences(before: Study, now: Study, *, but: Container[str] = ()) -> list[str]:
    """Say which fields that can change a result differ between two studies, one phrase each.

    Parameters
    ----------
    before, now
        The studies.
    but
        Fields that may differ, such as "data.source" where the hash of the data decides.
    """
    old, new = (dict(_leaves(study.model_dump(mode="json", exclude=_NO_MATTER), "")) for study in (before, now))
    models = {f"models.{name}." for name in before.models.keys() ^ now.models.keys()}  # new ones disturb nobody
    names = [name for name in sorted(old.keys() | new.keys()) if not any(name.startswith(model) for model in models)]
    changed = [name for name in names if old.get(name) != new.get(name) and name not in but]
    return [f"{name} was {old.get(name)}, is {new.get(name)}" for name in changed if name != _GRID_OF_SUBSETS]


def check_unchanged(study: Study, records: Mapping[Cell, dict[str, Any]], out: Path, data_hash: str) -> None:
    """Refuse to mix results of two configs or two data sets in one folder.

    Raises
    ------
    UserError
        With what differs.
    """
    for cell, record in records.items():
        if record["data_hash"] != data_hash:
            changed = f"data set ({record['data_hash']}, now {data_hash})"
        elif record["config_hash"] != cell_hash(study, cell):
            changed = f"config ({record['config_hash']}, now {cell_hash(study, cell)})"
        else:
            continue
        raise UserError(
            f"{cell_folder(out, cell)}: made with another {changed}{_shown(study, out)}; keep both with --branch NAME, "
            "give another --out, or start over with --fresh"
        )


def _shown(study: Study, out: Path) -> str:
    """Return the differences to the study in a folder, after a colon."""
    if not (out / RESOLVED).exists():
        return ""
    found = differences(load_study(out / RESOLVED), study)
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f": {', '.join(found[:_SHOWN])}{more}" if found else ""


def branch(study: Study, cells: Sequence[Cell], out: Path, name: str, data_hash: str) -> Path:
    """Give a changed study a folder of its own, beside the one of the study, with the results that still hold.

    Returns
    -------
    Path
        The folder; made, or grown, if need be.

    Raises
    ------
    UserError
        If `name` is no name for a folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--branch {name}: no name of a folder; use letters, digits, dots and dashes")
    folder = out.with_name(f"{out.name}-{name}")
    for cell in cells:
        record = read_record(cell_folder(out, cell))
        if record is None or (cell_folder(folder, cell) / RECORD).exists():
            continue
        if record["config_hash"] == cell_hash(study, cell) and record["data_hash"] == data_hash:
            copy_cell(cell_folder(out, cell), cell_folder(folder, cell))
    return folder


def copy_cell(source: Path, target: Path) -> None:
    """Copy a cell's folder, its record last: a cell without a record is none."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(RECORD, ".*"), dirs_exist_ok=True)
    shutil.copy2(source / RECORD, target / f".{RECORD}")
    (target / f".{RECORD}").replace(target / RECORD)


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
