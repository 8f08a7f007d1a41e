"""Crystals and their graphs, straight from ase.neighborlist, for the tests of the networks."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal as spacegroup_crystal

from optiscale.graphs.batch import CrystalBatch
from optiscale.networks import NetworkConfig, TargetSpec, build_network

CUTOFF = 5.5
ANGLE_CUTOFF = 4.0
PAPER_TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))
SMALL_TARGETS = TargetSpec(n_omega=7, components=("re", "im"), scalars=("omega_D", "gap_shift"))


def graph_of(atoms, *, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF):
    """Sources, targets, lengths of the edges; first and second edge and cosine of the angles."""
    source, target, vector = neighbor_list("ijD", atoms, cutoff)
    length = np.linalg.norm(vector, axis=1)
    first, second = [], []
    near = length <= angle_cutoff
    for atom in range(len(atoms)):
        edges = np.flatnonzero((source == atom) & near)
        one, two = np.meshgrid(edges, edges, indexing="ij")
        first.append(one[one != two])
        second.append(two[one != two])
    first = np.concatenate(first).astype(int)
    second = np.concatenate(second).astype(int)
    cos = np.einsum("ij,ij->i", vector[first], vector[second]) / (length[first] * length[second])
    return source, target, length, first, second, cos


def make_batch(crystals, *, dtype=torch.float64, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF):
    """A CrystalBatch of ase.Atoms."""
    parts = [graph_of(atoms, cutoff=cutoff, angle_cutoff=angle_cutoff) for atoms in crystals]
    atom_start = np.cumsum([0] + [len(atoms) for atoms in crystals])
    edge_start = np.cumsum([0] + [len(part[0]) for part in parts])

    def joined(column, start=None):
        return np.concatenate([part[column] + (0 if start is None else start[b]) for b, part in enumerate(parts)])

    return CrystalBatch(
        atomic_number=torch.as_tensor(np.concatenate([atoms.numbers for atoms in crystals]), dtype=torch.int64),
        crystal=torch.as_tensor(np.repeat(np.arange(len(crystals)), [len(atoms) for atoms in crystals])),
        edge_index=torch.as_tensor(np.stack([joined(0, atom_start), joined(1, atom_start)]), dtype=torch.int64),
        edge_length=torch.as_tensor(joined(2), dtype=dtype),
        angle_index=torch.as_tensor(np.stack([joined(3, edge_start), joined(4, edge_start)]), dtype=torch.int64),
        angle_cos=torch.as_tensor(joined(5), dtype=dtype),
        n_crystals=len(crystals),
    )


def b2(first, second, a):
    """CsCl structure, 2 sites."""
    return Atoms([first, second], scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[a] * 3, pbc=True)


def l12(first, second, a):
    """Cu3Au structure, 4 sites; `second` has three."""
    positions = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms([first] + [second] * 3, scaled_positions=positions, cell=[a] * 3, pbc=True)


def low_symmetry():
    """An intermetallic-like crystal in which no two atoms, edges or angles are equivalent."""
    cell = [[4.1, 0.2, 0.0], [-0.3, 4.6, 0.4], [0.5, 0.1, 5.2]]
    positions = [(0.02, 0.05, 0.01), (0.48, 0.56, 0.13), (0.11, 0.47, 0.58)]
    return Atoms(["Ti", "Al", "Au"], scaled_positions=positions, cell=cell, pbc=True)


def crystals():
    """Crystals of 1 to 6 atoms."""
    hexagonal = spacegroup_crystal(
        ["Ca", "Cu"], [(0, 0, 0), (1 / 3, 2 / 3, 0)], spacegroup=191, cellpar=[5.08, 5.08, 4.09, 90, 90, 120]
    )  # 3 sites
    return [bulk("Cu", a=3.61), b2("Ni", "Al", 2.89), l12("Au", "Cu", 3.75), low_symmetry(), hexagonal]


@cache
def standard_batch(dtype=torch.float64):
    """`crystals()` as a batch; not to be changed."""
    return make_batch(crystals(), dtype=dtype)


def network_of(*, targets=SMALL_TARGETS, seed=0, dtype=torch.float64, **fields):
    """A network in evaluation mode, with batch norms that have seen crystals (not mean 0, variance 1)."""
    fields.setdefault("width", 16)
    torch.manual_seed(seed)
    network = build_network(NetworkConfig(**fields), targets, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF).to(dtype)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 1.0  # one batch decides
    with torch.no_grad():
        network.train()(standard_batch(dtype))
    return network.eval()


def outputs(network, atoms_list):
    """Spectrum and scalars of crystals as one matrix (B, anything)."""
    dtype = next(network.parameters()).dtype
    with torch.no_grad():
        prediction = network(make_batch(atoms_list, dtype=dtype))
    return torch.cat([prediction.spectrum.flatten(1), prediction.scalars], dim=1)
