"""Structure types and the draws from them, against spglib, counts from the literature and each other."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import spglib
from ase import Atoms

from optiscale.errors import UserError
from optiscale.structures import ATOMIC_VOLUMES, PROTOTYPES, build_crystal
from optiscale.structures.structure_types import _find_types, build_type, structure_types
from optiscale.structures.substitution import (
    PUBLISHED_SITES,
    SubstitutionPlan,
    build_substituted,
    decorations,
)
from optiscale.structures.superlattices import _PARENTS, _distinct_forms
from optiscale.structures.symmetry import find_site_symmetry

PLAN = SubstitutionPlan(seed=5)


def draws(plan, n):
    return list(itertools.islice(decorations(plan), n))


def built(plan, n):
    return [(draw, build_substituted(plan, draw)) for draw in draws(plan, n)]


@pytest.mark.parametrize("parent", ["fcc", "bcc"])
def test_derivative_lattices_are_those_of_hart_and_forcade(parent):
    cell, basis = map(np.asarray, _PARENTS[parent])
    assert [len(_distinct_forms(cell, basis, index)) for index in range(1, 8)] == [1, 2, 3, 7, 5, 10, 7]


def test_the_list_is_what_the_code_finds():
    """All named types and decorations, and the superlattices of up to five sites."""
    found = itertools.takewhile(lambda one: "-" not in one[0] or one[1] <= 5, _find_types())
    expected = [
        (entry.name, entry.n_sites, [list(order) for order in entry.twins])
        for entry in structure_types()
        if not entry.is_superlattice or entry.n_sites <= 5
    ]
    assert [(name, n_sites, twins.tolist()) for name, n_sites, twins in found] == expected


def test_every_prototype_is_there():
    entries = {entry.name: entry for entry in structure_types()}
    for name, prototype in PROTOTYPES.items():
        entry = entries[name]
        assert entry.n_elements == prototype.n_elements
        orders = {"".join("ABCD"[place] for place in order) for order in entry.twins[1:]}
        assert orders >= set(prototype.twins)


@pytest.mark.parametrize("name", ["D0_22:ABC", "ZrNiAl:ABCD", "fcc-1.0.1.0.0.3-AAB", "hcp-1.0.1.0.0.2-ABAC", "D0_19"])
def test_symmetry_of_a_type_is_that_of_the_crystal(name):
    kind = build_type(name)
    assert abs(np.linalg.det(kind.lattice)) == pytest.approx(1)
    dataset = spglib.get_symmetry_dataset((kind.lattice, kind.position, kind.labels), symprec=1e-4)
    assert dataset.number == kind.space_group
    assert len(spglib.find_primitive((kind.lattice, kind.position, kind.labels))[2]) == len(kind.labels)
    assert kind.symmetry.n_rotations == len(np.unique(dataset.rotations, axis=0))


def test_types_have_the_size_and_elements_of_the_list():
    for entry in structure_types()[::40]:
        kind = build_type(entry.name)
        assert len(kind.labels) == entry.n_sites
        assert len(np.unique(kind.labels)) == entry.n_elements


def test_twins_are_the_same_crystal():
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.ase import AseAtomsAdaptor

    symbols = ["Ni", "Al", "Ti", "Cu"]
    chosen = [entry for entry in structure_types() if len(entry.twins) > 1][::150]
    assert len(chosen) > 4
    for entry in chosen:
        kind = build_type(entry.name)
        crystals = [
            Atoms([symbols[order[label]] for label in kind.labels], cell=3 * kind.lattice,
                  scaled_positions=kind.position, pbc=True)
            for order in entry.twins[:2]
        ]  # fmt: skip
        one, other = map(AseAtomsAdaptor.get_structure, crystals)
        assert StructureMatcher(scale=False, primitive_cell=False).fit(one, other), entry.name


def test_a_longer_sequence_begins_with_a_shorter_one():
    assert draws(PLAN, 40) == draws(PLAN, 200)[:40]
    assert draws(replace(PLAN, seed=6), 40) != draws(PLAN, 40)
    (one, first), (other, second) = built(PLAN, 1)[0], built(PLAN, 1)[0]
    assert one == other
    np.testing.assert_array_equal(first.lattice, second.lattice)


def test_no_crystal_comes_twice():
    plan = SubstitutionPlan(seed=1, elements=("Ni", "Al", "Cu", "Ti"), sites={2: 1.0})
    capacity = plan.capacity()
    drawn = draws(plan, int(0.9 * capacity))
    twins = {entry.name: entry.twins for entry in structure_types()}
    keys = {
        (draw.type_name, min(tuple(draw.elements[place] for place in order) for order in twins[draw.type_name]))
        for draw in drawn
    }
    assert len(keys) == len(drawn)
    with pytest.raises(UserError, match=f"about {capacity} different crystals"):
        draws(plan, capacity + 1)


def test_sizes_follow_the_published_set():
    sizes = Counter(len(build_type(draw.type_name).labels) for draw in draws(PLAN, 1000))
    total = sum(PUBLISHED_SITES.values())
    for n_sites, count in PUBLISHED_SITES.items():
        expected = 1000 * count / total
        assert abs(sizes[n_sites] - expected) < 4 * np.sqrt(expected) + 1
    assert {len(draw.elements) for draw in draws(PLAN, 200)} == {2, 3, 4}


def test_volumes_scatter_around_the_sum_of_the_atoms():
    factors = []
    for draw, crystal in built(PLAN, 200):
        volume = abs(np.linalg.det(crystal.lattice))
        kind = build_type(draw.type_name)
        additive = sum(ATOMIC_VOLUMES[draw.elements[label]] for label in kind.labels)
        assert crystal.volume_factor == pytest.approx(volume / additive)
        factors.append(crystal.volume_factor / kind.volume_factor)
    assert np.mean(factors) == pytest.approx(1, abs=0.012)
    assert np.std(factors) == pytest.approx(0.04, abs=0.01)


def test_symmetry_is_kept_unless_strained():
    for draw, crystal in built(PLAN, 25):
        scaled = np.linalg.solve(crystal.lattice.T, crystal.position.T).T
        dataset = spglib.get_symmetry_dataset((crystal.lattice, scaled, crystal.numbers), symprec=1e-4)
        assert dataset.number == crystal.space_group, draw.id
        assert len(np.unique(dataset.rotations, axis=0)) == len(crystal.rotations)
    for options in ({"strain": 0.02}, {"rattle": 0.05}):
        plan = replace(PLAN, **options)
        _, crystal = built(plan, 1)[0]
        assert crystal.rotations is None
        scaled = np.linalg.solve(crystal.lattice.T, crystal.position.T).T
        assert spglib.get_symmetry_dataset((crystal.lattice, scaled, crystal.numbers)).number <= 2


def test_shape_varies_where_symmetry_leaves_it_free():
    plan = SubstitutionPlan(seed=2, sites={2: 1.0}, volume_spread=0.0)
    ratios: dict[str, set[float]] = {"B2": set(), "B_h": set()}
    for draw, crystal in built(plan, 60):
        if draw.type_name in ratios:
            lengths = np.linalg.norm(crystal.lattice, axis=1)
            ratios[draw.type_name].add(round(float(lengths[2] / lengths[0]), 6))
    assert ratios["B2"] == {1.0}
    assert len(ratios["B_h"]) > 2


def test_a_plain_type_is_what_build_crystal_builds():
    plan = SubstitutionPlan(volume_spread=0.0, shape_spread=0.0, sites={4: 1.0})
    draw, crystal = next((d, c) for d, c in built(plan, 60) if d.type_name in PROTOTYPES)
    atoms = build_crystal(draw.type_name, draw.elements)
    mine = Atoms(numbers=crystal.numbers, positions=crystal.position, cell=crystal.lattice, pbc=True)
    assert mine.get_volume() == pytest.approx(atoms.get_volume())
    np.testing.assert_allclose(
        np.sort(mine.get_all_distances(mic=True), axis=None), np.sort(atoms.get_all_distances(mic=True), axis=None),
        atol=1e-6,
    )  # fmt: skip


def test_contact_is_the_shortest_distance_over_the_radii():
    symmetry = find_site_symmetry(np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([0, 1]))
    assert symmetry.n_rotations == 48
    plan = SubstitutionPlan(sites={2: 1.0}, elements=("Ni", "Al"), shape_spread=0.0)
    draw, crystal = next((d, c) for d, c in built(plan, 11) if d.type_name == "B2")
    a = abs(np.linalg.det(crystal.lattice)) ** (1 / 3)
    radii = [(3 * ATOMIC_VOLUMES[symbol] / (4 * np.pi)) ** (1 / 3) for symbol in draw.elements]
    nickel = min(radii)
    expected = min(np.sqrt(3) / 2 * a / sum(radii), a / (2 * max(radii)), a / (2 * nickel))
    assert crystal.closest_contact == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be"),
        ({"sites": {11: 1.0}}, "sites must be numbers from 1 to 10, not 11"),
        ({"sites": {4: 0.0}}, "weight above 0"),
        ({"elements": ("Xe",)}, "no atomic volume is known for Xe"),
        ({"elements": ("Al", "Al")}, "elements must be different"),
        ({"strain": 0.5}, "strain must be from 0 to 0.2"),
        ({"rattle": float("nan")}, "rattle must be"),
    ],
)
def test_impossible_plans_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        SubstitutionPlan(**options)


def test_too_few_elements_are_refused():
    with pytest.raises(UserError, match="no structure type of 5 sites takes only 1"):
        next(decorations(SubstitutionPlan(elements=("Al",), sites={5: 1.0})))
    with pytest.raises(UserError, match="structure type 'B99' is unknown"):
        build_type("B99")
