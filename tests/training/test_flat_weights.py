"""The weights in one piece that captured steps compute with, and AdamW on them."""

from __future__ import annotations

import copy
import io
import math

import numpy as np
import pytest
import torch

from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.networks.fast import fast_forward
from optiscale.training.flat_weights import FlatAdamW, FlatWeights, adamw_update
from optiscale.training.host import update_on_host

TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))
PRECISIONS = ["32-true", "bf16-mixed"]


def _network(kind="OptiMetal2B"):
    torch.manual_seed(0)
    return build_network(NetworkConfig(type=kind, message="TC", width=16), TARGETS, cutoff=5.5, angle_cutoff=4.0)


def _loss(prediction):
    """Smooth: the sign of an error is lost to rounding where it is small."""
    return (prediction.spectrum.float() ** 2).mean() + (prediction.scalars.float() ** 2).mean()


def _flat_gradient(weights):
    return torch.cat([stretch.gradient.float() for stretch in weights.stretches])


def _in_the_order_of(weights, network, values):
    """Values (one a weight of a network) in the order and with the gaps of flat weights."""
    known = dict(zip(weights.network.parameters(), values(network), strict=True))
    room = [torch.zeros(-(-weight.numel() // 64) * 64) for group in weights.groups for weight in group]
    for place, weight in zip(room, (weight for group in weights.groups for weight in group), strict=True):
        place[: weight.numel()] = known[weight].flatten()
    return torch.cat(room)


@pytest.mark.parametrize("kind", ["OptiMetal2B", "OptiMetal3B"])
def test_gradients_of_the_copy_are_as_good_as_those_of_automatic_mixed_precision(kind):
    store = GraphStore.open(open_source("dft-shelf"), cutoff=5.5, angle_cutoff=4.0)
    rows = np.random.default_rng(0).choice(len(store.dataset), 48, replace=False)
    exact, automatic = _network(kind), _network(kind)
    whole = store.batch(rows, angles=exact.needs_angles)
    merged = MergedGraphs(store, device=torch.device("cpu"), angles=exact.needs_angles).batch(rows)
    _loss(exact(whole)).backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _loss(automatic(whole))
    loss.backward()
    weights = FlatWeights(_network(kind), "bf16-mixed")
    weights.gradients_of(_loss(fast_forward(weights.copy, merged)))
    true, theirs = (
        _in_the_order_of(weights, network, lambda one: [weight.grad for weight in one.parameters()])
        for network in (exact, automatic)
    )
    assert 0 < float((_flat_gradient(weights) - true).norm()) < 2 * float((theirs - true).norm())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_network_keeps_its_weights_and_the_copy_has_them(precision):
    before, network = dict(_network().named_parameters()), _network()
    weights = FlatWeights(network, precision)
    copied = dict(weights.copy.named_parameters())
    assert (weights.copy is network) == (precision == "32-true")
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before[name]), name
        assert torch.equal(copied[name], weight.to(copied[name].dtype)), name
        assert weight.data_ptr() % 16 == copied[name].data_ptr() % 16 == 0
    assert any(weight.dtype == torch.bfloat16 for weight in copied.values()) == (precision == "bf16-mixed")


def _optimizer(network):
    return torch.optim.AdamW(network.parameters(), lr=torch.tensor(1e-2), weight_decay=0.1, capturable=True)


def _steps(weights, optimizer, gradients, clip, update):
    adamw = FlatAdamW(weights, optimizer, clip=clip, update=update)
    for gradient in gradients:
        for stretch in weights.stretches:
            stretch.gradient.copy_(gradient[: len(stretch.gradient)])
            gradient = gradient[len(stretch.gradient) :]
        adamw.step()


@pytest.mark.parametrize(
    ("precision", "update"),
    [("32-true", adamw_update), ("bf16-mixed", adamw_update), ("32-true", update_on_host)],
)
@pytest.mark.parametrize("clip", [1e9, 5.0])
def test_steps_are_those_of_torch_and_go_on_from_a_checkpoint(precision, update, clip):
    plain, network = _network(), _network()
    weights = FlatWeights(network, precision)
    torch.manual_seed(1)
    given = [[torch.randn_like(weight).to(torch.bfloat16).float() for weight in plain.parameters()] for _ in range(5)]
    theirs = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    for gradients in given:
        for weight, gradient in zip(plain.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        theirs.step()
    flat = [_in_the_order_of(weights, network, lambda _, these=these: these) for these in given]
    optimizer = _optimizer(network)
    _steps(weights, optimizer, flat[:3], clip, update)
    buffer = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    again = _network()
    again.load_state_dict(saved["network"])
    optimizer = _optimizer(again)
    optimizer.load_state_dict(copy.deepcopy(saved["optimizer"]))
    _steps(FlatWeights(again, precision), optimizer, flat[3:], clip, update)
    for weight, other in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-6)
    state = optimizer.state_dict()["state"]
    for place, expected in theirs.state_dict()["state"].items():
        assert float(state[place]["step"]) == 5
        torch.testing.assert_close(state[place]["exp_avg_sq"], expected["exp_avg_sq"])


def test_a_gradient_that_is_no_number_is_seen():
    network = torch.nn.Linear(3, 2)
    weights = FlatWeights(network, "32-true")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    weights.stretches[0].gradient[5] = math.nan
    FlatAdamW(weights, optimizer, clip=1.0, update=update_on_host).step()
    assert all(weight.isnan().all() for weight in network.parameters())


def test_a_weight_that_the_loss_does_not_see_has_no_gradient():
    network = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)])
    weights = FlatWeights(network, "32-true")
    weights.gradients_of(network[1](torch.ones(1, 3)).sum())
    assert torch.equal(weights.stretches[0].gradient[:64], torch.zeros(64))
    assert float(weights.stretches[0].gradient.sum()) == 8.0
