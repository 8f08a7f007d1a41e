from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import spglib

from optiscale.errors import UserError
from optiscale.structures import (
    ATOMIC_VOLUMES,
    INTERMETALLICS,
    PROTOTYPES,
    build_crystal,
    plan_materials,
)

# Materials with spectra on the shelf, their place in the plan and volume factors: what a shelf has, it must keep.
KNOWN = json.loads((Path(__file__).parent / "plan_of_the_shelf.json").read_text())


def test_plan_reproduces_the_materials_already_computed():
    plan = plan_materials(4000)
    assert len(KNOWN) > 60
    for place, name, volume_scale in KNOWN:
        assert (plan[place].id, plan[place].volume_scale) == (name, volume_scale)
    assert plan[60].prototype == "B2"
    assert plan[60].elements == ("Zn", "Tl")


def test_a_shorter_plan_is_a_prefix_and_a_seed_gives_another():
    assert plan_materials(40) == plan_materials(500)[:40]
    assert plan_materials(40) == plan_materials(40, INTERMETALLICS.seed)
    assert plan_materials(40, 1) != plan_materials(40)
    assert plan_materials(0) == ()


def test_no_material_is_planned_twice_and_weights_hold():
    plan = plan_materials(1000)
    assert len({material.id for material in plan}) == 1000
    share = np.mean([material.prototype == "L2_1" for material in plan])
    assert share == pytest.approx(INTERMETALLICS.weights["L2_1"], abs=0.06)
    assert sum(INTERMETALLICS.weights.values()) == pytest.approx(1)
    assert all(0.96 <= material.volume_scale <= 1.04 for material in plan)


@pytest.mark.parametrize("n", [-1, 10**6])
def test_impossible_lengths_are_refused(n):
    with pytest.raises(UserError, match=f"not {n}"):
        plan_materials(n)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_crystals_have_the_volume_symmetry_and_composition_asked_for(name):
    prototype = PROTOTYPES[name]
    elements = ("Cu", "Mg", "Al", "Au")[: prototype.n_elements]
    atoms = build_crystal(name, elements, 1.02)
    expected = 1.02 * prototype.volume_factor * sum(ATOMIC_VOLUMES[symbol] for symbol in atoms.get_chemical_symbols())
    assert atoms.get_volume() == pytest.approx(expected, rel=1e-12)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, symprec=1e-4).number == prototype.space_group
    assert all(atoms.pbc)
    assert atoms.info == {}
    scaled = atoms.get_scaled_positions(wrap=False)
    assert (scaled > -1e-9).all()
    assert (scaled < 1).all()
    assert set(atoms.get_chemical_symbols()) == set(elements)


@pytest.mark.parametrize(
    ("name", "elements", "counts", "contact"),
    [
        # nearest-neighbour distance over the cube root of the cell's volume, from the geometry of the lattice
        ("B2", ("Ni", "Al"), {"Ni": 1, "Al": 1}, 3**0.5 / 2),
        ("L1_2", ("Ni", "Al"), {"Ni": 1, "Al": 3}, 2**-0.5),
        ("C1_b", ("Cu", "Mg", "Al"), {"Cu": 1, "Mg": 1, "Al": 1}, 3**0.5 / 4 * 4 ** (1 / 3)),
        ("L2_1", ("Cu", "Mg", "Al"), {"Cu": 1, "Mg": 1, "Al": 2}, 3**0.5 / 4 * 4 ** (1 / 3)),
    ],
)
def test_geometry_of_the_prototypes(name, elements, counts, contact):
    atoms = build_crystal(name, elements)
    assert atoms.symbols.formula.count() == counts
    supercell = atoms.repeat(3)
    distances = supercell.get_all_distances(mic=True)
    nearest = distances[distances > 1e-6].min()
    assert nearest / atoms.get_volume() ** (1 / 3) == pytest.approx(contact, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("B99", ("Ni", "Al"), 1.0), "B99"),
        (("B2", ("Ni",), 1.0), "2 elements"),
        (("C11_b", ("Mo", "Si"), 1.0), "volume is known for Si"),
        (("B2", ("Ni", "Al"), 0.0), "volume_scale"),
        (("B2", ("Ni", "Al"), float("nan")), "volume_scale"),
    ],
)
def test_impossible_crystals_are_refused_in_one_line(arguments, word):
    with pytest.raises(UserError, match=word) as error:
        build_crystal(*arguments)
    assert "\n" not in str(error.value)
