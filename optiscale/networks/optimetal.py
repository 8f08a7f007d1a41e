"""OptiMetal2B and OptiMetal3B (Großmann, Grunert, Runge, arXiv:2602.05702)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import Tensor, nn

from optiscale.config.network import NetworkConfig
from optiscale.errors import UserError
from optiscale.graphs.batch import CrystalBatch
from optiscale.networks.embeddings import AngleBasis
from optiscale.networks.layers import CrystalNorm, GatheredLinear, mlp
from optiscale.networks.messages import MessageBlock, channels_per_head
from optiscale.networks.readout import Readout
from optiscale.networks.registry import EDGES, NETWORKS, NODES, POOLINGS
from optiscale.networks.targets import Prediction, TargetSpec


class TripletBlock(nn.Module):
    """Edges learn of their atoms, angles of their edges; then messages pass between edges, and between atoms.

    Parameters
    ----------
    message
        A name of `MESSAGES`, used on both graphs.
    width
        Channels W of atoms, edges and angles.
    heads
        Attention heads.
    """

    def __init__(self, *, message: str, width: int, heads: int) -> None:
        super().__init__()
        self.edge_update = GatheredLinear(width)
        self.edge_norm = CrystalNorm(width)
        self.angle_update = GatheredLinear(width)
        self.angle_norm = CrystalNorm(width)
        self.edge_block = MessageBlock(message=message, width=width, heads=heads)
        self.atom_block = MessageBlock(message=message, width=width, heads=heads)

    def forward(
        self,
        atom: Tensor,
        edge: Tensor,
        angle: Tensor,
        batch: CrystalBatch,
        edge_crystal: Tensor,
        angle_crystal: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms (A, W), edges (E, W) and angles (T, W) after the block; `*_crystal` are the crystals of their rows."""
        n_crystals = batch.n_crystals
        edge = self.edge_norm(edge + self.edge_update(atom, edge, batch.edge_index), edge_crystal, n_crystals)
        angle = self.angle_norm(angle + self.angle_update(edge, angle, batch.angle_index), angle_crystal, n_crystals)
        edge = self.edge_block(edge, batch.angle_index, angle, edge_crystal, n_crystals)
        atom = self.atom_block(atom, batch.edge_index, edge, batch.crystal, n_crystals)
        return atom, edge, angle


class OptiMetal(nn.Module):
    """What both networks share: embeddings of atoms and edges, pooling, heads; a subclass passes the messages.

    Parameters
    ----------
    width
        Hidden width W.
    targets
        What to predict.
    cutoff
        Longest edge, Å.
    nodes, edges, message, pooling
        Names of `NODES`, `EDGES`, `MESSAGES` and `POOLINGS`.
    heads
        Attention heads; None for the published number.

    Raises
    ------
    UserError
        If a name is unknown or the heads do not divide the width.
    """

    needs_angles: ClassVar[bool]
    default_message: ClassVar[str] = "TC"
    default_heads: ClassVar[int]
    block: ClassVar[type[MessageBlock] | type[TripletBlock]]
    n_blocks: ClassVar[int] = 2

    def __init__(
        self,
        *,
        width: int,
        targets: TargetSpec,
        cutoff: float,
        nodes: str = "group_period",
        edges: str = "gaussian",
        message: str = default_message,
        pooling: str = "vector_attention",
        heads: int | None = None,
    ) -> None:
        super().__init__()
        self.node_features = NODES[nodes]()
        self.node_mlp = mlp(self.node_features.width, width, width, width)
        self.edge_features = EDGES[edges](cutoff=cutoff)
        self.edge_mlp = mlp(self.edge_features.width, width, width, width)
        blocks = (
            self.block(message=message, width=width, heads=heads or self.default_heads) for _ in range(self.n_blocks)
        )
        self.blocks = nn.ModuleList(blocks)
        self.pooling = POOLINGS[pooling](width=width)
        self.readout = Readout(width=width, targets=targets)

    @classmethod
    def check_config(cls, config: NetworkConfig) -> None:
        """Raise `UserError` if the fields of `config` do not go together."""
        if config.options:
            raise UserError(f"network.options: {config.type} takes none; remove {', '.join(config.options)}")
        message = config.message or cls.default_message
        if message == "CGC" and config.heads is not None:
            raise UserError("network.heads: CGC has no attention heads; remove heads or choose message: TC")
        if message in ("TC", "GATv2") and config.width is not None:
            channels_per_head(config.width, config.heads or cls.default_heads)

    @classmethod
    def from_config(cls, config: NetworkConfig, targets: TargetSpec, *, cutoff: float, angle_cutoff: float) -> Self:  # noqa: ARG003 - every network is built alike; angles come with the batch
        """Build the network that `config` describes; `build_network` calls this."""
        if config.width is None:
            raise UserError(f"network.width: {config.type} needs a hidden width; give for example width: 256")
        return cls(
            width=config.width,
            targets=targets,
            cutoff=cutoff,
            nodes=config.nodes,
            edges=config.edges,
            message=config.message or cls.default_message,
            pooling=config.pooling,
            heads=config.heads,
        )

    def message_passing(self, atom: Tensor, edge: Tensor, batch: CrystalBatch) -> Tensor:
        """Atoms (A, W) that know their surroundings, from atoms (A, W) and edges (E, W)."""
        raise NotImplementedError

    def forward(self, batch: CrystalBatch) -> Prediction:
        """Predict the targets of every crystal of `batch`."""
        atom = self.node_mlp(self.node_features(batch.atomic_number))  # (A, W)
        edge = self.edge_mlp(self.edge_features(batch.edge_length))  # (E, W)
        atom = self.message_passing(atom, edge, batch)
        return self.readout(self.pooling(atom, batch.crystal, dim_size=batch.n_crystals))


@NETWORKS.register("OptiMetal2B")
class OptiMetal2B(OptiMetal):
    """Atoms and distances: two message-passing blocks on the crystal graph. Parameters as in `OptiMetal`."""

    needs_angles = False
    default_heads = 2
    block = MessageBlock

    def message_passing(self, atom: Tensor, edge: Tensor, batch: CrystalBatch) -> Tensor:
        """Pass messages between atoms (A, W); edges (E, W) stay as they are."""
        for block in self.blocks:
            atom = block(atom, batch.edge_index, edge, batch.crystal, batch.n_crystals)
        return atom


@NETWORKS.register("OptiMetal3B")
class OptiMetal3B(OptiMetal):
    """Atoms, distances and angles: two triplet blocks. Parameters as in `OptiMetal`."""

    needs_angles = True
    default_heads = 8
    block = TripletBlock

    def __init__(self, *, width: int, **parts: Any) -> None:
        super().__init__(width=width, **parts)
        self.angle_features = AngleBasis()
        self.angle_mlp = mlp(self.angle_features.width, width, width, width)

    def message_passing(self, atom: Tensor, edge: Tensor, batch: CrystalBatch) -> Tensor:
        """Pass messages between atoms (A, W), edges (E, W) and the angles of `batch`."""
        angle = self.angle_mlp(self.angle_features(batch.angle_cos))  # (T, W)
        edge_crystal = batch.edge_crystal
        angle_crystal = edge_crystal[batch.angle_index[0]]
        for block in self.blocks:
            atom, edge, angle = block(atom, edge, angle, batch, edge_crystal, angle_crystal)
        return atom
