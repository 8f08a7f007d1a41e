"""Triton kernels over segments of sorted rows: one program a row, which reads its links one after the other.

Links are sorted by their target, so that no two programs write to one row: no atomic operations, the same result in
every run. Sums over the links out of a row go through the order by source.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def segment_kernel(x, ptr, out, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr, LARGEST: tl.constexpr):
    """out[i] = sum of x[ptr[i]:ptr[i + 1]], or the largest of them."""
    segment = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    start = tl.load(ptr + segment)
    end = tl.load(ptr + segment + 1)
    nothing = -3.4028234663852886e38 if LARGEST else 0.0  # the least number in float32
    found = tl.full([COLUMNS], nothing, dtype=tl.float32)
    for first in range(start, end, ROWS):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        inside = (row < end)[:, None] & (column < width)[None, :]
        rows = tl.load(x + row[:, None] * width + column[None, :], mask=inside, other=nothing).to(tl.float32)
        if LARGEST:
            found = tl.maximum(found, tl.max(rows, 0))
        else:
            found += tl.sum(rows, 0)
    tl.store(out + segment.to(tl.int64) * width + column, found, mask=column < width)


@triton.jit
def sum_at_ends_kernel(
    x, ptr, by_source, source_ptr, to_source, to_target, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Sum x over the links into and out of each row."""
    node = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    place = node.to(tl.int64) * width + column
    known = column < width
    total = tl.zeros([COLUMNS], dtype=tl.float32)
    end = tl.load(ptr + node + 1)
    for first in range(tl.load(ptr + node), end, ROWS):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        inside = (row < end)[:, None] & known[None, :]
        total += tl.sum(tl.load(x + row[:, None] * width + column[None, :], mask=inside, other=0.0).to(tl.float32), 0)
    tl.store(to_target + place, total, mask=known)
    total = tl.zeros([COLUMNS], dtype=tl.float32)
    end = tl.load(source_ptr + node + 1)
    for first in range(tl.load(source_ptr + node), end, ROWS):
        link = first + tl.arange(0, ROWS)
        row = tl.load(by_source + link, mask=link < end, other=0).to(tl.int64)
        inside = (link < end)[:, None] & known[None, :]
        total += tl.sum(tl.load(x + row[:, None] * width + column[None, :], mask=inside, other=0.0).to(tl.float32), 0)
    tl.store(to_source + place, total, mask=known)


