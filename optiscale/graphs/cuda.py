"""The gather of a batch on a card: one kernel a kind of rows in place of thirty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from optiscale.graphs.flat import FlatBatch, Links, Rows

if TYPE_CHECKING:
    from optiscale.graphs.merged import MergedGraphs, Shape

_BLOCK = 128
_COLUMNS = 1024  # of a spectrum, a program


@triton.jit
def places_kernel(rows, table, totals, known, start, ptr, present, counts, n_crystals, BLOCK: tl.constexpr):
    """Say where the rows of each crystal begin, in the data set and in the batch, and count them; one program for all.

    `counts` are the crystals, atoms, edges and angles that the batch stands for; padding and merging aside.
    """
    lane = tl.arange(0, BLOCK)
    inside = lane < n_crystals
    row = tl.load(rows + lane, mask=inside, other=-1)
    there = row >= 0
    row = tl.where(there, row, 0)
    tl.store(known + lane, row, mask=inside)
    tl.store(present + lane, there.to(tl.float32), mask=inside)
    tl.store(counts, tl.sum(there.to(tl.float32), 0))
    for kind in tl.static_range(3):
        begin = tl.load(table + row * 3 + kind)
        n_rows = tl.where(there, tl.load(table + row * 3 + 3 + kind) - begin, 0)
        tl.store(start + lane * 3 + kind, begin, mask=inside)
        pointer = ptr + kind * (n_crystals + 1)
        tl.store(pointer + lane, tl.zeros([BLOCK], dtype=tl.int32), mask=lane == 0)
        tl.store(pointer + 1 + lane, tl.cumsum(n_rows, 0).to(tl.int32), mask=inside)
        total = tl.where(there, tl.load(totals + row * 3 + kind), 0.0)
        tl.store(counts + 1 + kind, tl.sum(total, 0))


@triton.jit
def gather_kernel(
    start,
    ptr,
    weight,
    value,
    source,
    target,
    by_source,
    into,
    out_of,
    to_crystal,
    to_weight,
    to_value,
    to_source,
    to_target,
    to_by_source,
    to_into,
    to_out_of,
    n_crystals,
    size,
    KIND: tl.constexpr,
    KINDS: tl.constexpr,
    LINKS: tl.constexpr,
    ENDS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Copy the rows of one crystal; the programs after the crystals fill the padding.

    `LINKS`: the rows connect those of the kind before. `ENDS`: those of the kind after connect them.
    """
    crystal = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    pointers = n_crystals + 1  # of each kind
    if crystal < n_crystals:
        begin = tl.load(start + crystal * KINDS + KIND)
        first = tl.load(ptr + KIND * pointers + crystal)
        end = tl.load(ptr + KIND * pointers + crystal + 1)
        for block in range(first, end, BLOCK):
            place = block + lane
            inside = place < end
            flat = begin + place - first
            tl.store(to_crystal + place, tl.zeros([BLOCK], dtype=tl.int32) + crystal, mask=inside)
            tl.store(to_weight + place, tl.load(weight + flat, mask=inside), mask=inside)
            tl.store(to_value + place, tl.load(value + flat, mask=inside), mask=inside)
            if LINKS:
                row = tl.load(ptr + (KIND - 1) * pointers + crystal)
                tl.store(to_source + place, tl.load(source + flat, mask=inside) + row, mask=inside)
                tl.store(to_target + place, tl.load(target + flat, mask=inside) + row, mask=inside)
                link = tl.load(by_source + flat, mask=inside) + first
                tl.store(to_by_source + place, link, mask=inside)
            if ENDS:
                link_first = tl.load(ptr + (KIND + 1) * pointers + crystal)
                tl.store(to_into + place, tl.load(into + flat, mask=inside) + link_first, mask=inside)
                tl.store(to_out_of + place, tl.load(out_of + flat, mask=inside) + link_first, mask=inside)
    else:
        place = tl.load(ptr + KIND * pointers + n_crystals) + (crystal - n_crystals) * BLOCK + lane
        inside = place < size
        nothing = tl.zeros([BLOCK], dtype=tl.int32)
        tl.store(to_crystal + place, nothing + n_crystals - 1, mask=inside)
        tl.store(to_weight + place, nothing.to(tl.float32), mask=inside)
        tl.store(to_value + place, nothing + 1, mask=inside)
        if LINKS:
            tl.store(to_source + place, nothing, mask=inside)
            tl.store(to_target + place, nothing, mask=inside)
            tl.store(to_by_source + place, nothing, mask=inside)
        if ENDS:
            last = nothing + tl.load(ptr + (KIND + 1) * pointers + n_crystals)
            tl.store(to_into + place, last, mask=place <= size)
            tl.store(to_out_of + place, last, mask=place <= size)


