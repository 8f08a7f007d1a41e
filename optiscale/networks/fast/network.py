"""OptiMetal2B and OptiMetal3B on flat batches, with the weights of the plain networks."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import AttentionalAggregation, CGConv, TransformerConv

from optiscale.graphs.flat import FlatBatch, Rows
from optiscale.networks.fast.layers import attention_pooling, gathered_linear, message_block, mlp
from optiscale.networks.fast.norms import crystal_norm
from optiscale.networks.layers import at_least_float32
from optiscale.networks.messages import MessageBlock
from optiscale.networks.optimetal import OptiMetal, OptiMetal2B, OptiMetal3B, TripletBlock
from optiscale.networks.targets import Prediction


def why_not_fast(network: nn.Module) -> str | None:
    """Say what of a network has no fast form, or None if all of it has."""
    if not isinstance(network, OptiMetal2B | OptiMetal3B):
        return f"{type(network).__name__} has only its plain form"
    if not isinstance(network.pooling, AttentionalAggregation):
        return "this pooling has only its plain form"
    for module in network.modules():
        if isinstance(module, MessageBlock) and not isinstance(module.conv, TransformerConv | CGConv):
            return f"{type(module.conv).__name__} has only its plain form"
    return None


def fast_forward(network: nn.Module, batch: FlatBatch) -> Prediction:
    """Predict the targets of every crystal of a flat batch.

    Parameters
    ----------
    network
        A network without parts that `why_not_fast` names. Its linear layers may be in bfloat16: then they, and what
        lies between them, are; norms and statistics are in float32.
    batch
        The crystals.

    Returns
    -------
    Prediction
        Equal to ``network(batch)`` in its plain form, up to rounding; rows of padding crystals are of no meaning.
    """
    if not isinstance(network, OptiMetal):
        raise TypeError(f"{type(network).__name__} has no fast form")
    atom = mlp(network.node_mlp, network.node_features(batch.atomic_number), batch.atoms)
    edge = mlp(network.edge_mlp, network.edge_features(batch.edge_length), batch.edges)
    if isinstance(network, OptiMetal3B):
        angle = mlp(network.angle_mlp, network.angle_features(batch.angle_cos), batch.angles)
        for block in network.blocks:
            atom, edge, angle = triplet_block(cast(TripletBlock, block), atom, edge, angle, batch)
    else:
        for block in network.blocks:
            atom = message_block(cast(MessageBlock, block), atom, edge, batch.bonds, batch.edges, batch.atoms)
    return readout(network, attention_pooling(network.pooling, atom, batch.atoms), batch)


def triplet_block(
    block: TripletBlock, atom: Tensor, edge: Tensor, angle: Tensor, batch: FlatBatch
) -> tuple[Tensor, Tensor, Tensor]:
    """Edges learn of their atoms, angles of their edges; then messages between edges, and between atoms."""
    edge = crystal_norm(
        block.edge_norm, edge + gathered_linear(block.edge_update, atom, edge, batch.bonds), batch.edges
    )
    angle = crystal_norm(
        block.angle_norm, angle + gathered_linear(block.angle_update, edge, angle, batch.corners), batch.angles
    )
    edge = message_block(block.edge_block, edge, angle, batch.corners, batch.angles, batch.edges)
    atom = message_block(block.atom_block, atom, edge, batch.bonds, batch.edges, batch.atoms)
    return atom, edge, angle


def readout(network: OptiMetal, crystal: Tensor, batch: FlatBatch) -> Prediction:
    """Predict with the heads: spectrum (B, n_omega, C) and scalars (B, S)."""
    heads, targets = network.readout, network.readout.targets
    rows = Rows(crystal, crystal, batch.crystal_weight, batch.n_crystals)  # the heads read weights and count alone
    spectrum = scalars = None
    if heads.spectrum is not None:
        shape = (-1, targets.n_omega, len(targets.components))
        spectrum = at_least_float32(mlp(heads.spectrum, crystal, rows)).view(shape)
    if targets.scalars:
        columns = []
        for name, head in zip(targets.scalars, heads.scalars, strict=True):
            value = mlp(head, crystal, rows)
            columns.append(value.relu() if name in targets.nonnegative else value)
        scalars = at_least_float32(torch.cat(columns, dim=1))
    return Prediction(spectrum, scalars)
