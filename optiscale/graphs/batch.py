"""What a network reads: many crystals as one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class CrystalBatch:
    """Crystals joined into one graph without edges between them.

    B crystals, A atoms, E edges, T angles (ordered pairs of edges that leave the same atom).

    Attributes
    ----------
    atomic_number
        (A,) int64.
    crystal
        (A,) int64, the crystal of each atom, ascending.
    edge_index
        (2, E) int64, source and target atom, indices into the A atoms.
    edge_length
        (E,) float32, Å.
    angle_index
        (2, T) int64, first and second edge, indices into the E edges.
    angle_cos
        (T,) float32, cosine of the angle between the two edges.
    n_crystals
        B.
    spectrum
        (B, n_omega, C) float32, the true spectra, or None.
    scalars
        (B, S) float32, the true scalar targets, or None.
    index
        (B,) int64, row of each crystal in the data set, or None.
    """

    atomic_number: Tensor
    crystal: Tensor
    edge_index: Tensor
    edge_length: Tensor
    angle_index: Tensor
    angle_cos: Tensor
    n_crystals: int
    spectrum: Tensor | None = None
    scalars: Tensor | None = None
    index: Tensor | None = None

    @property
    def edge_crystal(self) -> Tensor:
        """(E,) int64, the crystal of each edge."""
        return self.crystal[self.edge_index[0]]

    @property
    def angle_crystal(self) -> Tensor:
        """(T,) int64, the crystal of each angle."""
        return self.edge_crystal[self.angle_index[0]]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CrystalBatch:
        """Copy every tensor to `device`; Lightning calls this."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> CrystalBatch:
        """Copy every tensor to pinned host memory; the DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> CrystalBatch:
        """Apply `function` to every tensor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **tensors)
