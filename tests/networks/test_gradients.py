"""Training reaches every parameter, except those that the mathematics of the published networks cancels."""

from __future__ import annotations

import re

import pytest
import torch

from optiscale.networks.pooling import ProjectedSet2Set

from .helpers import SMALL_TARGETS, network_of, standard_batch

CANCELLED = (
    "pooling.gate_nn.bias",  # a softmax over atoms does not see a constant that is added to all its inputs
    "conv.lin_key.bias",  # adds the same query . bias to every neighbour of an atom, under a softmax over neighbours
)
"""Parameters without gradient, in evaluation as in training."""

SHIFTS_OF_ATOMS = ("blocks.1.norm.bias", "blocks.1.atom_block.norm.bias", "conv2.bias")
CANCELLED_IN_TRAINING = (
    # Batch norm subtracts the mean over the batch. With it goes the bias of the linear layer before it (found by
    # `expected_zero`), and before the heads what is added to every crystal alike: poolings are weighted means, so
    # a shift of all atoms is a shift of all crystals.
    *SHIFTS_OF_ATOMS,
    "pooling.project.bias",
)

CASES = [
    *({"type": name, "message": m} for name in ("OptiMetal2B", "OptiMetal3B") for m in ("TC", "CGC", "GATv2")),
    *({"type": "OptiMetal2B", "pooling": p} for p in ("mean", "scalar_attention", "set2set")),
    {"type": "OptiMetal2B", "nodes": "atom", "edges": "bessel"},
    {"type": "OptiMate", "width": None},
]


def expected_zero(network, *, training):
    names = {name for name, _ in network.named_parameters() if name.endswith(tuple(CANCELLED))}
    if training:
        names |= {name for name, _ in network.named_parameters() if name in CANCELLED_IN_TRAINING}
        if isinstance(network.pooling, ProjectedSet2Set):
            names -= set(SHIFTS_OF_ATOMS)  # its query depends on the atoms, not linearly
        modules = dict(network.named_modules())
        for name, _ in network.named_parameters():
            layer = re.fullmatch(r"(.*)\.lins\.(\d+)\.bias", name)
            if layer and int(layer[2]) < len(modules[layer[1]].norms):
                names.add(name)
    return names


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("fields", CASES, ids=lambda fields: "-".join(str(v) for v in fields.values()))
def test_gradient_reaches_every_parameter(fields, training):
    network = network_of(**fields).train(training)
    if fields["type"] != "OptiMate":
        with torch.no_grad():
            # at some seeds every omega_D starts below zero, where the ReLU has no slope; this is not what we test
            network.readout.scalars[SMALL_TARGETS.scalars.index("omega_D")].lins[-1].bias += 2.0
    prediction = network(standard_batch())
    generator = torch.Generator().manual_seed(5)
    loss = sum(
        (torch.randn(part.shape, generator=generator, dtype=part.dtype) * part).sum()
        for part in prediction
        if part.requires_grad
    )
    loss.backward()
    size = {name: p.grad.abs().max().item() if p.grad is not None else 0.0 for name, p in network.named_parameters()}
    scale = max(size.values())
    zero = {name for name, value in size.items() if value < 1e-11 * scale}
    small = {name: value / scale for name, value in size.items() if 1e-11 * scale <= value < 1e-8 * scale}
    assert zero == expected_zero(network, training=training)
    assert not small
