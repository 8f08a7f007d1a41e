"""The kernels as operations that torch can differentiate and compile around."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from optiscale.graphs.flat import Links
from optiscale.networks.fast import kernels

_LINKS = 4  # links that a program reads at once
_CHANNELS = 128  # channels that a program holds, if a head has no more: one warp does them without asking others


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _grid(width: int, heads: int) -> tuple[dict[str, int], int]:
    """Sizes of the attention kernels, and how many programs share the heads of a row."""
    channels = width // heads
    padded = _power_of_two(channels)
    block = min(_power_of_two(heads), max(1, _CHANNELS // padded))
    sizes = {"HEADS": heads, "C": channels, "C_PADDED": padded, "BLOCK": block, "LINKS": _LINKS}
    return {**sizes, "num_warps": 1 if block * padded <= 256 else 2}, -(-heads // block)


@custom_op("optiscale::segment_sum", mutates_args=())
def segment_sum(x: Tensor, ptr: Tensor) -> Tensor:
    """Sum rows (n, W) between the pointers (m + 1,): (m, W)."""
    return _reduced(x, ptr, largest=False)


@register_fake("optiscale::segment_sum")
def _(x: Tensor, ptr: Tensor) -> Tensor:
    return x.new_empty(ptr.shape[0] - 1, x.shape[1])


@custom_op("optiscale::segment_max", mutates_args=())
def segment_max(x: Tensor, ptr: Tensor) -> Tensor:
    """Take the largest of rows (n, W) between the pointers (m + 1,): (m, W); has no gradient."""
    return _reduced(x, ptr, largest=True)


@register_fake("optiscale::segment_max")
def _(x: Tensor, ptr: Tensor) -> Tensor:
    return x.new_empty(ptr.shape[0] - 1, x.shape[1])


def _reduced(x: Tensor, ptr: Tensor, *, largest: bool) -> Tensor:
    x = x.contiguous()
    width = x.shape[1]
    columns = min(128, _power_of_two(width))
    out = x.new_empty(len(ptr) - 1, width)
    grid = (len(ptr) - 1, -(-width // columns))
    rows = max(8, 256 // columns)
    kernels.segment_kernel[grid](x, ptr, out, width, ROWS=rows, COLUMNS=columns, LARGEST=largest, num_warps=2)
    return out


@custom_op("optiscale::sum_at_ends", mutates_args=())
def sum_at_ends(x: Tensor, ptr: Tensor, by_source: Tensor, source_ptr: Tensor) -> tuple[Tensor, Tensor]:
    """Sum what links (L, W) have over the links out of and into each row: two (n, W)."""
    x = x.contiguous()
    n, width = len(ptr) - 1, x.shape[1]
    columns = min(256, _power_of_two(width))
    to_source, to_target = x.new_empty(n, width), x.new_empty(n, width)
    grid = (n, -(-width // columns))
    kernels.sum_at_ends_kernel[grid](
        x, ptr, by_source, source_ptr, to_source, to_target, width, ROWS=8, COLUMNS=columns, num_warps=2
    )
    return to_source, to_target


@register_fake("optiscale::sum_at_ends")
def _(x: Tensor, ptr: Tensor, by_source: Tensor, source_ptr: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    shape = (ptr.shape[0] - 1, x.shape[1])
    return x.new_empty(shape), x.new_empty(shape)


def _alike(*tensors: Tensor) -> tuple[Sequence[Tensor], int]:
    """Return tensors (n, W) whose rows are the same distance apart, and this distance; parts of wider ones may be."""
    stride = tensors[0].stride(0)
    if any(x.stride() != (stride, 1) for x in tensors):
        return [x.contiguous() for x in tensors], tensors[0].shape[1]
    return tensors, stride


@custom_op("optiscale::attend", mutates_args=())
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge: Tensor,
    source: Tensor,
    target: Tensor,  # noqa: ARG001 - the way back needs it
    ptr: Tensor,
    by_source: Tensor,  # noqa: ARG001
    source_ptr: Tensor,  # noqa: ARG001
    weight: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor]:
    n, width = query.shape
    sizes, blocks = _grid(width, heads)
    (query, key, value), stride = _alike(query, key, value)
    edge = edge.contiguous()
    out = query.new_empty(n, width)
    top = torch.empty(n, heads, dtype=torch.float32, device=query.device)
    scale = 1 / math.sqrt(width // heads)
    kernels.attend_kernel[(n, blocks)](query, key, value, edge, source, ptr, weight, out, top, scale, stride, **sizes)
    return out, top


@register_fake("optiscale::attend")
def _(query: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    top = torch.empty(query.shape[0], rest[-1], dtype=torch.float32, device=query.device)
    return torch.empty_like(query, memory_format=torch.contiguous_format), top


@custom_op("optiscale::attend_backward", mutates_args=())
def _attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge: Tensor,
    source: Tensor,
    target: Tensor,
    ptr: Tensor,
    by_source: Tensor,
    source_ptr: Tensor,
    weight: Tensor,
    out: Tensor,
    top: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, width = query.shape
    n_links = len(source)
    sizes, blocks = _grid(width, heads)
    (query, key, value), stride = _alike(query, key, value)
    grad, edge = grad.contiguous(), edge.contiguous()
    d_query, d_key, d_value, d_edge = (x.new_empty(x.shape) for x in (query, key, value, edge))
    p = torch.empty(n_links, heads, dtype=torch.float32, device=query.device)
    d_score = torch.empty_like(p)
    scale = 1 / math.sqrt(width // heads)
    padding = -(-n_links // _LINKS)
    kernels.attend_targets_kernel[(n + padding, blocks)](
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
        p,
        d_score,
        scale,
        stride,
        n,
        n_links,
        **sizes,
    )
    kernels.attend_sources_kernel[(n, blocks)](
        query, grad, p, d_score, target, by_source, source_ptr, d_key, d_value, stride, **sizes
    )
    return d_query, d_key, d_value, d_edge


@register_fake("optiscale::attend_backward")
def _(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, edge: Tensor, *rest: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value, edge))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, heads = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.heads = heads


def _go_back(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, edge, source, target, ptr, by_source, source_ptr, weight, out, top = ctx.saved_tensors
    links = (source, target, ptr, by_source, source_ptr)
    found = _attend_backward(grad, query, key, value, edge, *links, weight, out, top, ctx.heads)
    return (*found, *(None,) * 7)


register_autograd("optiscale::attend", _go_back, setup_context=_keep)


def attend(
    query: Tensor, key: Tensor, value: Tensor, edge: Tensor, links: Links, weight: Tensor | None, heads: int
) -> Tensor:
    """Do the attention of `optiscale.networks.fast.segments.attend`."""
    if weight is None:
        weight = torch.ones(len(links.source), device=query.device)
    out, _ = _attend(query, key, value, edge, *links, weight, heads)
    return out
