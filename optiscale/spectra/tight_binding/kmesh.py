"""Meshes in reciprocal space: density, offset and the points that symmetry leaves.

A mesh has N_i divisions along each reciprocal vector b_i, with |b_i| / N_i at most the asked spacing; axes that a
rotation mixes get the same N_i. It is offset by half a division along as many axes as the rotations allow: an offset
mesh converges faster, but one that a rotation does not map onto itself has no symmetry left to use. Hexagonal lattices
thus shift along c only, primitive face-centred ones not at all.

The response that is summed over a mesh is the average over directions, which every rotation leaves unchanged: one point
of each star is enough.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

# Most shifted axes first.
_OFFSETS: list[tuple[int, int, int]] = sorted(
    ((a, b, c) for a, b, c in itertools.product((0, 1), repeat=3)), key=lambda offset: (-sum(offset), offset)
)


class Mesh(NamedTuple):
    """Points of a mesh that stand for all of them.

    Attributes
    ----------
    points
        (K, 3) in units of the reciprocal vectors.
    weights
        (K,), their sum is 1.
    divisions
        Of the whole mesh along each reciprocal vector.
    """

    points: np.ndarray
    weights: np.ndarray
    divisions: tuple[int, int, int]


def mesh_divisions(lattice: np.ndarray, rotations: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Return the divisions of a mesh that is at least as dense as asked.

    Parameters
    ----------
    lattice
        (3, 3) Å, rows are the lattice vectors.
    rotations
        (G, 3, 3) integers, the rotations of the space group on fractional coordinates (columns).
    spacing
        Largest distance between neighbouring points along a reciprocal vector, 1/Å (with the factor 2 pi).

    Returns
    -------
    tuple of int
        N_1, N_2, N_3; equal for axes that a rotation mixes.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(lattice)  # columns are b_i
    wanted = np.ceil(np.linalg.norm(reciprocal, axis=0) / spacing - 1e-9).astype(int).clip(min=1)
    mixed = (np.asarray(rotations) != 0).any(axis=0) | np.eye(3, dtype=bool)
    mixed = np.linalg.matrix_power((mixed | mixed.T).astype(int), 3) > 0
    first, second, third = (int(wanted[row].max()) for row in mixed)
    return first, second, third


def mesh_offset(divisions: tuple[int, int, int], rotations: np.ndarray) -> tuple[int, int, int]:
    """Return 1 for each axis along which the mesh is offset by half a division, 0 for the others."""
    grid_rotations = _grid_rotations(divisions, rotations)
    for offset in _OFFSETS:
        if not ((grid_rotations @ np.asarray(offset) - offset) % 2).any():
            return offset
    raise AssertionError("a mesh without an offset suits every rotation")


def irreducible_points(divisions: tuple[int, int, int], rotations: np.ndarray) -> Mesh:
    """Return one point of each star of the mesh, and the star's share of the mesh.

    Parameters
    ----------
    divisions
        From `mesh_divisions` with the same rotations.
    rotations
        (G, 3, 3) integers; time reversal is added.

    Returns
    -------
    Mesh
    """
    offset = np.asarray(mesh_offset(divisions, rotations))
    size = np.asarray(divisions)
    grid = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), axis=-1).reshape(-1, 3)
    doubled = 2 * grid + offset  # in half divisions: integers for every offset
    stride = np.asarray([size[1] * size[2], size[2], 1])
    smallest = np.arange(len(grid))
    for rotation in np.unique(np.concatenate([(r := _grid_rotations(divisions, rotations)), -r]), axis=0):
        image = ((doubled @ rotation.T - offset) // 2) % size
        np.minimum(smallest, image @ stride, out=smallest)
    chosen, counts = np.unique(smallest, return_counts=True)
    return Mesh(doubled[chosen] / (2 * size), counts / len(grid), divisions)


def _grid_rotations(divisions: tuple[int, int, int], rotations: np.ndarray) -> np.ndarray:
    """(G, 3, 3) integers: the rotations on mesh indices, q_i -> sum_j N_i W_ji q_j / N_j."""
    size = np.asarray(divisions)
    scaled = np.swapaxes(rotations, 1, 2) * size[:, None]
    if (scaled % size).any():
        raise ValueError(f"mesh {divisions} does not suit the rotations; take it from mesh_divisions")
    return scaled // size
