"""The bfloat16 copy of a network's linear layers that captured steps compute with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.networks.fast import fast_forward
from optiscale.training.captured import LowerCopy

TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))


def _network(kind):
    torch.manual_seed(0)
    return build_network(NetworkConfig(type=kind, message="TC", width=16), TARGETS, cutoff=5.5, angle_cutoff=4.0)


def _loss(prediction):
    """Smooth: the sign of an error is lost to rounding where it is small."""
    return (prediction.spectrum.float() ** 2).mean() + (prediction.scalars.float() ** 2).mean()


def _gradient(network):
    assert all(weight.grad.dtype == weight.dtype == torch.float32 for weight in network.parameters())
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


@pytest.mark.parametrize("kind", ["OptiMetal2B", "OptiMetal3B"])
def test_gradients_of_the_copy_are_as_good_as_those_of_automatic_mixed_precision(kind):
    store = GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)
    rows = np.random.default_rng(0).choice(len(store.dataset), 48, replace=False)
    exact, automatic, lowered = _network(kind), _network(kind), _network(kind)
    whole = store.batch(rows, angles=exact.needs_angles)
    merged = MergedGraphs(store, device=torch.device("cpu"), angles=exact.needs_angles).batch(rows)
    _loss(exact(whole)).backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _loss(automatic(whole))
    loss.backward()
    lower = LowerCopy(lowered, "bf16-mixed")
    lower.backward(_loss(fast_forward(lower.copy, merged)))
    theirs, ours = (float((_gradient(net) - _gradient(exact)).norm()) for net in (automatic, lowered))
    assert 0 < ours < 2 * theirs


def test_the_copy_follows_the_weights():
    network = _network("OptiMetal2B")
    lower = LowerCopy(network, "bf16-mixed")
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.25)
    lower.refresh()
    copied, own = dict(lower.copy.named_parameters()), dict(network.named_parameters())
    assert copied.keys() == own.keys()
    for name, weight in own.items():
        assert torch.equal(copied[name], weight.to(copied[name].dtype)), name
    assert any(weight.dtype == torch.bfloat16 for weight in copied.values())


def test_in_float32_there_is_no_copy():
    network = _network("OptiMetal2B")
    assert LowerCopy(network, "32-true").copy is network
