"""A batch in parts, for a card too small for the whole: same mean, same effective batch."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor

from optiscale.graphs import CrystalBatch

#: a variance needs two crystals (batch norm)
SMALLEST = 2


def split_batch(batch: CrystalBatch, size: int | None) -> list[CrystalBatch]:
    """Cut a batch into nearly equal parts of at least `size` crystals (as few above it as possible), or leave it whole.

    Parameters
    ----------
    batch
        With B crystals.
    size
        Of a part, at least 1; None leaves the batch whole.
    """
    parts = 1 if size is None else max(1, batch.n_crystals // size)
    if parts == 1:
        return [batch]
    bounds = [round(part * batch.n_crystals / parts) for part in range(parts + 1)]
    return [_part(batch, begin, end) for begin, end in itertools.pairwise(bounds)]


def _part(batch: CrystalBatch, begin: int, end: int) -> CrystalBatch:
    atoms, edges, angles = (
        (crystal >= begin) & (crystal < end) for crystal in (batch.crystal, batch.edge_crystal, batch.angle_crystal)
    )

    def rows(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[begin:end]

    return replace(
        batch,
        atomic_number=batch.atomic_number[atoms],
        crystal=batch.crystal[atoms] - begin,
        edge_index=_places(atoms)[batch.edge_index[:, edges]],
        edge_length=batch.edge_length[edges],
        angle_index=_places(edges)[batch.angle_index[:, angles]],
        angle_cos=batch.angle_cos[angles],
        n_crystals=end - begin,
        spectrum=rows(batch.spectrum),
        scalars=rows(batch.scalars),
        index=rows(batch.index),
    )


def _places(kept: Tensor) -> Tensor:
    """Return the new place of each kept row."""
    return torch.cumsum(kept, dim=0) - 1


def smaller(batch_size: int, micro_batch: int | None) -> int | None:
    """Return the next smaller micro-batch, half of the last, or None if there is none."""
    half = (micro_batch or batch_size) // 2
    return half if half >= SMALLEST else None
