"""The cells of a study, and what is known of each before any training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from optiscale.config import Study
from optiscale.datamodule import rows_of, subset_rows
from optiscale.dataset import Manifest, OpticalDataset
from optiscale.errors import UserError
from optiscale.networks import check_elements
from optiscale.training import Cell, parameters_of, target_spec


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its parameter count N."""

    cell: Cell
    N: int


def cells_of(study: Study) -> Iterator[Cell]:
    """Yield the cells of a study, block by block, small ones first.

    Raises
    ------
    UserError
        If two blocks name the same cell.
    """
    seen: set[Cell] = set()
    for block in study.grid:
        subset_seeds = study.data.subset.seeds
        for width, D, subset_seed, seed in product(block.capacities, block.data_sizes, subset_seeds, block.seeds):
            cell = Cell(block.model, width, D, seed, subset_seed)
            if cell in seen:
                raise UserError(f"grid: {cell.id} is named by two blocks; name each cell once")
            seen.add(cell)
            yield cell


def plan(study: Study, manifest: Manifest) -> list[PlannedCell]:
    """List the cells of a study with N of each; builds every network once, without weights.

    Raises
    ------
    UserError
        If a network cannot be built or the data set lacks a target.
    """
    counts: dict[tuple[str, int | None], int] = {}
    planned = []
    for cell in cells_of(study):
        key = (cell.model, cell.width)
        if key not in counts:
            counts[key] = parameters_of(study, cell, target_spec(study.models[cell.model], manifest))
        planned.append(PlannedCell(cell, counts[key]))
    return planned


def has_networks(study: Study, cells: Iterable[Cell]) -> bool:
    """Whether any of the cells is a network, which reads graphs; the others are baselines."""
    return any(study.models[cell.model].baseline is None for cell in cells)


def check_data(study: Study, dataset: OpticalDataset, cells: list[Cell]) -> None:
    """Refuse what would fail later: too few materials for D, targets that are not finite.

    Raises
    ------
    UserError
        In one line, before any training.
    """
    parts = rows_of(dataset, study.data)
    for D in sorted({cell.D for cell in cells}, reverse=True)[:1]:
        subset_rows(dataset, parts["train"], D=D, subset_seed=0, stratify="none")
    for rows in parts.values():
        dataset.check_targets(rows)
    if has_networks(study, cells):
        check_elements(np.unique(dataset.atomic_number))
