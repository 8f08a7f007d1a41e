"""The networks on merged and padded graphs are torch_geometric's on whole ones."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch

from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.networks.fast import fast_forward, why_not_fast

TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))
NETWORKS = [("OptiMetal2B", "TC"), ("OptiMetal2B", "CGC"), ("OptiMetal3B", "TC")]


@pytest.fixture(scope="module")
def shelf() -> OpticalDataset:
    return open_source("dft-shelf")


@pytest.fixture(scope="module")
def store(shelf: OpticalDataset) -> GraphStore:
    return GraphStore.open(shelf, cutoff=5.5, angle_cutoff=4.0)


def network_of(kind, message, dtype, **fields):
    torch.manual_seed(0)
    config = NetworkConfig(type=kind, message=message, width=16, **fields)
    return build_network(config, TARGETS, cutoff=5.5, angle_cutoff=4.0).to(dtype)


def cast(value, dtype):
    """All floating-point tensors of nested named tuples in another precision."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return type(value)(*(cast(part, dtype) for part in value)) if isinstance(value, tuple) else value


def loss_of(prediction, spectrum, scalars):
    n = len(scalars)
    return (prediction.spectrum[:n] - spectrum).abs().mean() + (prediction.scalars[:n] - scalars).abs().mean()


def both(store, kind, message, dtype, *, rows, padding=0):
    """Outputs, gradients and batch-norm statistics after a training step: whole graphs, and merged ones."""
    plain = network_of(kind, message, dtype)
    fast = copy.deepcopy(plain)
    whole = store.batch(rows, angles=plain.needs_angles)
    whole.edge_length, whole.angle_cos = whole.edge_length.to(dtype), whole.angle_cos.to(dtype)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=plain.needs_angles)
    need = graphs.sizes(rows).sum(axis=0)
    shape = Shape(*(int(n) + padding * (n > 0) for n in need))
    places = torch.tensor([*rows, *[-1] * (padding > 0)])
    merged = cast(graphs.gather(places, shape), dtype)
    results = []
    for network, predict in ((plain, lambda: plain(whole)), (fast, lambda: fast_forward(fast, merged))):
        prediction = predict()
        loss_of(prediction, whole.spectrum, whole.scalars).backward()
        gradient = torch.cat([weight.grad.flatten() for weight in network.parameters()])
        statistics = torch.cat([buffer.flatten().to(dtype) for buffer in network.buffers()])
        n = len(rows)
        results.append((prediction.spectrum[:n].detach(), prediction.scalars[:n].detach(), gradient, statistics))
    return results


def distance(one, two):
    return float((one - two).norm() / two.norm())


@pytest.mark.parametrize(("kind", "message"), NETWORKS)
@pytest.mark.parametrize("padding", [0, 37])
def test_outputs_gradients_and_statistics_are_those_of_the_whole_graphs(store, kind, message, padding):
    rows = np.random.default_rng(1).choice(len(store.dataset), 12, replace=False)
    plain, fast = both(store, kind, message, torch.float64, rows=rows, padding=padding)
    for one, two in zip(fast, plain, strict=True):
        # lengths are kept in float32: equivalent edges differ in their last digit
        assert distance(one, two) < 1e-6


@pytest.mark.parametrize("n", [2, 12])
def test_crystals_without_angles_are_computed_alike(shelf, n):
    store = GraphStore.open(shelf, cutoff=5.5, angle_cutoff=1.0)
    assert store.merged_angle_offset[-1] == 0
    plain, fast = both(store, "OptiMetal3B", "TC", torch.float64, rows=np.arange(n))
    for one, two in zip(fast[:2], plain[:2], strict=True):
        assert distance(one, two) < 1e-5


@pytest.mark.parametrize(("kind", "message"), NETWORKS)
def test_in_float32_merged_graphs_are_as_near_the_truth_as_whole_ones(store, kind, message):
    rows = np.random.default_rng(2).choice(len(store.dataset), 12, replace=False)
    truth, _ = both(store, kind, message, torch.float64, rows=rows)
    plain, fast = both(store, kind, message, torch.float32, rows=rows, padding=5)
    for exact, one, two in zip(truth, plain, fast, strict=True):
        assert distance(two.double(), exact) < max(1e-4, 3 * distance(one.double(), exact))


@pytest.mark.parametrize(("kind", "message"), NETWORKS)
def test_order_and_company_of_crystals_change_nothing(store, kind, message):
    network = network_of(kind, message, torch.float64).eval()
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=network.needs_angles)
    predict = functools.partial(fast_forward, network)
    with torch.no_grad():
        one = predict(cast(graphs.batch(np.array([3, 50, 7])), torch.float64)).spectrum
        two = predict(cast(graphs.batch(np.array([7, 3])), torch.float64)).spectrum
    assert distance(two[0], one[2]) < 1e-12
    assert distance(two[1], one[0]) < 1e-12


@pytest.mark.parametrize(("kind", "message"), NETWORKS)
def test_order_and_places_left_empty_change_no_gradient(store, kind, message):
    """Batch norm shares its statistics over a batch: the same crystals in any places give the same step."""
    rows = np.random.default_rng(3).choice(len(store.dataset), 6, replace=False)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=kind == "OptiMetal3B")
    room = Shape(*(int(n) + 29 * (n > 0) for n in graphs.sizes(rows).sum(axis=0)))
    results = []
    for places in (rows, rows[::-1], [rows[0], -1, *rows[1:], -1]):
        network = network_of(kind, message, torch.float64)
        batch = cast(graphs.gather(torch.tensor(np.array(places)), room), torch.float64)
        prediction, there = fast_forward(network, batch), batch.crystal_weight > 0
        parts = (prediction.spectrum - batch.spectrum).abs().mean(dim=(1, 2)) + prediction.scalars.sum(dim=1)
        parts[there].sum().backward()
        results.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))
    for other in results[1:]:
        assert distance(other, results[0]) < 1e-10


def test_a_single_crystal_of_one_atom_uses_the_running_statistics(store):
    row = int(np.flatnonzero(store.dataset.n_sites == 1)[0])
    plain, fast = both(store, "OptiMetal2B", "TC", torch.float64, rows=np.array([row]))
    assert distance(fast[0], plain[0]) < 1e-6


@pytest.mark.parametrize(
    ("fields", "said"), [({"pooling": "set2set"}, "pooling"), ({"message": "GATv2"}, "GATv2Conv"), ({}, None)]
)
def test_what_has_no_fast_form_says_so(fields, said):
    fields = {"message": "TC", **fields}
    reason = why_not_fast(network_of("OptiMetal2B", dtype=torch.float32, **fields))
    assert reason is None if said is None else said in reason
