from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from optiscale.dataset import OpticalDataset
from optiscale.graphs import GraphStore, MergedGraphs, crystal_graph, merged
from optiscale.graphs.merged import Shape
from optiscale.graphs.quotient import FlatGraphs, quotient


def whole_graph(atoms: Atoms) -> FlatGraphs:
    graph = crystal_graph(atoms.cell.array, atoms.positions)
    n_atoms, n_edges, n_angles = len(atoms), len(graph.edge_length), len(graph.angle_cos)
    return FlatGraphs(
        atom_crystal=np.zeros(n_atoms, dtype=int),
        edge_crystal=np.zeros(n_edges, dtype=int),
        angle_crystal=np.zeros(n_angles, dtype=int),
        atomic_number=atoms.numbers,
        edge_source=graph.edge_source,
        edge_target=graph.edge_target,
        edge_length=graph.edge_length,
        angle_first=graph.angle_first,
        angle_second=graph.angle_second,
        angle_cos=graph.angle_cos,
        atom_weight=np.ones(n_atoms),
        edge_weight=np.ones(n_edges),
        angle_weight=np.ones(n_angles),
    )


def low_symmetry() -> Atoms:
    cell = [[4.1, 0.2, 0.0], [-0.3, 4.6, 0.4], [0.5, 0.1, 5.2]]
    places = [(0.02, 0.05, 0.01), (0.48, 0.56, 0.13), (0.11, 0.47, 0.58)]
    return Atoms(["Ti", "Al", "Au"], scaled_positions=places, cell=cell, pbc=True)


def test_a_face_centred_metal_has_one_atom_and_one_edge_a_shell():
    merged = quotient(whole_graph(bulk("Cu", "fcc", a=3.61, cubic=True)))
    lengths = 3.61 * np.sqrt(np.array([1, 2, 3, 4]) / 2)  # shells of fcc within 5.5 Å
    assert merged.atom_weight.tolist() == [4]
    np.testing.assert_allclose(np.sort(merged.edge_length), lengths, atol=1e-9)
    assert dict(zip(np.round(merged.edge_length, 3), merged.edge_weight, strict=True)) == dict(
        zip(np.round(lengths, 3), 4 * np.array([12, 6, 24, 12]), strict=True)
    )


def test_the_edges_of_rocksalt_are_of_six_kinds():
    whole = whole_graph(bulk("NaCl", "rocksalt", a=5.6))
    assert (len(whole.edge_length), len(quotient(whole).edge_length)) == (52, 6)


@pytest.mark.parametrize("atoms", [bulk("NiAl", "cesiumchloride", a=2.89), bulk("Cu", "fcc", a=3.61), low_symmetry()])
def test_weights_count_the_whole_graph(atoms):
    whole = whole_graph(atoms)
    merged = quotient(whole)
    for what in ("atom", "edge", "angle"):
        assert getattr(merged, f"{what}_weight").sum() == len(getattr(whole, f"{what}_crystal"))


def test_a_crystal_without_symmetry_keeps_its_atoms_and_most_edges():
    whole = whole_graph(low_symmetry())
    merged = quotient(whole)
    assert len(merged.atomic_number) == 3
    # an atom's own images come in pairs, there and back
    own = (whole.edge_source == whole.edge_target).sum()
    assert len(merged.edge_length) == len(whole.edge_length) - own // 2


def test_classes_are_equitable():
    """All members of a class have as many links of each class: the merged graph says how many."""
    atoms = bulk("AuCu", "cesiumchloride", a=3.0).repeat((2, 1, 1))
    atoms.numbers[-1] = 30
    whole = whole_graph(atoms)
    merged = quotient(whole)
    per_target = merged.edge_weight / merged.atom_weight[merged.edge_target]
    np.testing.assert_allclose(per_target, np.round(per_target))
    degree = np.bincount(whole.edge_target)
    of_class = np.bincount(merged.edge_target, weights=per_target)
    assert sorted(np.repeat(of_class, merged.atom_weight)) == sorted(degree)


def test_noise_below_the_tolerance_changes_no_class():
    atoms = bulk("NiAl", "cesiumchloride", a=2.89).repeat((2, 1, 1))
    noisy = atoms.copy()
    noisy.positions += np.random.default_rng(0).uniform(-3e-7, 3e-7, noisy.positions.shape)
    assert len(quotient(whole_graph(noisy)).edge_length) == len(quotient(whole_graph(atoms)).edge_length)


def test_a_padded_batch_holds_the_same_crystals(dataset: OpticalDataset):
    store = GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=True)
    rows = np.array([5, 2, 17])
    exact = graphs.batch(rows)
    need = graphs.sizes(rows).sum(axis=0)
    padded = graphs.gather(torch.tensor([5, 2, 17, -1]), Shape(*(int(n) + 11 for n in need)))
    for name, one, two in (("atoms", exact.atoms, padded.atoms), ("angles", exact.angles, padded.angles)):
        n = len(one.crystal)
        assert torch.equal(one.crystal, two.crystal[:n]), name
        assert float(one.n) == float(two.n) == float(two.weight.sum())
        assert not two.weight[n:].any()
    n = len(exact.edge_length)
    for field in ("source", "target", "by_source"):
        assert torch.equal(getattr(exact.bonds, field), getattr(padded.bonds, field)[:n])
    assert torch.equal(exact.bonds.ptr, padded.bonds.ptr[: len(exact.bonds.ptr)])
    assert padded.crystal_weight.tolist() == [1, 1, 1, 0]
    # links into and out of every row, through the pointers, are those that the ends say
    for links in (exact.bonds, exact.corners):
        for row in range(len(links.ptr) - 1):
            assert (links.target[links.ptr[row] : links.ptr[row + 1]] == row).all()
            outgoing = links.by_source[links.source_ptr[row] : links.source_ptr[row + 1]]
            assert sorted(outgoing.tolist()) == torch.nonzero(links.source == row).flatten().tolist()


def test_the_orders_of_a_processor_are_those_of_a_card(dataset: OpticalDataset):
    store = GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0)
    graphs = MergedGraphs(store, device=torch.device("cpu"), angles=True)
    for links, ends in ((graphs.edge, graphs.atom.offset), (graphs.angle, graphs.edge.offset)):
        orders = merged._orders(links.source, links.target, links.offset, ends)
        for one, two in zip(orders, (links.by_source, links.into, links.out_of), strict=True):
            assert torch.equal(one, two)
