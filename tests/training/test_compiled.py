"""A compiled step is the step."""

from __future__ import annotations

import copy

import torch

from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.networks.fast.norms import defer_statistics
from optiscale.training.captured import mean_loss

TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))


def test_gradients_and_statistics_of_a_compiled_loss_are_those_of_the_loss():
    store = GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)
    torch.manual_seed(0)
    network = build_network(NetworkConfig(type="OptiMetal2B", width=16), TARGETS, cutoff=5.5, angle_cutoff=4.0)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=network.needs_angles)
    rows = torch.cat([torch.arange(40), torch.full((4,), -1)])
    need = graphs.sizes(rows[:40].numpy()).sum(axis=0)
    batch = graphs.gather(rows, Shape(*(int(n) + 64 for n in need)))
    twin = copy.deepcopy(network)
    take_over = defer_statistics(twin)
    compiled = torch.compile(mean_loss, backend="aot_eager", fullgraph=True, dynamic=False)
    for _ in range(2):  # the second time statistics have moved
        for one, loss in ((network, mean_loss), (twin, compiled)):
            one.zero_grad()
            loss(one, batch, [0, 1], [0]).backward()
        take_over()
    scale = max(float(weight.grad.norm()) for weight in network.parameters())
    for weight, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert float((weight.grad - other.grad).norm()) < 1e-4 * float(weight.grad.norm()) + 1e-6 * scale
    for buffer, other in zip(network.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer, other)
