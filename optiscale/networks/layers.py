"""Layers that every OptiMetal network is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MLP, LayerNorm


def mlp(*channels: int) -> MLP:
    """Linear layers of these channels with batch norm and ReLU after every one but the last.

    Batch norm of a single row (one crystal, one atom) or of none (no angles) uses the running statistics: a variance
    of one value does not exist.
    """
    return MLP(list(channels), norm_kwargs={"allow_single_element": True})


def at_least_float32(x: Tensor) -> Tensor:
    """Lift bfloat16 and float16 to float32; leave float64 as it is."""
    return cast(x, torch.promote_types(x.dtype, torch.float32))


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in another type, and the tensor itself if it has that type.

    `Tensor.to` would return a second name for it. Where a `torch.autograd.Function` returns a tensor of two names, the
    compiler of torch 2.11 takes its gradient for zero (that of torch 2.13 does not).
    """
    return x if x.dtype == dtype else x.to(dtype)


def on_host(x: Tensor) -> bool:
    """Whether loops on a processor do the work: on a tensor there, in full precision, that no compiler traces."""
    return x.device.type == "cpu" and x.dtype != torch.bfloat16 and not torch.compiler.is_compiling()


class CrystalNorm(LayerNorm):
    """Layer normalisation over all rows and channels of each crystal (torch_geometric's, mode "graph").

    Crystals have hundreds of edges and thousands of angles. With the eight bits of bfloat16 a count stops at 256 where
    ones are added one by one, and sums lose their digits, so under autocast the statistics are taken in float32.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, mode="graph")

    def forward(self, x: Tensor, crystal: Tensor, n_crystals: int) -> Tensor:
        """Normalise rows (n, W) that belong to `crystal` (n,) of `n_crystals`."""
        return super().forward(at_least_float32(x), crystal, n_crystals)


class GatheredLinear(nn.Linear):
    """Linear layer 3W -> W on (x[first], x[second], y).

    The product with the concatenation is the sum of three products. Those of x are taken before the rows are gathered,
    which saves work because every row of x is gathered many times.
    """

    def __init__(self, width: int) -> None:
        super().__init__(3 * width, width)

    def forward(self, x: Tensor, y: Tensor, index: Tensor) -> Tensor:  # type: ignore[override]
        """Output (n, W) for x (m, W), y (n, W) and the rows of x to gather, `index` (2, n)."""
        to_first, to_second, to_y = self.weight.chunk(3, dim=1)
        first = functional.linear(x, to_first).index_select(0, index[0])
        second = functional.linear(x, to_second).index_select(0, index[1])
        return functional.linear(y, to_y, self.bias) + first + second
