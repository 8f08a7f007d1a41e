"""Which materials a run learns from and is judged on: the split, the nested subset of size D, and how many batches."""

from __future__ import annotations

import numpy as np

from optiscale.config.study import Data
from optiscale.dataset import OpticalDataset, nested_order, split_as_given, split_by_composition
from optiscale.dataset.split import Part
from optiscale.errors import UserError


def rows_of(dataset: OpticalDataset, data: Data) -> dict[Part, np.ndarray]:
    """Return the rows of each part of the split that a study asks for.

    Raises
    ------
    UserError
        If the training or the validation part is empty.
    """
    if data.split.given:
        parts = split_as_given(dataset.materials)
    else:
        formulas = dataset.materials["reduced_formula"]
        parts = split_by_composition(formulas, fractions=data.split.fractions, seed=data.split.seed)
    for part in ("train", "validation"):
        if len(parts[part]) == 0:
            raise UserError(
                f"data.split: the {part} part of {dataset.folder} is empty ({len(dataset)} materials); "
                f"raise its fraction or take a larger data set"
            )
    return parts


def subset_rows(
    dataset: OpticalDataset, train_rows: np.ndarray, *, D: int, subset_seed: int, stratify: str
) -> np.ndarray:
    """Return the training rows of the subset of size D; a smaller D gives a prefix of a larger one.

    Raises
    ------
    UserError
        If the training part has fewer than D materials.
    """
    if len(train_rows) < D:
        raise UserError(
            f"data_sizes: D = {D}, but the training part of {dataset.folder} has {len(train_rows)} materials "
            f"(of {len(dataset)}); lower D or take a larger data set"
        )
    strata = dataset.n_sites[train_rows] if stratify == "n_sites" else None
    return nested_order(train_rows, seed=subset_seed, strata=strata)[:D]


def batches_an_epoch(D: int, batch_size: int) -> int:
    """Return the number of training batches; a last batch of one crystal joins the one before."""
    full, rest = divmod(D, batch_size)
    return max(1, full + (rest > 1))
