"""From atoms to crystals. All four are means over the atoms, weighted or not: a supercell gives the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn.aggr import AttentionalAggregation, MeanAggregation, Set2Set

from optiscale.networks.registry import POOLINGS


@POOLINGS.register("mean")
def mean(*, width: int) -> MeanAggregation:  # noqa: ARG001 - every entry is called alike
    """Mean over the atoms."""
    return MeanAggregation()


@POOLINGS.register("scalar_attention")
def scalar_attention(*, width: int) -> AttentionalAggregation:
    """One weight an atom, softmax over the atoms of a crystal (arXiv:1904.12787)."""
    return AttentionalAggregation(nn.Linear(width, 1))


@POOLINGS.register("vector_attention")
def vector_attention(*, width: int) -> AttentionalAggregation:
    """One weight an atom and channel, softmax over the atoms (Phys. Rev. Materials 8, L122201)."""
    return AttentionalAggregation(nn.Linear(width, width))


@POOLINGS.register("set2set")
class ProjectedSet2Set(nn.Module):
    """Set2Set (arXiv:1511.06391), two steps, and a linear layer from its 2W channels back to W."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.set2set = Set2Set(width, processing_steps=2)
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, index: Tensor, *, dim_size: int) -> Tensor:
        """Crystals (dim_size, W) from atoms x (A, W) and their crystal `index` (A,)."""
        return self.project(self.set2set(x, index, dim_size=dim_size))
