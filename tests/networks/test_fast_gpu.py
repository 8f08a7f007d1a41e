"""The kernels of the fast networks, on a card."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.networks.fast import fast_forward

pytestmark = pytest.mark.gpu
TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))


@pytest.mark.parametrize(
    ("kind", "message", "width"),
    [("OptiMetal2B", "TC", 64), ("OptiMetal2B", "CGC", 64), ("OptiMetal3B", "TC", 64), ("OptiMetal3B", "TC", 16)],
)
def test_outputs_and_gradients_on_a_card_are_those_of_the_whole_graphs(kind, message, width):
    store = GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)
    device = torch.device("cuda")
    torch.manual_seed(0)
    config = NetworkConfig(type=kind, message=message, width=width)
    plain = build_network(config, TARGETS, cutoff=5.5, angle_cutoff=4.0).to(device)
    fast = copy.deepcopy(plain)
    rows = np.random.default_rng(0).choice(len(store.dataset), 48, replace=False)
    graphs = MergedGraphs(store, device=device, angles=plain.needs_angles)
    need = graphs.sizes(rows).sum(axis=0)
    shape = Shape(*(int(n) + 77 * int(n > 0) for n in need))
    padded = graphs.gather(torch.tensor([*rows, -1, -1, -1], device=device), shape)
    whole = store.batch(rows, angles=plain.needs_angles).to(device)
    results = []
    for network, prediction in ((plain, plain(whole)), (fast, fast_forward(fast, padded))):
        spectrum, scalars = prediction.spectrum[: len(rows)], prediction.scalars[: len(rows)]
        ((spectrum - whole.spectrum).abs().mean() + (scalars - whole.scalars).abs().mean()).backward()
        # the shift before a batch norm has no gradient; the plain layers give it rounding
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in network.parameters()]
        gradient = torch.cat([one.flatten() for one in gradients])
        results.append((spectrum.detach(), gradient))
    for one, two in zip(*results, strict=True):
        assert float((two - one).norm() / one.norm()) < 1e-3
