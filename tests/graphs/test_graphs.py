from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.neighborlist import neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small import small_materials, write_materials

from optiscale.dataset import OpticalDataset
from optiscale.graphs import CrystalGraph, GraphStore, crystal_graph

CUTOFF, ANGLE_CUTOFF = 5.5, 4.0


def skewed() -> Atoms:
    """Three atoms in general positions of a triclinic cell that is short along one vector."""
    return Atoms(
        "AlNiTi",
        scaled_positions=[[0.02, 0.11, 0.05], [0.41, 0.37, 0.71], [0.83, 0.59, 0.29]],
        cell=[[2.6, 0.1, 0.3], [0.9, 4.8, -0.2], [-0.5, 1.1, 6.1]],
        pbc=True,
    )


CRYSTALS = [bulk("Al", "fcc", a=4.05), bulk("NiAl", "cesiumchloride", a=2.89), skewed()]


@pytest.mark.parametrize("atoms", CRYSTALS, ids=["one atom", "B2", "triclinic"])
def test_no_edge_is_lost_or_added(atoms: Atoms) -> None:
    graph = crystal_graph(atoms.cell.array, atoms.positions, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
    assert_equal_to_ase(graph, atoms, CUTOFF)
    assert graph.edge_length.min() > 0.1, "no edge of an atom to itself"


def assert_equal_to_ase(graph: CrystalGraph, atoms: Atoms, cutoff: float) -> None:
    """Edge for edge: source, target, image and length, and the length is that of the vector the three stand for."""
    source, target, image, length = neighbor_list("ijSd", atoms, cutoff)
    theirs = dict(zip(edge_names(source, target, image), length, strict=True))
    ours = dict(zip(edge_names(graph.edge_source, graph.edge_target, graph.edge_image), graph.edge_length, strict=True))
    assert len(ours) == len(graph.edge_length), "an edge is there twice"
    assert set(ours) == set(theirs)
    np.testing.assert_allclose([ours[edge] for edge in theirs], list(theirs.values()), rtol=0, atol=1e-9)
    shift = graph.edge_image @ atoms.cell.array
    vector = atoms.positions[graph.edge_target] - atoms.positions[graph.edge_source] + shift
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), graph.edge_length, rtol=0, atol=1e-9)


def edge_names(source: np.ndarray, target: np.ndarray, image: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.column_stack([source, target, image]).tolist()]


def plain(rng: np.random.Generator) -> np.ndarray:
    return 4 * np.eye(3) + rng.normal(size=(3, 3))


def flat(rng: np.random.Generator) -> np.ndarray:
    """Layers 0.4 to 1 Å apart, whose third vector lies nearly in the plane of the others."""
    cell = plain(rng)
    normal = np.cross(cell[0], cell[1])
    slanted = rng.uniform(-1, 1, 2) @ cell[:2]
    return np.array([*cell[:2], slanted + rng.uniform(0.4, 1) * normal / np.linalg.norm(normal)])


def long(rng: np.random.Generator) -> np.ndarray:
    return np.diag([1.2, 2.5, 30.0]) + rng.normal(scale=0.2, size=(3, 3))


def skew(rng: np.random.Generator) -> np.ndarray:
    """Angles of a few degrees between the vectors."""
    x, y, z = rng.uniform(-40, 40, 3)
    return np.array([[3.0, 0, 0], [x, 3, 0], [y, z, 3]])


def left_handed(rng: np.random.Generator) -> np.ndarray:
    cell = plain(rng)
    return cell if np.linalg.det(cell) < 0 else cell[::-1]


