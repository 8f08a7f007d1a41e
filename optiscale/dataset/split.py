"""Who trains, who validates, who tests: splits by composition and nested subsets of size D."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import pandas as pd

from optiscale.errors import UserError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


def split_by_composition(
    formulas: pd.Series, *, fractions: tuple[float, float, float], seed: int
) -> dict[Part, np.ndarray]:
    """Split rows so that no reduced composition is in two parts.

    The compositions are ordered by a hash of their name and the seed and cut at the fractions, so that the same
    composition falls into the same part in nearly every version of a growing data set (Großmann et al.,
    arXiv:2602.05702, split by unique reduced composition 80/10/10).

    Parameters
    ----------
    formulas
        (M,) reduced formulas.
    fractions
        Train, validation, test; they sum to one.
    seed
        Of the order.

    Returns
    -------
    dict
        Rows (int64, ascending) of "train", "validation" and "test".
    """
    unique = sorted(set(formulas), key=lambda formula: hashlib.sha256(f"{seed}:{formula}".encode()).digest())
    bounds = np.round(np.cumsum(fractions) * len(unique)).astype(int)
    part_of = dict(zip(unique, np.searchsorted(bounds, np.arange(len(unique)), side="right"), strict=True))
    codes = formulas.map(part_of).to_numpy()
    return {part: np.flatnonzero(codes == code) for code, part in enumerate(PARTS)}


def split_as_given(materials: pd.DataFrame) -> dict[Part, np.ndarray]:
    """Split rows by the data set's own `split` column ("train", "validation", "test").

    Raises
    ------
    UserError
        If the data set carries no split, a part has another name, or a composition is in two parts.
    """
    if "split" not in materials or materials["split"].isna().any():
        raise UserError("data.split is 'given' but the data set carries no split; give fractions and a seed instead")
    unknown = sorted(set(materials["split"]) - set(PARTS))
    if unknown:
        raise UserError(f"data.split: the data set calls a part {unknown[0]!r}; it must be one of {', '.join(PARTS)}")
    parts_of = materials.groupby("reduced_formula")["split"].nunique()
    if (parts_of > 1).any():
        formula = parts_of.index[parts_of > 1][0]
        raise UserError(
            f"data.split: {formula} is in {parts_of[formula]} parts of the data set; give fractions instead"
        )
    return {part: np.flatnonzero((materials["split"] == part).to_numpy()) for part in PARTS}


def nested_order(rows: np.ndarray, *, seed: int, strata: np.ndarray | None = None) -> np.ndarray:
    """Order `rows` so that the subset of size D is the first D: every subset holds all smaller ones.

    Parameters
    ----------
    rows
        (n,) rows of the training part.
    seed
        The subset seed: one permutation a seed.
    strata
        (n,) a label a row (the site count): each prefix then has the labels in the proportions of the whole, to
        within one row a label.

    Returns
    -------
    ndarray
        (n,) a permutation of `rows`.
    """
    rng = np.random.default_rng([seed, 0x0D5])  # a stream of its own, apart from the training seeds
    permuted = rng.permutation(len(rows))
    if strata is None:
        return rows[permuted]
    labels = np.asarray(strata)[permuted]
    position = np.empty(len(rows))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[members] = (np.arange(len(members)) + rng.uniform(0, 1)) / len(members)
    return rows[permuted[np.argsort(position, kind="stable")]]
