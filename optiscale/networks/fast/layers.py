"""The layers of OptiMetal on flat batches: those of torch_geometric with their own weights, in fewer passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MLP, AttentionalAggregation, CGConv, TransformerConv

from optiscale.graphs.flat import Links, Rows
from optiscale.networks.fast.norms import batch_norm_relu, crystal_norm, deferred
from optiscale.networks.fast.segments import attend, gather_ends, pool, segment_sum
from optiscale.networks.layers import GatheredLinear, at_least_float32, on_host
from optiscale.networks.messages import MessageBlock


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Linear layer, in the precision of its weights."""
    return functional.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)


def mlp(network: MLP, x: Tensor, rows: Rows) -> Tensor:
    """MLP with batch norm and ReLU after every layer but the last."""
    trained = network.training and not deferred(network.norms[0])
    if trained and rows.weight is not None and on_host(network.lins[0].weight):
        from optiscale.networks.fast import host

        n = float(rows.n)  # on a processor asking is free
        if n > 1:
            return host.mlp(network, x, rows.weight, n)
    for layer, norm in zip(network.lins[:-1], network.norms, strict=True):
        bias = layer.bias
        if x.is_cuda and norm.training:
            bias = bias.detach()  # the norm takes any shift out: its gradient is zero but for rounding
        x = batch_norm_relu(norm, functional.linear(x.to(layer.weight.dtype), layer.weight, bias), rows)
    return linear(network.lins[-1], x)


def gathered_linear(layer: GatheredLinear, x: Tensor, y: Tensor, links: Links) -> Tensor:
    """Linear layer on (x[source], x[target], y), x before it is gathered."""
    to_first, to_second, to_y = layer.weight.chunk(3, dim=1)
    x = x.to(layer.weight.dtype)
    at_link = functional.linear(y.to(layer.weight.dtype), to_y, layer.bias)
    return gather_ends(functional.linear(x, to_first), functional.linear(x, to_second), at_link, links)


def transformer(conv: TransformerConv, x: Tensor, edge: Tensor, links: Links, rows: Rows, nodes: Rows) -> Tensor:  # noqa: ARG001 - as the other
    """Graph transformer with the gated skip connection."""
    if on_host(conv.lin_query.weight):
        from optiscale.networks.fast import host

        return host.transformer(conv, x, edge, links, rows.weight)
    query, key, value, skip = _projected((conv.lin_query, conv.lin_key, conv.lin_value, conv.lin_skip), x)
    out = attend(query, key, value, linear(conv.lin_edge, edge), links, rows.weight, conv.heads)
    out = out.to(skip.dtype)
    # the weights of (out, skip, out - skip) on the two that there are
    of_out, of_skip, of_difference = conv.lin_beta.weight.chunk(3, dim=1)
    beta = (_dot(out, of_out + of_difference) + _dot(skip, of_skip - of_difference)).sigmoid()
    return beta * skip + (1 - beta) * out


def _projected(layers: Sequence[nn.Linear], x: Tensor) -> Sequence[Tensor]:
    """Apply several layers to the same rows; on a card with one product, which is one launch in place of many."""
    if not x.is_cuda:
        return [linear(layer, x) for layer in layers]
    weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    return functional.linear(x.to(weight.dtype), weight, bias).chunk(len(layers), dim=1)


def _dot(x: Tensor, weight: Tensor) -> Tensor:
    """Linear layer to one channel, from weights (1, W); on a card the compiler merges the products."""
    return (x * weight).sum(1, keepdim=True) if x.is_cuda else functional.linear(x, weight)


def crystal_graph(conv: CGConv, x: Tensor, edge: Tensor, links: Links, rows: Rows, nodes: Rows) -> Tensor:
    """Crystal graph convolution; its linear layers act on atoms before they are gathered."""
    parts = []
    for layer in (conv.lin_f, conv.lin_s):
        width = x.shape[1]
        to_target, to_source, to_edge = layer.weight.split([width, width, layer.in_features - 2 * width], dim=1)
        lower = x.to(layer.weight.dtype)
        at_link = functional.linear(edge.to(layer.weight.dtype), to_edge, layer.bias)
        at_source, at_target = functional.linear(lower, to_source), functional.linear(lower, to_target)
        parts.append(gather_ends(at_source, at_target, at_link, links))
    message = parts[0].sigmoid() * functional.softplus(at_least_float32(parts[1]))
    if rows.weight is not None and nodes.weight is not None:
        # a class of links that ends at a class of rows: as many at each of them
        share = rows.weight / nodes.weight.index_select(0, links.target).clamp(min=1.0)
        message = message * share.unsqueeze(1)
    return segment_sum(message.to(parts[0].dtype), links.ptr, links.target) + x


def message_block(block: MessageBlock, x: Tensor, edge: Tensor, links: Links, rows: Rows, nodes: Rows) -> Tensor:
    """Convolution, then x + MLP(x), then layer normalisation over each crystal."""
    convolve = transformer if isinstance(block.conv, TransformerConv) else crystal_graph
    x = convolve(block.conv, x, edge, links, rows, nodes)
    return crystal_norm(block.norm, x + mlp(block.mlp, x, nodes), nodes)


def attention_pooling(pooling: AttentionalAggregation, x: Tensor, atoms: Rows) -> Tensor:
    """Sum over the atoms of a crystal, weighted with a softmax for each channel."""
    gate = at_least_float32(linear(pooling.gate_nn, x))
    return pool(gate, at_least_float32(x), atoms.ptr, atoms.crystal, atoms.weight)