@triton.jit
def attend_kernel(
    query,
    key,
    value,
    edge,
    source,
    ptr,
    weight,
    out,
    top,
    scale,
    stride,
    HEADS: tl.constexpr,
    C: tl.constexpr,
    C_PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    LINKS: tl.constexpr,
):
    """Attention of one row, BLOCK heads at a time; `top` keeps log(sum(exp(score))) for the way back.

    Rows of query, key and value are `stride` numbers apart.
    """
    node = tl.program_id(0)
    head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, C_PADDED)
    column = head[:, None] * C + channel[None, :]
    known = (head < HEADS)[:, None] & (channel < C)[None, :]
    width = HEADS * C
    place = node.to(tl.int64) * width + column
    q = tl.load(query + node.to(tl.int64) * stride + column, mask=known, other=0.0).to(tl.float32)
    highest = tl.full([BLOCK], -1e30, dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    carried = tl.zeros([BLOCK, C_PADDED], dtype=tl.float32)
    end = tl.load(ptr + node + 1)
    for first in range(tl.load(ptr + node), end, LINKS):
        link = (first + tl.arange(0, LINKS)).to(tl.int64)
        inside = link < end
        mask = inside[:, None, None] & known[None, :, :]
        origin = tl.load(source + link, mask=inside, other=0).to(tl.int64)
        times = tl.load(weight + link, mask=inside, other=0.0)
        e = tl.load(edge + link[:, None, None] * width + column[None, :, :], mask=mask, other=0.0).to(tl.float32)
        at = origin[:, None, None] * stride + column[None, :, :]
        k = tl.load(key + at, mask=mask, other=0.0).to(tl.float32) + e
        v = tl.load(value + at, mask=mask, other=0.0).to(tl.float32) + e
        score = tl.sum(q[None, :, :] * k, 2) * scale
        score = tl.where(inside[:, None], score, -1e30)
        higher = tl.maximum(highest, tl.max(score, 0))
        p = tl.exp(score - higher[None, :]) * times[:, None]
        shrink = tl.exp(highest - higher)
        total = total * shrink + tl.sum(p, 0)
        carried = carried * shrink[:, None] + tl.sum(p[:, :, None] * v, 0)
        highest = higher
    safe = tl.where(total > 0, total, 1.0)
    tl.store(out + place, carried / safe[:, None], mask=known)
    tl.store(top + node * HEADS + head, highest + tl.log(safe), mask=head < HEADS)


@triton.jit
def attend_targets_kernel(
    query,
    key,
    value,
    edge,
    source,
    ptr,
    weight,
    out,
    top,
    grad,
    d_query,
    d_edge,
    p_out,
    d_score_out,
    scale,
    stride,
    n_rows,
    n_links,
    HEADS: tl.constexpr,
    C: tl.constexpr,
    C_PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    LINKS: tl.constexpr,
):
    """Gradients of one row's query and of its links; programs beyond the rows clear what padding links have."""
    node = tl.program_id(0)
    head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, C_PADDED)
    column = head[:, None] * C + channel[None, :]
    known = (head < HEADS)[:, None] & (channel < C)[None, :]
    width = HEADS * C
    if node >= n_rows:
        link = (tl.load(ptr + n_rows) + (node - n_rows) * LINKS + tl.arange(0, LINKS)).to(tl.int64)
        mask = (link < n_links)[:, None, None] & known[None, :, :]
        nothing = tl.zeros([LINKS, BLOCK, C_PADDED], dtype=tl.float32)
        tl.store(d_edge + link[:, None, None] * width + column[None, :, :], nothing, mask=mask)
    else:
        place = node.to(tl.int64) * width + column
        q = tl.load(query + node.to(tl.int64) * stride + column, mask=known, other=0.0).to(tl.float32)
        g = tl.load(grad + place, mask=known, other=0.0).to(tl.float32)
        mean = tl.sum(g * tl.load(out + place, mask=known, other=0.0).to(tl.float32), 1)
        log_total = tl.load(top + node * HEADS + head, mask=head < HEADS, other=0.0)
        to_query = tl.zeros([BLOCK, C_PADDED], dtype=tl.float32)
        end = tl.load(ptr + node + 1)
        for first in range(tl.load(ptr + node), end, LINKS):
            link = (first + tl.arange(0, LINKS)).to(tl.int64)
            inside = link < end
            mask = inside[:, None, None] & known[None, :, :]
            origin = tl.load(source + link, mask=inside, other=0).to(tl.int64)
            times = tl.load(weight + link, mask=inside, other=0.0)
            row = link[:, None, None] * width + column[None, :, :]
            e = tl.load(edge + row, mask=mask, other=0.0).to(tl.float32)
            at = origin[:, None, None] * stride + column[None, :, :]
            k = tl.load(key + at, mask=mask, other=0.0).to(tl.float32) + e
            v = tl.load(value + at, mask=mask, other=0.0).to(tl.float32) + e
            score = tl.sum(q[None, :, :] * k, 2) * scale
            p = tl.where(inside[:, None], tl.exp(score - log_total[None, :]) * times[:, None], 0.0)
            d_score = p * (tl.sum(g[None, :, :] * v, 2) - mean[None, :]) * scale
            tl.store(d_edge + row, d_score[:, :, None] * q[None, :, :] + p[:, :, None] * g[None, :, :], mask=mask)
            to_query += tl.sum(d_score[:, :, None] * k, 0)
            small = link[:, None] * HEADS + head[None, :]
            listed = inside[:, None] & (head < HEADS)[None, :]
            tl.store(p_out + small, p, mask=listed)
            tl.store(d_score_out + small, d_score, mask=listed)
        tl.store(d_query + place, to_query, mask=known)


@triton.jit
def attend_sources_kernel(
    query,
    grad,
    p_in,
    d_score_in,
    target,
    by_source,
    source_ptr,
    d_key,
    d_value,
    stride,
    HEADS: tl.constexpr,
    C: tl.constexpr,
    C_PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    LINKS: tl.constexpr,
):
    """Gradients of one row's key and value, from the links out of it."""
    node = tl.program_id(0)
    head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, C_PADDED)
    column = head[:, None] * C + channel[None, :]
    known = (head < HEADS)[:, None] & (channel < C)[None, :]
    width = HEADS * C
    to_key = tl.zeros([BLOCK, C_PADDED], dtype=tl.float32)
    to_value = tl.zeros([BLOCK, C_PADDED], dtype=tl.float32)
    end = tl.load(source_ptr + node + 1)
    for first in range(tl.load(source_ptr + node), end, LINKS):
        place = first + tl.arange(0, LINKS)
        inside = place < end
        link = tl.load(by_source + place, mask=inside, other=0).to(tl.int64)
        end_of_link = tl.load(target + link, mask=inside, other=0).to(tl.int64)
        mask = inside[:, None, None] & known[None, :, :]
        rows = end_of_link[:, None, None]
        small = link[:, None] * HEADS + head[None, :]
        listed = inside[:, None] & (head < HEADS)[None, :]
        p = tl.load(p_in + small, mask=listed, other=0.0)
        d_score = tl.load(d_score_in + small, mask=listed, other=0.0)
        q = tl.load(query + rows * stride + column[None, :, :], mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad + rows * width + column[None, :, :], mask=mask, other=0.0).to(tl.float32)
        to_key += tl.sum(d_score[:, :, None] * q, 0)
        to_value += tl.sum(p[:, :, None] * g, 0)
    where = node.to(tl.int64) * width + column
    tl.store(d_key + where, to_key, mask=known)
    tl.store(d_value + where, to_value, mask=known)