@settings(max_examples=20, deadline=None)
@given(
    cell=st.sampled_from([plain, flat, long, skew, left_handed]),
    n=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([1.0, 5.0]),  # atoms in the cell, or in others too
)
def test_random_cells_have_the_edges_that_ase_finds(
    cell: Callable[[np.random.Generator], np.ndarray], n: int, seed: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    lattice = cell(rng)
    assume(abs(np.linalg.det(lattice)) > 5 * n)
    atoms = Atoms(f"H{n}", positions=rng.uniform(-spread, spread, (n, 3)) @ lattice, cell=lattice, pbc=True)
    graph = crystal_graph(atoms.cell.array, atoms.positions, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
    assert_equal_to_ase(graph, atoms, CUTOFF)


@pytest.mark.parametrize("atoms", CRYSTALS, ids=["one atom", "B2", "triclinic"])
def test_no_angle_is_lost_and_each_obeys_the_law_of_cosines(atoms: Atoms) -> None:
    graph = crystal_graph(atoms.cell.array, atoms.positions, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
    source, vector, length = neighbor_list("iDd", atoms, ANGLE_CUTOFF)
    expected = []
    for site in range(len(atoms)):
        at_site = np.flatnonzero(source == site)
        for one in at_site:
            for two in at_site:
                if one != two:
                    a, b = length[one], length[two]
                    c = np.linalg.norm(vector[one] - vector[two])
                    expected.append((round(a, 5), round(b, 5), round((a**2 + b**2 - c**2) / (2 * a * b), 5) + 0.0))
    first, second = graph.edge_length[graph.angle_first], graph.edge_length[graph.angle_second]
    ours = [
        (round(a, 5), round(b, 5), round(c, 5) + 0.0) for a, b, c in zip(first, second, graph.angle_cos, strict=True)
    ]
    np.testing.assert_allclose(sorted(ours), sorted(expected), atol=3e-5)
    assert (graph.edge_source[graph.angle_first] == graph.edge_source[graph.angle_second]).all()
    assert (graph.angle_first != graph.angle_second).all()


def test_a_supercell_has_the_same_neighbourhoods() -> None:
    atoms = skewed()
    large = make_supercell(atoms, [[2, 0, 0], [1, 1, 0], [0, 0, 1]])
    one = crystal_graph(atoms.cell.array, atoms.positions)
    two = crystal_graph(large.cell.array, large.positions)
    assert len(two.edge_length) == 2 * len(one.edge_length)
    assert len(two.angle_cos) == 2 * len(one.angle_cos)
    np.testing.assert_allclose(np.sort(two.edge_length)[::2], np.sort(one.edge_length), atol=1e-9)


def test_a_lone_atom_has_no_edges() -> None:
    graph = crystal_graph(np.eye(3) * 20, np.zeros((1, 3)))
    assert len(graph.edge_length) == len(graph.angle_cos) == 0


def test_a_batch_holds_each_crystal_as_if_alone(dataset: OpticalDataset) -> None:
    store = GraphStore.open(dataset, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
    rows = np.array([7, 0, 21])
    batch = store.batch(rows)
    assert batch.n_crystals == 3
    for place, row in enumerate(rows):
        atoms = dataset.atoms(row)
        graph = crystal_graph(atoms.cell.array, atoms.positions, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
        mine = (batch.crystal == place).nonzero().flatten()
        edges = (batch.edge_crystal == place).nonzero().flatten()
        angles = (batch.angle_crystal == place).nonzero().flatten()
        assert (batch.atomic_number[mine].numpy() == atoms.numbers).all()
        assert ((batch.edge_index[:, edges] - mine[0]).numpy() == [graph.edge_source, graph.edge_target]).all()
        np.testing.assert_allclose(batch.edge_length[edges].numpy(), graph.edge_length, rtol=1e-6)
        expected = [graph.angle_first, graph.angle_second]
        assert ((batch.angle_index[:, angles] - edges[0]).numpy() == expected).all()
        np.testing.assert_allclose(batch.angle_cos[angles].numpy(), graph.angle_cos, atol=1e-6)
        np.testing.assert_array_equal(batch.spectrum[place].numpy(), dataset.spectrum[row])
        np.testing.assert_array_equal(batch.scalars[place].numpy(), dataset.scalars[row])


def test_a_set_without_spectra_has_batches_without(tmp_path: Path) -> None:
    bare = [replace(material, spectrum=None) for material in small_materials(4)]
    dataset = write_materials(tmp_path / "bare", bare, energy=None, components=())
    batch = GraphStore.open(dataset, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF).batch(np.array([2, 0]))
    assert batch.spectrum is None
    assert batch.scalars is not None
    assert batch.scalars.shape == (2, 1)


def test_without_angles_the_rest_is_the_same(dataset: OpticalDataset) -> None:
    store = GraphStore.open(dataset, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF)
    rows = np.array([2, 5])
    batch, bare = store.batch(rows), store.batch(rows, angles=False)
    assert bare.angle_index.shape == (2, 0)
    assert bare.angle_cos.shape == (0,)
    assert torch.equal(batch.edge_index, bare.edge_index)
