"""The gather of a batch on a processor: loops compiled by Numba in place of a hundred small operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch import Tensor

from optiscale.graphs.flat import FlatBatch, Links, Rows

if TYPE_CHECKING:
    from optiscale.graphs.merged import MergedGraphs, Shape

_kernel: Callable[..., Any] = numba.njit(cache=True, nogil=True)
Array = np.ndarray[Any, Any]


@_kernel
def _point(rows: Array, offset: Array, ptr: Array) -> None:
    """Say where the rows of each crystal begin in the batch."""
    ptr[0] = 0
    for b in range(len(rows)):
        n_rows = offset[rows[b] + 1] - offset[rows[b]] if rows[b] >= 0 else 0
        ptr[b + 1] = ptr[b] + n_rows


@_kernel
def _take_rows(
    rows: Array,
    offset: Array,
    weight: Array,
    value: Array,
    ptr: Array,
    to_crystal: Array,
    to_weight: Array,
    to_value: Array,
) -> float:
    """Copy the rows of each crystal; return the sum of their weights."""
    total = 0.0
    for b in range(len(rows)):
        first = offset[rows[b]] - ptr[b]
        for i in range(ptr[b], ptr[b + 1]):
            to_crystal[i] = b
            to_weight[i] = weight[first + i]
            to_value[i] = value[first + i]
            total += weight[first + i]
    for i in range(ptr[-1], len(to_crystal)):  # padding
        to_crystal[i] = len(rows) - 1
        to_weight[i] = 0
        to_value[i] = 1
    return total


@_kernel
def _take_links(
    rows: Array,
    offset: Array,
    ptr: Array,
    source: Array,
    target: Array,
    by_source: Array,
    ends_offset: Array,
    ends_ptr: Array,
    into: Array,
    out_of: Array,
    to_source: Array,
    to_target: Array,
    to_by_source: Array,
    to_into: Array,
    to_out_of: Array,
) -> None:
    """Copy the links of each crystal, and where those into and out of its rows begin."""
    for b in range(len(rows)):
        first = offset[rows[b]] - ptr[b]
        for i in range(ptr[b], ptr[b + 1]):
            to_source[i] = source[first + i] + ends_ptr[b]
            to_target[i] = target[first + i] + ends_ptr[b]
            to_by_source[i] = by_source[first + i] + ptr[b]
        first = ends_offset[rows[b]] - ends_ptr[b]
        for i in range(ends_ptr[b], ends_ptr[b + 1]):
            to_into[i] = into[first + i] + ptr[b]
            to_out_of[i] = out_of[first + i] + ptr[b]
    for i in range(ptr[-1], len(to_source)):  # padding
        to_source[i] = to_target[i] = to_by_source[i] = 0
    for i in range(ends_ptr[-1], len(to_into)):
        to_into[i] = to_out_of[i] = ptr[-1]


@_kernel
def _order(
    source: Array, target: Array, offset: Array, ends: Array, by_source: Array, into: Array, out_of: Array
) -> None:
    """Count the links into and out of each row, then deal the links out to their sources, in their order."""
    into[:] = 0
    out_of[:] = 0
    for m in range(len(offset) - 1):
        first, row = offset[m], ends[m]
        for k in range(first, offset[m + 1]):
            into[row + target[k]] += 1
            out_of[row + source[k]] += 1
        before_into = before_out = 0
        for i in range(row, ends[m + 1]):
            before_into, into[i] = before_into + into[i], before_into
            before_out, out_of[i] = before_out + out_of[i], before_out
        for k in range(first, offset[m + 1]):
            place = row + source[k]
            by_source[first + out_of[place]] = k - first
            out_of[place] += 1
        for i in range(ends[m + 1] - 1, row, -1):  # each stands where the next one begins
            out_of[i] = out_of[i - 1]
        if ends[m + 1] > row:
            out_of[row] = 0


def orders(source: Tensor, target: Tensor, offset: Tensor, ends: Tensor) -> list[Tensor]:
    """Do `MergedGraphs._orders` on a processor."""
    rows = int(ends[-1])
    found = [np.empty(n, dtype=np.int32) for n in (len(source), rows, rows)]
    _order(*(tensor.numpy() for tensor in (source, target, offset, ends)), *found)
    return _tensors(*found)


class _Taken:
    """The rows of one kind in a batch, with `kind` as `MergedGraphs` has it."""

    def __init__(self, kind: Any, rows: Array, size: int) -> None:
        self.kind, self.batch = kind, rows
        self.offset = kind.offset.numpy()
        self.ptr = np.empty(len(rows) + 1, dtype=np.int64)
        _point(rows, self.offset, self.ptr)
        weight, value = kind.weight.numpy(), kind.value.numpy()
        crystal, to_weight, to_value = (
            np.empty(size, np.int64),
            np.empty(size, weight.dtype),
            np.empty(size, value.dtype),
        )
        n = _take_rows(rows, self.offset, weight, value, self.ptr, crystal, to_weight, to_value)
        placed, ptr, weights = _tensors(crystal, self.ptr, to_weight)
        self.rows = Rows(placed, ptr, weights, torch.tensor(n, dtype=torch.float32))
        self.value = torch.from_numpy(to_value)

    def links(self, ends: _Taken) -> Links:
        """Return the rows as links between the rows `ends`."""
        size, n_ends = len(self.value), len(ends.value) + 1
        stored = [getattr(self.kind, name).numpy() for name in ("source", "target", "by_source", "into", "out_of")]
        found = [np.empty(n, dtype=np.int64) for n in (size, size, size, n_ends, n_ends)]
        _take_links(self.batch, self.offset, self.ptr, *stored[:3], ends.offset, ends.ptr, *stored[3:], *found)
        source, target, by_source, into, out_of = _tensors(*found)
        return Links(source, target, into, by_source, out_of)


def gather(graphs: MergedGraphs, rows: Tensor, shape: Shape) -> FlatBatch:
    """Do `MergedGraphs.gather` on a processor."""
    places = rows.numpy()
    atom, edge = _Taken(graphs.atom, places, shape.atoms), _Taken(graphs.edge, places, shape.edges)
    angle = _Taken(graphs.angle, places, shape.angles) if graphs.angle is not None else None
    bonds = edge.links(atom)
    known, present = rows.clamp(min=0), (rows >= 0).to(torch.float32)
    return FlatBatch(
        atomic_number=atom.value,
        edge_length=edge.value,
        angle_cos=edge.value[:0] if angle is None else angle.value,
        atoms=atom.rows,
        edges=edge.rows,
        angles=edge.rows if angle is None else angle.rows,
        bonds=bonds,
        corners=bonds if angle is None else angle.links(edge),
        crystal_weight=present,
        n_crystals=present.sum(),
        spectrum=graphs.spectrum[known] if graphs.spectrum is not None else None,
        scalars=graphs.scalars[known],
    )


def _tensors(*arrays: Array) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]