@triton.jit
def take_kernel(source, rows, out, width, BLOCK: tl.constexpr):
    """out[i] = source[rows[i]]; the source may be page-locked memory of the host, which the card reads directly."""
    place = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    value = tl.load(source + tl.load(rows + place) * width + column, mask=inside)
    tl.store(out + place * width + column, value, mask=inside)


def take(source: Tensor, rows: Tensor) -> Tensor:
    """Take rows (B,) of an array (M, ...) on the card or in page-locked memory of the host."""
    out = torch.empty((len(rows), *source.shape[1:]), dtype=source.dtype, device=rows.device)
    width = out[0].numel()
    take_kernel[(len(rows), -(-width // _COLUMNS))](source, rows, out, width, _COLUMNS)
    return out


def gather(graphs: MergedGraphs, rows: Tensor, shape: Shape) -> FlatBatch:
    """Do the gather of `MergedGraphs.gather`."""
    n = len(rows)
    if graphs.totals is None:
        raise ValueError("the graphs are not on a card")
    known, start = torch.empty_like(rows), rows.new_empty(n, 3)
    pointers = torch.empty(3, n + 1, dtype=torch.int32, device=rows.device)
    present, counts = (torch.empty(size, dtype=torch.float32, device=rows.device) for size in (n, 4))
    block = triton.next_power_of_2(n)
    places_kernel[(1,)](rows, graphs.table, graphs.totals, known, start, pointers, present, counts, n, block)
    kinds: list[Any] = [graphs.atom, graphs.edge, *([graphs.angle] if graphs.angle is not None else [])]
    gathered = []
    for place, (kind, size) in enumerate(zip(kinds, shape, strict=False)):
        crystal, source, target, by_source = (pointers.new_empty(size) for _ in range(4))
        into, out_of = (pointers.new_empty(size + 1) for _ in range(2))
        weight = torch.empty(size, dtype=torch.float32, device=rows.device)
        value = torch.empty(size, dtype=kind.value.dtype, device=rows.device)
        links, ends = place > 0, place + 1 < len(kinds)
        own = (kind.source, kind.target, kind.by_source) if links else (kind.value,) * 3
        after = (kinds[place + 1].into, kinds[place + 1].out_of) if ends else (kind.value,) * 2
        grid = (n + -(-(size + 1) // _BLOCK),)
        outputs = (crystal, weight, value, source, target, by_source, into, out_of)
        gather_kernel[grid](
            start, pointers, kind.weight, kind.value, *own, *after, *outputs, n, size, place, 3, links, ends, _BLOCK
        )
        gathered.append(
            (Rows(crystal, pointers[place], weight, counts[place + 1]), value, source, target, by_source, into, out_of)
        )
    atom, edge = gathered[:2]
    bonds = Links(edge[2], edge[3], atom[5], edge[4], atom[6])
    angle = gathered[2] if graphs.angle is not None else edge
    corners = Links(angle[2], angle[3], edge[5], angle[4], edge[6]) if graphs.angle is not None else bonds
    return FlatBatch(
        atomic_number=atom[1],
        edge_length=edge[1],
        angle_cos=angle[1] if graphs.angle is not None else edge[1][:0],
        atoms=atom[0],
        edges=edge[0],
        angles=angle[0],
        bonds=bonds,
        corners=corners,
        crystal_weight=present,
        n_crystals=counts[0],
        spectrum=take(graphs.spectrum, known) if graphs.spectrum is not None else None,
        scalars=graphs.scalars.index_select(0, known),
    )
