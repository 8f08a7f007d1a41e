"""A batch of crystals with everything that a pass over its rows needs: segments, orders by source, weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from optiscale.graphs.batch import CrystalBatch


class Rows(NamedTuple):
    """Rows that belong to crystals: atoms, edges or angles, joined crystal by crystal.

    Attributes
    ----------
    crystal
        (n,) the crystal of each row, ascending; of a padding row any.
    ptr
        (B + 1,) the rows of crystal b are ptr[b] to ptr[b + 1]; padding rows come after ptr[B].
    weight
        (n,) float32, how often a row counts: 1, or 0 for padding; None if there is no padding.
    n
        () float32, sum of the weights.
    """

    crystal: Tensor
    ptr: Tensor
    weight: Tensor | None
    n: Tensor


class Links(NamedTuple):
    """Links from source rows to target rows, sorted by target; L links between n rows.

    Attributes
    ----------
    source, target
        (L,) rows.
    ptr
        (n + 1,) the links into row i are ptr[i] to ptr[i + 1]; padding links come after ptr[n].
    by_source
        (L,) the links in ascending order of their sources.
    source_ptr
        (n + 1,) the links out of row i are by_source[source_ptr[i]:source_ptr[i + 1]].
    """

    source: Tensor
    target: Tensor
    ptr: Tensor
    by_source: Tensor
    source_ptr: Tensor


class FlatBatch(NamedTuple):
    """B crystals, A atoms, E edges and T angles, padding included; see `CrystalBatch` for the plain form.

    Attributes
    ----------
    atomic_number
        (A,)
    edge_length
        (E,) float32, Å.
    angle_cos
        (T,) float32.
    atoms, edges, angles
        Their crystals.
    bonds
        The edges as links between atoms.
    corners
        The angles as links between edges.
    crystal_weight
        (B,) float32, 1 for a crystal and 0 for padding.
    n_crystals
        () float32.
    spectrum
        (B, n_omega, C) float32 or None.
    scalars
        (B, S) float32 or None.
    """

    atomic_number: Tensor
    edge_length: Tensor
    angle_cos: Tensor
    atoms: Rows
    edges: Rows
    angles: Rows
    bonds: Links
    corners: Links
    crystal_weight: Tensor
    n_crystals: Tensor
    spectrum: Tensor | None
    scalars: Tensor | None


def pointers(sorted_rows: Tensor, n: int) -> Tensor:
    """Return (n + 1,) where each of n segments starts in ascending row numbers (L,); numbers from n on are padding."""
    return torch.searchsorted(sorted_rows, torch.arange(n + 1, device=sorted_rows.device, dtype=sorted_rows.dtype))


def links(source: Tensor, target: Tensor, n: int) -> Links:
    """Return the links between n rows; `target` (L,) is ascending."""
    by_source = torch.argsort(source, stable=True)
    return Links(source, target, pointers(target, n), by_source, pointers(source[by_source], n))


def rows_of_crystals(crystal: Tensor, n_crystals: int) -> Rows:
    """Return rows (n,) without padding."""
    count = torch.tensor(float(len(crystal)), device=crystal.device)
    return Rows(crystal, pointers(crystal, n_crystals), None, count)


def flatten(batch: CrystalBatch) -> FlatBatch:
    """Return a batch in its flat form, without padding."""
    n_atoms, n_edges = len(batch.atomic_number), len(batch.edge_length)
    edge_crystal = batch.edge_crystal
    return FlatBatch(
        atomic_number=batch.atomic_number,
        edge_length=batch.edge_length,
        angle_cos=batch.angle_cos,
        atoms=rows_of_crystals(batch.crystal, batch.n_crystals),
        edges=rows_of_crystals(edge_crystal, batch.n_crystals),
        angles=rows_of_crystals(edge_crystal[batch.angle_index[0]], batch.n_crystals),
        bonds=links(batch.edge_index[0], batch.edge_index[1], n_atoms),
        corners=links(batch.angle_index[0], batch.angle_index[1], n_edges),
        crystal_weight=torch.ones(batch.n_crystals, device=batch.crystal.device),
        n_crystals=torch.tensor(float(batch.n_crystals), device=batch.crystal.device),
        spectrum=batch.spectrum,
        scalars=batch.scalars,
    )
