"""Crystals without edges or angles, single rows, precision, determinism, the device."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

from .helpers import b2, crystals, low_symmetry, make_batch, network_of, outputs, standard_batch

ISOLATED = Atoms("Cu", cell=[20, 20, 20], pbc=True)  # no edge
SPARSE = b2("Na", "Cs", 4.9)  # edges of 4.24 Å and more, no angle
NETWORKS = [
    *({"type": name, "message": m} for name in ("OptiMetal2B", "OptiMetal3B") for m in ("TC", "CGC", "GATv2")),
    {"type": "OptiMate", "width": None},
]
by_name = pytest.mark.parametrize("fields", NETWORKS, ids=lambda fields: f"{fields['type']}-{fields.get('message')}")


def test_the_crystals_are_what_they_should_be():
    isolated, sparse = make_batch([ISOLATED]), make_batch([SPARSE])
    assert isolated.edge_index.shape == (2, 0)
    assert sparse.edge_index.shape[1] > 0
    assert sparse.angle_index.shape == (2, 0)


@by_name
def test_no_edges_or_angles_alone_and_in_company(fields):
    network = network_of(**fields)
    mixed = outputs(network, [ISOLATED, low_symmetry(), SPARSE])
    assert mixed.isfinite().all()
    alone = torch.cat([outputs(network, [atoms]) for atoms in (ISOLATED, low_symmetry(), SPARSE)])
    torch.testing.assert_close(mixed, alone, rtol=1e-9, atol=1e-11)


@by_name
@pytest.mark.parametrize("atoms", [ISOLATED, SPARSE], ids=["no edge", "no angle"])
def test_training_on_one_such_crystal_is_finite(fields, atoms):
    network = network_of(**fields).train()
    prediction = network(make_batch([atoms]))
    (prediction.spectrum.abs().mean() + prediction.scalars.mean()).backward()
    assert prediction.spectrum.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert all(buffer.isfinite().all() for buffer in network.buffers())


@by_name
def test_a_seed_fixes_network_and_output(fields):
    first, second, other = (network_of(**fields, seed=seed) for seed in (42, 42, 43))
    for one, two in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(outputs(first, crystals()), outputs(second, crystals()))
    assert not torch.equal(outputs(first, crystals()), outputs(other, crystals()))


@by_name
def test_bfloat16_autocast_stays_close_to_float32(fields):
    network = network_of(**fields, dtype=torch.float32)
    batch = standard_batch(torch.float32)
    with torch.no_grad():
        full = network(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(batch)
    assert half.spectrum.dtype == half.scalars.dtype == torch.float32
    # eight bits before a batch norm over five similar crystals: a few percent of the spread between crystals
    spread = full.spectrum[..., 1].std(dim=0).mean()
    assert 0 < (half.spectrum - full.spectrum)[..., 1].abs().mean() < 0.25 * spread


@by_name
def test_training_under_bfloat16_autocast(fields):
    network = network_of(**fields, dtype=torch.float32).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = network(standard_batch(torch.float32))
    (prediction.spectrum.abs().mean() + prediction.scalars.mean()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() and gradient.dtype == torch.float32 for gradient in gradients)


@by_name
def test_no_value_is_read_back_from_the_device(fields):
    """Tensors on the meta device have shapes and no values: any .item() or boolean test would raise."""
    network = network_of(**fields, dtype=torch.float32).to("meta")
    prediction = network(standard_batch(torch.float32).to("meta"))
    assert prediction.spectrum.shape == (len(crystals()), 7, 2)


@pytest.mark.gpu
@by_name
def test_cuda_agrees_with_cpu(fields):
    network = network_of(**fields)
    expected = outputs(network, crystals())
    with torch.no_grad():
        prediction = network.to("cuda")(standard_batch().to("cuda"))
    found = torch.cat([prediction.spectrum.flatten(1), prediction.scalars], dim=1).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
