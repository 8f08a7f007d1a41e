"""OptiMate, the older reference network (Grunert, Großmann, Runge, Phys. Rev. Materials 8, L122201, 2024)."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv

from optiscale.config.network import NetworkConfig
from optiscale.errors import UserError
from optiscale.graphs.batch import CrystalBatch
from optiscale.networks.embeddings import GaussianBasis, GroupPeriod
from optiscale.networks.layers import at_least_float32, mlp
from optiscale.networks.pooling import vector_attention
from optiscale.networks.registry import NETWORKS
from optiscale.networks.targets import Prediction, TargetSpec


@NETWORKS.register("OptiMate")
class OptiMate(nn.Module):
    """Imaginary part of the spectrum from atoms and distances: two GATv2 layers, vector attention, one MLP.

    It is a fixed point of comparison: its parts and widths are not exchanged. As published, what it does not predict
    (other components, scalars) is zero.

    Parameters
    ----------
    targets
        What to predict; one component must be ``"im"``.
    cutoff
        Longest edge, Å.
    """

    needs_angles: ClassVar[bool] = False
    default_message: ClassVar[str] = "GATv2"

    def __init__(self, *, targets: TargetSpec, cutoff: float) -> None:
        super().__init__()
        if "im" not in targets.components:
            raise UserError(
                "network.type: OptiMate predicts the imaginary part only and the data set has no component 'im'; "
                "choose OptiMetal2B or OptiMetal3B"
            )
        self.targets = targets
        self.node_features = GroupPeriod()
        self.node_mlp = mlp(self.node_features.width, 48, 48)
        self.edge_features = GaussianBasis(cutoff=cutoff, width=56, spread=2.0, envelope=False)
        self.conv1 = GATv2Conv(48, 48, heads=4, edge_dim=56, add_self_loops=False)
        self.conv2 = GATv2Conv(192, 96, heads=4, edge_dim=56, add_self_loops=False)
        self.pooling = vector_attention(width=384)
        self.spectrum = mlp(384, 1024, 1024, 1024, targets.n_omega)

    @classmethod
    def check_config(cls, config: NetworkConfig) -> None:
        """Raise `UserError` if `config` asks for a changed OptiMate."""
        published = {"message": "GATv2", "heads": 4}
        for name in config.changed_parts(names=("width", "nodes", "edges", "message", "pooling", "heads", "options")):
            if getattr(config, name) != published.get(name):
                raise UserError(f"network.{name}: OptiMate is fixed as published; remove {name} or choose OptiMetal2B")

    @classmethod
    def from_config(cls, config: NetworkConfig, targets: TargetSpec, *, cutoff: float, angle_cutoff: float) -> Self:  # noqa: ARG003 - every network is built alike; OptiMate has no settings and no angles
        """Build OptiMate; `build_network` calls this."""
        return cls(targets=targets, cutoff=cutoff)

    def forward(self, batch: CrystalBatch) -> Prediction:
        """Predict the imaginary part for every crystal of `batch`."""
        atom = self.node_mlp(self.node_features(batch.atomic_number))  # (A, 48)
        edge = self.edge_features(batch.edge_length)  # (E, 56)
        atom = self.conv1(atom, batch.edge_index, edge)  # (A, 192)
        atom = self.conv2(atom, batch.edge_index, edge)  # (A, 384)
        crystal = self.pooling(atom, batch.crystal, dim_size=batch.n_crystals)  # (B, 384)
        imaginary = at_least_float32(functional.leaky_relu(self.spectrum(crystal)))  # (B, n_omega)
        zero = torch.zeros_like(imaginary)
        parts = [imaginary if name == "im" else zero for name in self.targets.components]
        scalars = imaginary.new_zeros(batch.n_crystals, len(self.targets.scalars)) if self.targets.scalars else None
        return Prediction(torch.stack(parts, dim=-1), scalars)
