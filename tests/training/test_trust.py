"""What the compiler makes of a network is used only where it agrees with the layers."""

from __future__ import annotations

import pytest
import torch

from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import exact_room
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.training import captured

TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))


def right(work):
    return lambda *args: work(*args) * (1 + 1e-5)


def wrong(work):
    """The loss is right, its gradient is not; sums of losses are a tenth too large."""

    def differently(*args):
        loss = work(*args)
        return 0.5 * loss + 0.5 * loss.detach() if work is captured.mean_loss else 1.1 * loss

    return differently


@pytest.mark.parametrize("compiler", [right, wrong])
def test_a_compiler_is_believed_where_it_is_right(monkeypatch, caplog, compiler):
    monkeypatch.setattr(captured, "compiled", compiler)
    store = GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=False)
    network = build_network(NetworkConfig(type="OptiMetal2B", width=8), TARGETS, cutoff=5.5, angle_cutoff=4.0)
    rows = torch.arange(16)
    room = exact_room(graphs, [rows.numpy()])
    parts = {"precision": "32-true", "clip": 100.0, "places": ([0, 1], [0]), "shape": room, "batch_size": 16}
    run = captured.CapturedRun(network, graphs, None, **parts)
    run._rows.copy_(rows)
    before = {name: value.clone() for name, value in network.named_parameters()}
    believed = [run._trusted_loss() is not captured.mean_loss, run._trusted_sums(rows, room) is not captured.loss_sums]
    assert believed == [compiler is right] * 2
    assert caplog.text.count("without the compiler") == (0 if compiler is right else 2)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
