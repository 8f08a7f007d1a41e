from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from optiscale.errors import UserError
from optiscale.structures import (
    ATOMIC_VOLUMES,
    INTERMETALLICS,
    INTERMETALLICS_1,
    PROTOTYPES,
    build_crystal,
    plan_materials,
)

# Materials with spectra on the shelf, their place in the plan and volume factors: what a shelf has, it must keep.
KNOWN = json.loads((Path(__file__).parent / "plan_of_the_shelf.json").read_text())


def test_plan_reproduces_the_materials_already_computed():
    plan = plan_materials(4000, plan=INTERMETALLICS_1)
    assert len(KNOWN) > 60
    for place, name, volume_scale in KNOWN:
        assert (plan[place].id, plan[place].volume_scale) == (name, volume_scale)
    assert plan[60].prototype == "B2"
    assert plan[60].elements == ("Zn", "Tl")


@pytest.mark.parametrize("plan", [INTERMETALLICS_1, INTERMETALLICS])
def test_a_shorter_plan_is_a_prefix_and_a_seed_gives_another(plan):
    assert plan_materials(40, plan=plan) == plan_materials(500, plan=plan)[:40]
    assert plan_materials(140, plan=plan) == plan_materials(140, plan.seed, plan=plan)
    assert plan_materials(140, 1, plan=plan) != plan_materials(140, plan=plan)
    assert plan_materials(0, plan=plan) == ()


def test_weights_of_the_first_plan_hold():
    plan = plan_materials(1000, plan=INTERMETALLICS_1)
    assert len({material.id for material in plan}) == 1000
    share = np.mean([material.prototype == "L2_1" for material in plan])
    assert share == pytest.approx(INTERMETALLICS_1.weights["L2_1"], abs=0.06)
    assert sum(INTERMETALLICS_1.weights.values()) == pytest.approx(1)
    assert all(0.96 <= material.volume_scale <= 1.04 for material in plan)


def test_the_second_plan_covers_prototypes_sizes_and_metals_early():
    plan = plan_materials(250)
    assert {material.prototype for material in plan} == set(PROTOTYPES)
    assert {len(material.build()) for material in plan} == set(range(1, 11))
    used = Counter(symbol for material in plan for symbol in material.elements)
    assert set(used) == set(ATOMIC_VOLUMES)
    assert np.mean([used[symbol] for symbol in ("K", "Rb", "Cs", "Ba")]) < 0.6 * np.mean(list(used.values()))


def test_the_second_plan_has_no_twins_and_follows_its_shares():
    plan = plan_materials(1000)
    names = {name for material in plan for name in (material.id, *material.twins)}
    assert len(names) == sum(1 + len(material.twins) for material in plan)
    counts = Counter(material.prototype for material in plan)
    assert counts["C1"] / counts["D0_19"] == pytest.approx(1.5, abs=0.15)
    assert counts["D0_19"] / counts["D5_a"] == pytest.approx(2, abs=0.3)
    assert counts["A1"] <= INTERMETALLICS.limit("A1")


def test_the_second_plan_begins_with_crystals_at_their_measured_volumes():
    plan = {material.id: material.build() for material in plan_materials(40)}
    measured = {  # lattice constants at room temperature, Å; cells per cube
        "A1_Al": (4.0496, 4), "A1_Cu": (3.6149, 4), "A1_Ag": (4.0862, 4), "A1_Au": (4.0785, 4), "A2_W": (3.1652, 2),
        "B2_Ni-Al": (2.887, 1), "B2_Cu-Zn": (2.945, 1), "B2_Ag-Mg": (3.31, 1), "B2_Co-Ti": (2.995, 1),
        "L1_2_Al-Ni": (3.57, 1), "L1_2_Au-Cu": (3.743, 1), "C1_Au-Al": (5.997, 4),
    }  # fmt: skip
    for name, (a, cells) in measured.items():
        assert plan[name].get_volume() == pytest.approx(a**3 / cells, rel=2e-3), name


