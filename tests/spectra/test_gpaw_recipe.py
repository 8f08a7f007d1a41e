from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import spglib
from scipy.integrate import trapezoid

from optiscale.errors import UserError
from optiscale.spectra import ENERGIES, gpaw_recipe, read_record
from optiscale.spectra.compute import PLAN_LENGTH, compute_shelf
from optiscale.spectra.interpreter import RECIPE_FILE, find_gpaw
from optiscale.structures import INTERMETALLICS_1, PROTOTYPES, build_crystal, plan_materials


def test_the_recipe_imports_nothing_that_a_foreign_interpreter_lacks():
    tree = ast.parse(RECIPE_FILE.read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert names <= {"numpy", "ase", "gpaw"} | sys.stdlib_module_names


@pytest.mark.parametrize(
    ("prototype", "elements", "volume_scale", "kpts", "kpts_scf"),
    [  # meshes of records of version 1
        ("B2", ("Zn", "Tl"), 1.007, [14, 14, 14], [6, 6, 6]),
        ("L1_0", ("Sn", "Co"), 0.964, [16, 16, 12], [8, 8, 6]),
        ("L2_1", ("Ti", "Ag", "Tl"), 1.013, [10, 10, 10], [4, 4, 4]),
    ],
)
def test_meshes_follow_the_cell(prototype, elements, volume_scale, kpts, kpts_scf):
    atoms = build_crystal(prototype, elements, volume_scale)
    for version in (1, 2):
        recipe = gpaw_recipe.RECIPES[version]
        assert gpaw_recipe.mesh(atoms, recipe, "bands") == kpts
        assert gpaw_recipe.mesh(atoms, recipe, "scf") == kpts_scf


@pytest.mark.parametrize("name", PROTOTYPES)
def test_meshes_of_version_3_have_the_symmetry_of_the_crystal(name):
    atoms = build_crystal(name, ("Cu", "Mg", "Al", "Au")[: PROTOTYPES[name].n_elements])
    symmetry = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-4)
    for stage in ("scf", "bands"):
        points = np.array(gpaw_recipe.mesh(atoms, gpaw_recipe.RECIPES[3], stage))
        # R acts on positions in units of the cell vectors, its transpose on k points in units of the reciprocal ones.
        images = symmetry["rotations"].transpose(0, 2, 1) * points[:, None] / points[None, :]
        np.testing.assert_allclose(images, images.round(), atol=1e-9)


def test_meshes_of_version_3_are_as_dense_as_the_volume_asks():
    recipe = gpaw_recipe.RECIPES[3]
    for name, n_atoms in (("A1", 1), ("B2", 2), ("L2_1", 4), ("D0_22", 4), ("D5_13", 5), ("C11_b", 3)):
        atoms = build_crystal(name, ("Cu", "Mg", "Al")[: PROTOTYPES[name].n_elements])
        wanted = (2 * recipe["bands_length"]) ** 3 / atoms.get_volume() * max(1, 3 / n_atoms)
        assert np.prod(gpaw_recipe.mesh(atoms, recipe, "bands")) == pytest.approx(wanted, rel=0.35)


def test_versions_share_the_physics():
    how = {
        "mixer", "scf_convergence", "bands_converge_to", "bands_convergence", "head_only", "mesh_of", "small_cell",
        "more_bands", "setups", "refine_rougher", "refine_work_max",
    }  # fmt: skip
    setups = gpaw_recipe.RECIPES[1]["setups"]
    assert all(recipe["setups"].items() >= setups.items() for recipe in gpaw_recipe.RECIPES.values())
    first, *others = ({k: v for k, v in recipe.items() if k not in how} for recipe in gpaw_recipe.RECIPES.values())
    assert all(other == first for other in others)


def test_the_sum_over_pairs_of_bands_is_the_one_that_gpaw_does_frequency_by_frequency():
    generator = np.random.default_rng(1)
    elements = generator.normal(size=(7, 3)) + 1j * generator.normal(size=(7, 3))
    energies, eta = generator.uniform(0.01, 0.8, 7), 0.0037
    grid = SimpleNamespace(omega_w=np.linspace(0, 0.7, 30))
    start = generator.normal(size=(30, 3, 3)) + 0j
    expected = start.copy()
    for omega, chi0 in zip(grid.omega_w, expected, strict=True):
        for element, energy in zip(elements, energies, strict=True):
            weight = 1 / (omega + energy + 1j * eta) - 1 / (omega - energy + 1j * eta)
            chi0 += weight * np.outer(element, element.conj())
    gpaw_recipe.add_pairs(None, elements, energies, grid, start, eta=eta)
    np.testing.assert_allclose(start, expected, rtol=1e-11)


@pytest.mark.parametrize("error", [gpaw_recipe.RecipeError("too few bands"), ZeroDivisionError("no")])
def test_a_failure_of_the_material_is_recorded(monkeypatch, tmp_path, error):
    def fail(job):
        raise error

    run_main(monkeypatch, tmp_path, fail)
    failure = json.loads((tmp_path / "X.failed.json").read_text())
    assert failure["reason"] == f"{type(error).__name__}: {error}"
    assert failure["recipe_version"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["X.failed.json"]


def test_a_failure_of_the_machine_is_not(monkeypatch, tmp_path):
    def fail(job):
        raise MemoryError

    with pytest.raises(MemoryError):
        run_main(monkeypatch, tmp_path, fail)
    assert not list(tmp_path.iterdir())


def run_main(monkeypatch, tmp_path: Path, compute) -> None:
    job = tmp_path.with_suffix(".json")
    job.write_text(json.dumps({"id": "X", "out": str(tmp_path), "recipe_version": 2}))
    monkeypatch.setattr(gpaw_recipe, "compute", compute)
    monkeypatch.setattr(sys, "argv", ["gpaw_recipe.py"])
    with job.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert gpaw_recipe.main() == 0


def gpaw_or_skip() -> str:
    try:
        return find_gpaw()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_real_engine_counts_the_valence_electrons(tmp_path):
    python = gpaw_or_skip()
    others = {material.id for material in plan_materials(PLAN_LENGTH, plan=INTERMETALLICS_1)} - {"B2_Mg-Al"}
    result = compute_shelf(tmp_path, python=python, exclude=others, nice=0, plan=INTERMETALLICS_1)
    assert result.done == ("B2_Mg-Al",)
    record = read_record(tmp_path / "B2_Mg-Al.npz")
    assert record.provenance["recipe_version"] == gpaw_recipe.NEWEST
    volume = record.atoms.get_volume()
    # f-sum rule: the weight up to 20 eV and the Drude weight stay below that of all five valence electrons.
    total = 1379.0 * 5 / volume  # eV^2: hbar^2 e^2 / (eps0 m) is 1379 eV^2 Å^3
    weight = 2 / np.pi * trapezoid(ENERGIES * record.eps_inter.imag, ENERGIES) + record.omega_D**2
    assert 0.6 * total < weight < 1.1 * total


@pytest.mark.slow
def test_the_check_reports_versions():
    python = gpaw_or_skip()
    answer = subprocess.run([python, str(RECIPE_FILE), "--check"], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["gpaw"].startswith("22.8")
