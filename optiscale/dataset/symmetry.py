"""Space groups of materials whose source does not tell them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np

SYMPREC = 0.01
"""Å."""
_MANY = 512
_PART = 64


class Crystal(Protocol):
    """What the space group of a crystal is found from, or its number where it is known."""

    @property
    def lattice(self) -> np.ndarray: ...  # noqa: D102
    @property
    def atomic_number(self) -> np.ndarray: ...  # noqa: D102
    @property
    def position(self) -> np.ndarray: ...  # noqa: D102
    @property
    def space_group(self) -> int | None: ...  # noqa: D102


def space_groups(crystals: Sequence[Crystal]) -> list[int | None]:
    """Return the international numbers, found with spglib where a crystal does not tell."""
    cells = [
        (crystal.lattice, crystal.atomic_number, crystal.position)
        for crystal in crystals
        if crystal.space_group is None
    ]
    found = iter(_find_all(cells))
    return [next(found) if crystal.space_group is None else int(crystal.space_group) for crystal in crystals]


def _find_all(cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[int | None]:
    """Use all cores where the cells are many: a symmetric one takes milliseconds, and spglib holds Python's lock."""
    if len(cells) < _MANY:
        return _find_some(cells)
    import joblib

    parts = [cells[start : start + _PART] for start in range(0, len(cells), _PART)]
    found = joblib.Parallel(n_jobs=-1, max_nbytes=None)(joblib.delayed(_find_some)(part) for part in parts)
    return [number for part in found for number in part]


def _find_some(cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[int | None]:
    with warnings.catch_warnings():
        # versions 2.7 and 2.8 announce that they will raise where they return None: both are met below
        warnings.simplefilter("ignore", DeprecationWarning)
        return [find_space_group(*cell) for cell in cells]


def find_space_group(lattice: np.ndarray, atomic_number: np.ndarray, position: np.ndarray) -> int | None:
    """Return the international number of a crystal within `SYMPREC`; None where spglib finds none (overlapping atoms).

    Parameters
    ----------
    lattice
        (3, 3) Å, rows are the lattice vectors.
    atomic_number
        (n,).
    position
        (n, 3) Å, Cartesian.
    """
    import spglib

    scaled = np.linalg.solve(np.asarray(lattice).T, np.asarray(position).T).T
    try:
        found = spglib.get_symmetry_dataset((lattice, scaled, atomic_number), symprec=SYMPREC)
    except getattr(spglib, "SpglibError", ()):  # what versions after 2.8 raise where older ones return None
        return None
    return int(found.number) if found is not None else None