@pytest.mark.parametrize("n", [-1, 10**9])
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
    # International Tables: the cell is primitive and small, and no atoms touch.
    assert len(atoms) == len(spglib.find_primitive(cell, symprec=1e-4)[2]) <= 10
    nearest = neighbor_list("d", atoms, 6.0).min()
    assert nearest > 0.91 * (expected / prototype.volume_factor / len(atoms)) ** (1 / 3)


@pytest.mark.parametrize("name", [name for name, kind in PROTOTYPES.items() if kind.twins])
def test_twins_are_the_same_crystal(name):
    elements = ("Cu", "Mg", "Al", "Au")[: PROTOTYPES[name].n_elements]
    here = Structure.from_ase_atoms(build_crystal(name, elements))
    for order in PROTOTYPES[name].twins:
        other = build_crystal(name, [elements["ABCD".index(label)] for label in order])
        assert StructureMatcher(ltol=1e-3, stol=1e-3, scale=False).fit(here, Structure.from_ase_atoms(other))


# Shortest distances (Å) between two kinds of atoms at the measured volume of the primitive cell (Å^3).
DISTANCES = [
    ("A3", "Mg", 46.46, ("Mg", "Mg"), 3.197),
    ("A4", "Ge", 45.27, ("Ge", "Ge"), 2.450),
    ("A5", "Sn", 54.11, ("Sn", "Sn"), 3.022),
    ("A6", "In", 26.16, ("In", "In"), 3.252),
    ("A7", "Sb", 60.37, ("Sb", "Sb"), 2.908),
    ("A11", "Ga", 78.3, ("Ga", "Ga"), 2.465),
    ("A15", "Si-Cr", 94.57, ("Cr", "Cr"), 2.278),
    ("B3", "Al-Sb", 57.74, ("Al", "Sb"), 2.657),
    ("B8_1", "Au-Sn", 89.4, ("Au", "Sn"), 2.85),
    ("B20", "Fe-Si", 90.2, ("Fe", "Si"), 2.27),
    ("B27", "Fe-B", 65.6, ("B", "B"), 1.77),
    ("B33", "Zr-Ni", 66.7, ("Ni", "Ni"), 2.62),
    ("C1", "Au-Al", 53.93, ("Au", "Al"), 2.597),
    ("C15", "Mg-Cu", 87.3, ("Cu", "Cu"), 2.49),
    ("C16", "Cu-Al", 88.9, ("Cu", "Cu"), 2.43),
    ("D0_19", "Sn-Ni", 103.1, ("Ni", "Sn"), 2.63),
    ("D5_13", "Ni-Al", 68.7, ("Ni", "Al"), 2.43),
    ("D2_d", "Ca-Cu", 91.4, ("Ca", "Cu"), 2.934),
    ("Zr4Al3", "Al-Zr", 137.8, ("Al", "Al"), 2.717),
]


@pytest.mark.parametrize(("name", "elements", "volume", "pair", "distance"), DISTANCES)
def test_distances_are_those_of_the_compound(name, elements, volume, pair, distance):
    kind, symbols = PROTOTYPES[name], elements.split("-")
    # Elements without an atomic volume (Si, B) are stood in for: only the geometry matters here.
    stand_in = dict(zip(symbols, ("Cu", "Au", "Al"), strict=False))
    atoms = build_crystal(name, [stand_in[symbol] for symbol in symbols])
    assert kind.n_elements == len(symbols)
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    first, second, lengths = neighbor_list("ijd", atoms, 4.0)
    of_pair = [
        (atoms.symbols[i], atoms.symbols[j]) == (stand_in[pair[0]], stand_in[pair[1]])
        for i, j in zip(first, second, strict=True)
    ]
    assert lengths[of_pair].min() == pytest.approx(distance, abs=0.03)


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
