"""The loops of `optiscale.networks.fast.host_kernels` as operations that torch can differentiate."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch_geometric.nn import MLP, TransformerConv

from optiscale.graphs.flat import Links, Rows
from optiscale.networks.fast import host_kernels as kernels


def mlp(network: MLP, x: Tensor, weight: Tensor, n: float) -> Tensor:
    """Train an MLP with batch norm and ReLU on n > 1 rows (n, W) that count `weight` times; moves running statistics.

    A shift before a batch norm is taken out again: the gradients of these biases, which are zero but for rounding, are
    set to zero.
    """
    layers = [(layer.weight, layer.bias) for layer in network.lins]
    norms = [norm.module for norm in network.norms]
    gains = [(norm.weight, norm.bias) for norm in norms]
    flat = itertools.chain.from_iterable((*layers, *gains))
    out: Tensor = _MLP.apply(x.to(layers[0][0].dtype), weight, n, norms, *flat)
    return out


def crystal_norm(norm: nn.Module, x: Tensor, rows: Rows) -> Tensor:
    """Layer normalisation over all rows and channels of each crystal."""
    out: Tensor = _CrystalNorm.apply(x, norm.weight, norm.bias, rows.ptr, rows.weight, norm.eps)
    return out


def transformer(conv: TransformerConv, x: Tensor, edge: Tensor, links: Links, weight: Tensor | None) -> Tensor:
    """Graph transformer with the gated skip connection, as `optiscale.networks.fast.layers.transformer`."""
    layers = (conv.lin_query, conv.lin_key, conv.lin_value, conv.lin_skip)
    flat = [*(layer.weight for layer in layers), *(layer.bias for layer in layers), conv.lin_edge.weight]
    dtype = flat[0].dtype
    parts = (x.to(dtype), edge.to(dtype), links.source, links.ptr, _or_ones(weight, edge), conv.heads)
    out: Tensor = _Transformer.apply(*parts, conv.lin_beta.weight, *flat)
    return out


def gather_ends(at_source: Tensor, at_target: Tensor, at_link: Tensor, links: Links) -> Tensor:
    """As `optiscale.networks.fast.segments.gather_ends`."""
    out: Tensor = _GatherEnds.apply(at_source, at_target, at_link, links.source, links.target)
    return out


def pool(gate: Tensor, x: Tensor, ptr: Tensor, weight: Tensor | None) -> Tensor:
    """As `optiscale.networks.fast.segments.pool`."""
    out: Tensor = _Pool.apply(gate, x, ptr, _or_ones(weight, x))
    return out


def _or_ones(weight: Tensor | None, rows: Tensor) -> Tensor:
    return torch.ones(len(rows)) if weight is None else weight


def _arrays(*tensors: Tensor) -> list[Any]:
    """Return the memory of tensors, in one piece each, as Numba reads it."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _MLP(Function):
    """Linear layers with batch norm and ReLU between them; weights come as those of the layers, then of the norms."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, n: float, norms: list[Any], *flat: Tensor) -> Tensor:
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        layers, gains = pairs[: -len(norms)], pairs[-len(norms) :]
        rows, kept = weight.numpy(), [x]
        ctx.stages = []  # what no gradient is taken of
        for (matrix, shift), (gain, bias), norm in zip(layers, gains, norms, strict=False):
            x = torch.addmm(shift, x, matrix.t())
            lifted, before = _arrays(x, gain, bias), _arrays(norm.running_mean, norm.running_var)
            mean, inverse, out = np.empty_like(lifted[1]), np.empty_like(lifted[1]), torch.empty_like(x)
            kernels.batch_norm_relu(
                lifted[0], rows, n, *lifted[1:], norm.eps, norm.momentum, *before, out.numpy(), mean, inverse
            )
            norm.num_batches_tracked.add_(1)
            ctx.stages.append((*lifted[:2], mean, inverse, out.numpy()))
            kept.append(out)
            x = out
        ctx.save_for_backward(weight, *kept, *flat[: 2 * len(layers) : 2])
        ctx.n = n
        matrix, shift = layers[-1]
        return torch.addmm(shift, x, matrix.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        rows, n_norms = weight.numpy(), len(ctx.stages)
        inputs, matrices = saved[: n_norms + 1], saved[n_norms + 1 :]
        to_layers: list[Tensor] = []
        to_gains: list[Tensor] = []
        shift = grad.sum(0)
        for place in reversed(range(n_norms)):
            to_layers += [shift, grad.t() @ inputs[place + 1]]
            grad = grad @ matrices[place + 1]
            lifted, gain, mean, inverse, out = ctx.stages[place]
            found = [torch.empty_like(grad), *(grad.new_empty(grad.shape[1]) for _ in range(2))]
            kernels.batch_norm_relu_backward(
                grad.numpy(), lifted, out, rows, ctx.n, gain, mean, inverse, *(tensor.numpy() for tensor in found)
            )
            grad, *of_gain = found
            to_gains += reversed(of_gain)
            shift = torch.zeros_like(of_gain[0])
        to_layers += [shift, grad.t() @ inputs[0]]
        to_x = grad @ matrices[0] if ctx.needs_input_grad[0] else None
        return to_x, None, None, None, *reversed(to_layers), *reversed(to_gains)


class _CrystalNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, ptr: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        out, stats = torch.empty_like(x), x.new_empty(len(ptr) - 1, 3)
        arrays = _arrays(x, ptr, weight, gain, bias, out, stats)
        kernels.crystal_norm(*arrays[:5], eps, *arrays[5:])
        ctx.save_for_backward(x, ptr, weight, gain, stats)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, ptr, weight, gain, stats = ctx.saved_tensors
        d_x, d_gain, d_bias = torch.empty_like(x), torch.empty_like(gain), torch.empty_like(gain)
        kernels.crystal_norm_backward(*_arrays(grad, x, ptr, weight, gain, stats, d_x, d_gain, d_bias))
        return d_x, d_gain, d_bias, None, None, None


class _Transformer(Function):
    """Weights come as those of query, key, value and skip, then their biases, then the edges'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edge: Tensor, *rest: Any) -> Tensor:
        source, ptr, weight, heads, of_beta, *flat = rest
        matrices, to_edge = torch.stack(flat[:4]), flat[8]
        projected = torch.baddbmm(torch.stack(flat[4:8]).unsqueeze(1), x.expand(4, -1, -1), matrices.mT)
        at_edge = edge @ to_edge.t()
        p, beta = edge.new_empty(len(edge), heads), x.new_empty(len(x))
        carried, out = torch.empty_like(projected[0]), torch.empty_like(projected[0])
        query, key, value, skip = projected.numpy()
        ctx.scale = 1 / math.sqrt(out.shape[1] // heads)
        links, (shares, attended) = _arrays(at_edge, source, ptr, weight), _arrays(p, carried)
        kernels.attend(query, key, value, *links, ctx.scale, shares, attended)
        kernels.gated_skip(attended, skip, *_arrays(of_beta, beta, out))
        ctx.save_for_backward(x, edge, matrices, to_edge, projected, at_edge, source, ptr, p, carried, beta, of_beta)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, edge, matrices, to_edge, projected, at_edge, source, ptr, p, carried, beta, of_beta = ctx.saved_tensors
        found, to_carried, to_beta = torch.zeros_like(projected), torch.empty_like(carried), torch.empty_like(of_beta)
        to_edges = torch.empty_like(at_edge)
        query, key, value, skip = projected.numpy()
        d_query, d_key, d_value, d_skip = found.numpy()
        (d_out, attended), (d_attended, d_beta) = _arrays(grad, carried), _arrays(to_carried, to_beta)
        kernels.gated_skip_backward(d_out, attended, skip, *_arrays(of_beta, beta), d_attended, d_skip, d_beta)
        links, (shares, d_edges) = _arrays(at_edge, source, ptr), _arrays(p, to_edges)
        kernels.attend_backward(
            d_attended, query, key, value, *links, ctx.scale, shares, d_query, d_key, d_value, d_edges
        )
        to_matrices, to_biases = found.mT @ x, found.sum(1)
        to_x = torch.bmm(found, matrices).sum(0)
        to_weights = (to_beta, *to_matrices.unbind(), *to_biases.unbind(), to_edges.t() @ edge)
        return to_x, to_edges @ to_edge, None, None, None, None, *to_weights


class _GatherEnds(Function):
    @staticmethod
    def forward(ctx: Any, at_source: Tensor, at_target: Tensor, at_link: Tensor, *ends: Tensor) -> Tensor:
        out = torch.empty_like(at_link, memory_format=torch.contiguous_format)
        kernels.gather_ends(*_arrays(at_source, at_target, at_link, *ends, out))
        ctx.save_for_backward(*ends)
        ctx.n = len(at_source)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found = [grad.new_zeros(ctx.n, grad.shape[1]) for _ in range(2)]
        kernels.sum_at_ends(*_arrays(grad, *ctx.saved_tensors, *found))
        return (*found, grad, None, None)


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, x: Tensor, ptr: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        p, out = torch.empty_like(x), x.new_empty(len(ptr) - 1, x.shape[1])
        kernels.pool(*_arrays(gate, x, ptr, weight, p, out))
        ctx.save_for_backward(x, ptr, p, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, ptr, p, out = ctx.saved_tensors
        d_gate, d_x = torch.empty_like(x), torch.empty_like(x)
        kernels.pool_backward(*_arrays(grad, x, ptr, p, out, d_gate, d_x))
        return d_gate, d_x, None, None
