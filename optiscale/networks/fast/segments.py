"""Sums and attention over segments of sorted rows, with gradients written by hand.

On a CUDA device Triton kernels do the work in one pass over the rows (`optiscale.networks.fast.kernels`), on a
processor loops compiled by Numba (`optiscale.networks.fast.host_kernels`); torch's own operations do it where neither
is at hand: in bfloat16 on a processor, and under a compiler there.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from optiscale.graphs.flat import Links
from optiscale.networks.layers import on_host


def segment_sum(x: Tensor, ptr: Tensor, segment: Tensor) -> Tensor:
    """Sum rows (n, W) over segments: (m, W).

    Parameters
    ----------
    x
        (n, W).
    ptr
        (m + 1,) where segments start; rows from ptr[m] on are left out.
    segment
        (n,) the segment of each row.
    """
    return _SegmentSum.apply(x, ptr, segment)


def gather_ends(at_source: Tensor, at_target: Tensor, at_link: Tensor, links: Links) -> Tensor:
    """Add to every link what both of its ends have: at_link + at_source[source] + at_target[target], (L, W)."""
    if on_host(at_link):
        from optiscale.networks.fast import host

        return host.gather_ends(at_source, at_target, at_link, links)
    return at_link + _GatherEnds.apply(at_source, at_target, *links)


def attend(
    query: Tensor, key: Tensor, value: Tensor, edge: Tensor, links: Links, weight: Tensor | None, heads: int
) -> Tensor:
    """Attention of every row over the links into it (Shi et al., arXiv:2009.03509, eq. 3 and 4).

    With s the source and t the target of link l: out[t] is the mean of value[s] + edge[l] with weights
    softmax(query[t] . (key[s] + edge[l]) / sqrt(C)), for each head of C channels; zero where no link ends.

    Parameters
    ----------
    query, key, value
        (n, W), W = heads C.
    edge
        (L, W).
    links
        Between the n rows.
    weight
        (L,) how often each link counts, or None for once.
    heads
        Number of heads.

    Returns
    -------
    Tensor
        (n, W).
    """
    if query.is_cuda:
        from optiscale.networks.fast import cuda

        return cuda.attend(query, key, value, edge, links, weight, heads)
    return _Attend.apply(query, key, value, edge, *links, weight, heads)


def pool(gate: Tensor, x: Tensor, ptr: Tensor, segment: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of rows (n, W) over segments with weights softmax(gate) for each channel: (m, W)."""
    if on_host(x):
        from optiscale.networks.fast import host

        return host.pool(gate, x, ptr, weight)
    top = _segment_max(gate.detach(), ptr, segment)
    # at most 0 for rows that count; those of padding lie in a crystal that may have no others
    p = torch.exp((gate - top.index_select(0, segment)).clamp(max=0.0))
    if weight is not None:
        p = p * weight.unsqueeze(1)
    total = segment_sum(torch.cat([p * x, p], dim=1), ptr, segment)
    above, below = total.chunk(2, dim=1)
    return above / below.clamp(min=torch.finfo(below.dtype).tiny)


def sum_segments(x: Tensor, ptr: Tensor, segment: Tensor) -> Tensor:
    """Do the sum of `segment_sum` where no gradient is asked for."""
    if x.is_cuda:
        from optiscale.networks.fast import cuda

        return cuda.segment_sum(x, ptr)
    return _add_rows(x, segment, len(ptr) - 1)


def _segment_max(x: Tensor, ptr: Tensor, segment: Tensor) -> Tensor:
    """Largest of rows (n, W) over segments: (m, W); the least number where a segment has no row."""
    if x.is_cuda:
        from optiscale.networks.fast import cuda

        return cuda.segment_max(x, ptr)
    least = torch.finfo(x.dtype).min
    top = x.new_full((len(ptr) - 1, x.shape[1]), least)
    return top.scatter_reduce(0, segment.long().unsqueeze(1).expand_as(x), x, "amax")


def _add_rows(x: Tensor, segment: Tensor, n: int) -> Tensor:
    # not in place: that names one tensor twice (see `optiscale.networks.layers.cast`)
    return x.new_zeros(n, *x.shape[1:]).index_add(0, segment, x)


class _SegmentSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ptr: Tensor, segment: Tensor) -> Tensor:
        ctx.save_for_backward(segment)
        return sum_segments(x, ptr, segment)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (segment,) = ctx.saved_tensors
        return grad.index_select(0, segment), None, None


class _GatherEnds(Function):
    @staticmethod
    def forward(ctx: Any, at_source: Tensor, at_target: Tensor, *links: Tensor) -> Tensor:
        source, target, ptr, by_source, source_ptr = links
        ctx.save_for_backward(source, target, ptr, by_source, source_ptr)
        return at_source.index_select(0, source) + at_target.index_select(0, target)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        source, target, ptr, by_source, source_ptr = ctx.saved_tensors
        if grad.is_cuda:
            from optiscale.networks.fast import cuda

            to_source, to_target = cuda.sum_at_ends(grad.contiguous(), ptr, by_source, source_ptr)
        else:
            n = len(ptr) - 1
            to_source, to_target = _add_rows(grad, source, n), _add_rows(grad, target, n)
        return to_source, to_target, None, None, None, None, None


class _Attend(Function):
    """The attention with torch's operations; what the backward pass needs is computed again rather than kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, edge: Tensor, *rest: Any) -> Tensor:
        source, target, _, _, _, weight, heads = rest
        n, width = query.shape
        shape = (-1, heads, width // heads)
        scale = 1 / math.sqrt(width // heads)
        with_edge = (key.index_select(0, source) + edge).view(shape)
        score = (query.index_select(0, target).view(shape) * with_edge).sum(-1) * scale
        if weight is not None:
            score = score.masked_fill((weight == 0).unsqueeze(1), -math.inf)  # padding must not set the scale
        index = target.long().unsqueeze(1).expand_as(score)
        top = score.new_full((n, heads), torch.finfo(score.dtype).min).scatter_reduce_(0, index, score, "amax")
        p = torch.exp(score - top.index_select(0, target))
        if weight is not None:
            p = p * weight.unsqueeze(1)
        total = _add_rows(p, target, n)
        p = p / total.clamp(min=torch.finfo(total.dtype).tiny).index_select(0, target)
        carried = (value.index_select(0, source) + edge).view(shape)
        out = _add_rows((p.unsqueeze(-1) * carried).view(-1, width), target, n)
        ctx.save_for_backward(query, with_edge, carried, p, source, target)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, with_edge, carried, p, source, target = ctx.saved_tensors
        n, width = query.shape
        at_link = grad.index_select(0, target).view(carried.shape)
        d_p = (at_link * carried).sum(-1)
        mean = _add_rows(p * d_p, target, n)
        d_score = (p * (d_p - mean.index_select(0, target)) * ctx.scale).unsqueeze(-1)
        d_key = (d_score * query.index_select(0, target).view(carried.shape)).view(-1, width)
        d_value = (p.unsqueeze(-1) * at_link).view(-1, width)
        d_query = _add_rows((d_score * with_edge).view(-1, width), target, n)
        to_rows = (d_query, _add_rows(d_key, source, n), _add_rows(d_value, source, n), d_key + d_value)
        return (*to_rows, *(None,) * 7)
