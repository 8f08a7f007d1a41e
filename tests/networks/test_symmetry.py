"""A prediction belongs to the crystal, not to the way it is written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial.transform import Rotation

from .helpers import crystals, low_symmetry, make_batch, network_of, outputs

NETWORKS = [
    {"type": "OptiMetal2B", "message": "TC"},
    {"type": "OptiMetal2B", "message": "CGC"},
    {"type": "OptiMetal2B", "message": "GATv2"},
    {"type": "OptiMetal3B", "message": "TC"},
    {"type": "OptiMetal3B", "message": "CGC"},
    {"type": "OptiMetal3B", "message": "GATv2"},
    {"type": "OptiMate", "width": None},
]


@pytest.fixture(
    params=NETWORKS, ids=lambda fields: f"{fields['type']}-{fields.get('message', 'GATv2')}", scope="module"
)
def network(request):
    return network_of(**request.param)


def assert_same(network, one, other):
    """Both lists of crystals give one output, and the outputs are no constants."""
    first, second = outputs(network, one), outputs(network, other)
    assert first.std(dim=0).max() > 1e-4 or len(one) == 1
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


def transformed(atoms, matrix):
    return Atoms(atoms.numbers, positions=atoms.positions @ matrix.T, cell=atoms.cell.array @ matrix.T, pbc=True)


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "rotation and inversion"])
def test_rotation(network, sign):
    rotation = sign * Rotation.from_euler("zyx", [0.3, -1.1, 2.2]).as_matrix()
    assert_same(network, crystals(), [transformed(atoms, rotation) for atoms in crystals()])


def test_translation(network):
    moved = crystals()
    for atoms in moved:
        atoms.positions += (0.37, -1.21, 5.3)  # some atoms leave the cell
    assert_same(network, crystals(), moved)
    for atoms in moved:
        atoms.wrap()
    assert_same(network, crystals(), moved)


def test_order_of_atoms(network):
    random = np.random.default_rng(3)
    assert_same(network, crystals(), [atoms[random.permutation(len(atoms))] for atoms in crystals()])


@pytest.mark.parametrize(
    "basis", [[[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[2, 1, 0], [1, 1, 0], [-1, 0, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]]
)
def test_choice_of_cell(network, basis):
    """Another basis of the same lattice: an integer matrix with determinant 1 or -1."""
    assert abs(round(np.linalg.det(basis))) == 1
    others = [Atoms(a.numbers, positions=a.positions, cell=basis @ a.cell.array, pbc=True) for a in crystals()]
    for atoms in others:
        atoms.wrap()
    assert_same(network, crystals(), others)


SUPERCELLS = [np.diag([2, 1, 1]), np.diag([1, 3, 1]), np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])]


@pytest.mark.parametrize("matrix", SUPERCELLS, ids=["2x1x1", "1x3x1", "root 2"])
def test_supercell(network, matrix):
    assert_same(network, crystals(), [make_supercell(atoms, matrix) for atoms in crystals()])


@pytest.mark.parametrize("name", ["OptiMetal2B", "OptiMetal3B"])
@pytest.mark.parametrize("pooling", ["mean", "scalar_attention", "vector_attention", "set2set"])
def test_supercell_for_every_pooling(name, pooling):
    """All four poolings are means over atoms (softmax weights halve when the atoms double), so all are invariant."""
    network = network_of(type=name, pooling=pooling)
    assert_same(network, crystals(), [make_supercell(atoms, SUPERCELLS[0]) for atoms in crystals()])


def test_batching(network):
    """A crystal alone, and in any company, is the same crystal."""
    alone = torch.cat([outputs(network, [atoms]) for atoms in crystals()])
    torch.testing.assert_close(outputs(network, crystals()), alone, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(outputs(network, crystals()[::-1]), alone.flip(0), rtol=1e-9, atol=1e-11)


def test_distances_matter(network):
    strained = low_symmetry()
    strained.set_cell(strained.cell * 1.02, scale_atoms=True)
    assert (outputs(network, [strained]) - outputs(network, [low_symmetry()])).abs().max() > 1e-5


def test_only_three_body_networks_see_angles():
    """Same edges, other cosines: the 2B network must not notice, the 3B network must."""
    batch = make_batch([low_symmetry()])
    bent = make_batch([low_symmetry()])
    bent.angle_cos = 0.9 * bent.angle_cos + 0.05
    for name, sees in (("OptiMetal2B", False), ("OptiMetal3B", True)):
        network = network_of(type=name)
        assert network.needs_angles is sees
        with torch.no_grad():
            assert torch.equal(network(batch).spectrum, network(bent).spectrum) is not sees
