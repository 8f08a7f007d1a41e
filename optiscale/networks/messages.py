"""Message passing: torch_geometric's convolutions by name, and the block around them."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import CGConv, GATv2Conv, TransformerConv

from optiscale.errors import UserError
from optiscale.networks.layers import CrystalNorm, mlp
from optiscale.networks.registry import MESSAGES


def channels_per_head(width: int, heads: int) -> int:
    """W / heads, or a UserError if it is not whole."""
    if width % heads:
        raise UserError(
            f"network.width: {width} is not divisible by {heads} heads; "
            f"choose a multiple of {heads} or set network.heads to a divisor of {width}"
        )
    return width // heads


@MESSAGES.register("TC")
def transformer(*, width: int, heads: int) -> TransformerConv:
    """Graph transformer, arXiv:2009.03509, with the gated skip connection (beta)."""
    return TransformerConv(width, channels_per_head(width, heads), heads=heads, edge_dim=width, beta=True)


@MESSAGES.register("CGC")
def crystal_graph(*, width: int, heads: int) -> CGConv:  # noqa: ARG001 - every entry is called alike; CGC has no heads
    """Crystal graph convolution, Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), without batch norm."""
    return CGConv(width, dim=width, aggr="add")


@MESSAGES.register("GATv2")
def graph_attention(*, width: int, heads: int) -> GATv2Conv:
    """Graph attention, arXiv:2105.14491, with a learned skip connection in place of self loops."""
    channels = channels_per_head(width, heads)
    return GATv2Conv(width, channels, heads=heads, edge_dim=width, add_self_loops=False, residual=True)


class MessageBlock(nn.Module):
    """Convolution, then x + MLP(x), then layer normalisation over each crystal.

    Parameters
    ----------
    message
        A name of `MESSAGES`.
    width
        Channels W of nodes and edges.
    heads
        Attention heads, where the convolution has any.
    """

    EXPANSION = 6

    def __init__(self, *, message: str, width: int, heads: int) -> None:
        super().__init__()
        self.conv = MESSAGES[message](width=width, heads=heads)
        self.mlp = mlp(width, self.EXPANSION * width, width)
        self.norm = CrystalNorm(width)

    def forward(self, x: Tensor, edge_index: Tensor, edge: Tensor, crystal: Tensor, n_crystals: int) -> Tensor:
        """Pass messages: nodes (n, W) from x (n, W), `edge_index` (2, e), `edge` (e, W) and `crystal` (n,)."""
        x = self.conv(x, edge_index, edge)
        return self.norm(x + self.mlp(x), crystal, n_crystals)
