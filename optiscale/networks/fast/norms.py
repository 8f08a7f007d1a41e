"""Batch norm with ReLU, and layer norm over crystals, on rows that count more than once or not at all.

Their gradients are written by hand: half the passes over the rows that automatic differentiation takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch_geometric.nn import LayerNorm
from torch_geometric.nn.norm import BatchNorm

from optiscale.graphs.flat import Rows
from optiscale.networks.fast.segments import sum_segments
from optiscale.networks.layers import at_least_float32, cast, on_host

_NEXT = "next_statistics"


def batch_norm_relu(norm: BatchNorm, x: Tensor, rows: Rows) -> Tensor:
    """Batch norm over the rows that count, then ReLU; as torch's, up to rounding.

    Parameters
    ----------
    norm
        Its running statistics move as torch's do.
    x
        (n, W); the statistics are taken in float32 or better.
    rows
        Their weights and number. At most one row in all uses the running statistics, as in the plain networks.
    """
    module = norm.module
    mean, var, weight, bias = module.running_mean, module.running_var, module.weight, module.bias
    if not norm.training:
        return functional.relu(functional.batch_norm(x, mean, var, weight, bias, eps=module.eps))
    if rows.weight is None:
        raise ValueError("batch norm in training needs the weights of the rows")
    out, batch_mean, batch_var = _BatchNormReLU.apply(x, weight, bias, mean, var, rows.weight, rows.n, module.eps)
    with torch.no_grad():
        momentum = torch.where(rows.n > 1, module.momentum, 0.0).to(mean.dtype)
        next_mean, next_var = getattr(module, _NEXT, (mean, var))
        if next_mean is mean:
            module.num_batches_tracked.add_(1)
        next_mean.copy_(mean.lerp(batch_mean, momentum))
        next_var.copy_(var.lerp(batch_var * (rows.n / (rows.n - 1).clamp(min=1.0)), momentum))
    return out


def deferred(norm: BatchNorm) -> bool:
    """Whether a batch norm writes its new statistics beside the running ones (`defer_statistics`)."""
    return hasattr(norm.module, _NEXT)


def defer_statistics(network: nn.Module) -> Callable[[], None]:
    """Let batch norms write their new statistics beside the running ones; return what takes these over.

    A compiled step must not write to what it has read: the compiler may compute parts of the forward pass again in the
    backward pass, and would do so from statistics that have moved on.
    """
    norms = [norm.module for norm in network.modules() if isinstance(norm, BatchNorm)]
    running = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    following = [statistic.clone() for statistic in running]
    counts = [norm.num_batches_tracked for norm in norms]
    for place, norm in enumerate(norms):
        setattr(norm, _NEXT, (following[2 * place], following[2 * place + 1]))

    def take_over() -> None:
        torch._foreach_copy_(running, following)
        torch._foreach_add_(counts, 1)

    return take_over


def crystal_norm(norm: LayerNorm, x: Tensor, rows: Rows) -> Tensor:
    """Layer normalisation over all rows and channels of each crystal, in float32 or better."""
    if rows.weight is None:
        raise ValueError("the norm needs the weights of the rows")
    x = at_least_float32(x)
    if on_host(x):
        from optiscale.networks.fast import host

        return host.crystal_norm(norm, x, rows)
    return _CrystalNorm.apply(x, norm.weight, norm.bias, rows.weight, rows.ptr, rows.crystal, norm.eps)


class _BatchNormReLU(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        count: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        share = (weight / count.clamp(min=1.0)).to(gain.dtype)
        lifted = at_least_float32(x)
        # around the running mean, so that one pass over the rows gives both moments without cancellation
        centred = lifted - running_mean
        shift = _weighted_sum(share, centred)
        batch_var = (_weighted_sum(share, centred * centred) - shift * shift).clamp(min=0.0)
        batch_mean = running_mean + shift
        alone = count <= 1
        inverse = torch.rsqrt(torch.where(alone, running_var, batch_var) + eps)
        mean = torch.where(alone, running_mean, batch_mean)
        out = cast(functional.relu((lifted - mean) * (inverse * gain) + bias), x.dtype)
        ctx.save_for_backward(x, out, gain, mean, inverse, torch.where(alone, 0.0, share))
        ctx.mark_non_differentiable(batch_mean, batch_var)
        return out, batch_mean, batch_var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, out, gain, mean, inverse, share = ctx.saved_tensors
        passed = at_least_float32(torch.where(out > 0, grad, 0.0))
        normed = (at_least_float32(x) - mean) * inverse
        d_bias = passed.sum(0)
        d_gain = (passed * normed).sum(0)
        d_x = (gain * inverse) * (passed - share.unsqueeze(1) * (d_bias + normed * d_gain))
        return cast(d_x, x.dtype), d_gain, d_bias, None, None, None, None, None


class _CrystalNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, weight: Tensor, ptr: Tensor, crystal: Tensor, eps: float
    ) -> Tensor:
        weight = weight.to(x.dtype)
        rows = sum_segments(weight.unsqueeze(1), ptr, crystal).clamp(min=1.0)
        share = weight / (rows.squeeze(1) * x.shape[1]).index_select(0, crystal)
        mean = sum_segments((share * x.sum(1)).unsqueeze(1), ptr, crystal).index_select(0, crystal)
        centred = x - mean
        var = sum_segments((share * (centred * centred).sum(1)).unsqueeze(1), ptr, crystal)
        inverse = torch.rsqrt(var + eps).index_select(0, crystal)
        ctx.save_for_backward(x, gain, mean, inverse, share, ptr, crystal)
        return centred * inverse * gain + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, mean, inverse, share, ptr, crystal = ctx.saved_tensors
        normed = (x - mean) * inverse
        product = grad * normed
        at_x = grad * gain
        rows = torch.stack([at_x.sum(1), (product * gain).sum(1)], dim=1)
        of_mean, of_spread = sum_segments(rows, ptr, crystal).index_select(0, crystal).split(1, dim=1)
        d_x = inverse * (at_x - share.unsqueeze(1) * (of_mean + normed * of_spread))
        return d_x, product.sum(0), grad.sum(0), None, None, None, None


def _weighted_sum(share: Tensor, x: Tensor) -> Tensor:
    """Sum rows (n, W) with weights (n,); on a card the compiler merges the product."""
    return (share.unsqueeze(1) * x).sum(0) if x.is_cuda else share @ x
