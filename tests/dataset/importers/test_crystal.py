"""The check for overlapping atoms, against ase's neighbour list on skew and flat cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from optiscale.dataset.importers.crystal import MAX_LENGTH, MIN_DISTANCE, MIN_VOLUME, Crystal, check_crystal
from optiscale.errors import UserError


def test_overlaps_are_found_through_the_faces_of_skew_and_flat_cells() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        cell = np.diag(rng.uniform(1.5, 4, size=3)) + rng.normal(scale=0.3, size=(3, 3))
        cell[2] *= rng.choice([1.0, 0.15])  # flat: an atom nearly meets its own image
        shear = np.eye(3)
        shear[np.triu_indices(3, 1)] = rng.integers(-1, 2, size=3)
        cell = shear @ cell
        position = rng.random((int(rng.integers(1, 4)), 3)) @ cell
        if abs(np.linalg.det(cell)) / len(position) < MIN_VOLUME:
            continue
        near = neighbor_list("d", Atoms(f"Al{len(position)}", cell=cell, positions=position, pbc=True), MIN_DISTANCE)
        crystal = Crystal(id="x", lattice=cell, atomic_number=np.full(len(position), 13), position=position)
        if len(near):
            refused += 1
            with pytest.raises(UserError, match=f"x: two atoms are {near.min():.3g} Å apart"):
                check_crystal(crystal)
        else:
            check_crystal(crystal)
    assert 10 < refused < 50, "both cases are met"


def test_a_cell_in_another_unit_is_refused() -> None:
    for scale, reason in (
        (1e-10, "the cell has .* an atom, below"),
        (2 * MAX_LENGTH, "a lattice vector is 8e.03 Å long"),
    ):
        crystal = Crystal(
            id="x", lattice=4 * scale * np.eye(3), atomic_number=np.array([13]), position=np.zeros((1, 3))
        )
        with pytest.raises(UserError, match=f"x: {reason}"):
            check_crystal(crystal)
