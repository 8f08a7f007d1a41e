"""The tight-binding source: the same set whatever the workers and interruptions, and what its rows tell."""

from __future__ import annotations

import json
import multiprocessing

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.cli.data_tight_binding import parse_sites
from optiscale.dataset import tight_binding
from optiscale.dataset.tight_binding import build_tight_binding
from optiscale.errors import UserError
from optiscale.spectra.tight_binding import TightBinding
from optiscale.spectra.tight_binding.engine import Optics, Rejected, TightBindingEngine
from optiscale.structures.structure_types import build_type
from optiscale.structures.substitution import SubstitutionPlan, build_substituted, decorations

PLAN = SubstitutionPlan(seed=11, elements=("Ni", "Al", "Cu", "Ag", "Ti"), sites={2: 1.0, 3: 1.0})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build_tight_binding(tmp_path_factory.mktemp("sets") / "one", n=6, plan=PLAN, workers=1)


def test_rows_tell_where_they_come_from(dataset):
    assert len(dataset) == 6
    draws = {draw.id: draw for draw, _ in zip(decorations(PLAN), range(60), strict=False)}
    for row, material in dataset.materials.iterrows():
        provenance = json.loads(material["provenance"])
        draw = draws[material["id"]]
        assert provenance["index"] == draw.index
        assert material["prototype"] == draw.type_name
        assert material["space_group"] == build_type(draw.type_name).space_group
        crystal = build_substituted(PLAN, draw)
        atoms = dataset.atoms(row)
        np.testing.assert_allclose(atoms.cell.array, crystal.lattice)
        np.testing.assert_array_equal(atoms.numbers, crystal.numbers)
        assert provenance["volume_factor"] == pytest.approx(crystal.volume_factor, abs=1e-5)
    recipe = dataset.manifest.provenance
    assert recipe["plan"]["seed"] == 11
    assert len(recipe["parameters_sha256"]) == 64


def test_spectra_are_those_of_the_engine(dataset):
    engine = TightBindingEngine(TightBinding.load())
    atoms = dataset.atoms(0)
    (optics,) = engine.solve([engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)])
    assert isinstance(optics, Optics)
    assert dataset.scalars[0, 0] == pytest.approx(optics.omega_D, rel=1e-3)
    stored = dataset.spectrum[0, :, 0] + 1j * dataset.spectrum[0, :, 1]
    assert np.abs(stored - optics.eps_inter).sum() < 1e-3 * np.abs(optics.eps_inter).sum()
    assert (dataset.spectrum[..., 1] > -1e-3).all()
    assert (dataset.scalars > 0).all()


def test_workers_change_nothing(dataset, tmp_path):
    other = build_tight_binding(tmp_path / "two", n=6, plan=PLAN, workers=2)
    assert other.hash == dataset.hash


def test_an_interrupted_build_goes_on(dataset, tmp_path):
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(done):
        if done == 3:
            raise Stopped

    folder = tmp_path / "set"
    with pytest.raises(Stopped):
        build_tight_binding(folder, n=6, plan=PLAN, workers=1, report=stop)
    seen: list[int] = []
    again = build_tight_binding(folder, n=6, plan=PLAN, workers=1, report=seen.append)
    assert seen == [4, 5, 6]
    assert again.hash == dataset.hash


def test_a_killed_worker_is_one_line(tmp_path, monkeypatch):
    def kill_children(done):
        for child in multiprocessing.active_children():
            if "Loky" not in type(child).__name__:  # joblib keeps its own for other tests
                child.kill()

    plan = SubstitutionPlan(seed=4, elements=("Ni", "Al", "Cu", "Ag"), sites={2: 1.0})
    monkeypatch.setattr(tight_binding, "_CPU_TASK", 1)
    with pytest.raises(UserError, match=r"a worker process was killed.*fewer --workers"):
        build_tight_binding(tmp_path / "set", n=20, plan=plan, workers=2, report=kill_children)


def test_what_fails_is_listed_and_replaced(dataset, tmp_path, monkeypatch):
    solve = TightBindingEngine.solve
    unlucky = dataset.materials["id"].iloc[1]
    index = json.loads(dataset.materials["provenance"].iloc[1])["index"]
    first = [draw for draw, _ in zip(decorations(PLAN), range(7), strict=False)]

    def reject_one(self, crystals):
        results = solve(self, crystals)
        return [
            Rejected("the overlap matrix has an eigenvalue under 0.02")
            if np.array_equal(crystal.lattice, build_substituted(PLAN, first[index]).lattice)
            else result
            for crystal, result in zip(crystals, results, strict=True)
        ]

    monkeypatch.setattr(TightBindingEngine, "solve", reject_one)
    other = build_tight_binding(tmp_path / "set", n=6, plan=PLAN, workers=1)
    assert len(other) == 6
    assert unlucky not in set(other.materials["id"])
    assert set(other.materials["id"]) - set(dataset.materials["id"]) == {first[6].id}
    (skipped,) = other.manifest.provenance["skipped"]
    assert skipped == {"item": unlucky, "reason": "the overlap matrix has an eigenvalue under 0.02"}


def test_overlapping_atoms_are_left_out(tmp_path, monkeypatch):
    contacts = {
        draw.id: build_substituted(PLAN, draw).closest_contact
        for draw, _ in zip(decorations(PLAN), range(40), strict=False)
    }
    limit = sorted(list(contacts.values())[:5])[1]  # one of the first five is closer
    monkeypatch.setattr(tight_binding, "CLOSEST_CONTACT", limit)
    made = build_tight_binding(tmp_path / "set", n=5, plan=PLAN, workers=1)
    names = list(contacts)
    fine = [name for name in names if contacts[name] >= limit][:5]
    assert list(made.materials["id"]) == fine
    skipped = made.manifest.provenance["skipped"]
    assert [one["item"] for one in skipped] == [name for name in names[: names.index(fine[-1])] if name not in fine]
    assert len(skipped) >= 1
    assert skipped[0]["reason"].endswith("times the sum of their radii")


def test_a_rattled_set_has_its_own_symmetry(tmp_path):
    plan = SubstitutionPlan(seed=3, elements=("Ni", "Al"), sites={2: 1.0}, rattle=0.05)
    made = build_tight_binding(tmp_path / "set", n=1, plan=plan, workers=1)
    assert made.materials["space_group"].iloc[0] <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be a whole number from 1"),
        ({"n": 10**9, "plan": PLAN}, "n must be at most"),
        ({"n": 3, "workers": 0}, "workers must be at least 1"),
        ({"n": 3, "device": "abacus"}, "--device abacus"),
    ],
)
def test_impossible_builds_are_refused(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build_tight_binding(tmp_path / "set", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_is_one_line(tmp_path):
    with pytest.raises(UserError, match="torch sees no CUDA device"):
        build_tight_binding(tmp_path / "set", n=3, device="cuda")


@pytest.mark.gpu
def test_cuda_builds_the_same_set(dataset, tmp_path):
    other = build_tight_binding(tmp_path / "set", n=6, plan=PLAN, workers=2, device="cuda")
    assert list(other.materials["id"]) == list(dataset.materials["id"])
    np.testing.assert_allclose(other.spectrum, dataset.spectrum, rtol=1e-3, atol=1e-2)


def test_the_command_builds_a_set(tmp_path):
    folder = tmp_path / "set"
    options = ["--source", "tight-binding", "--n", "2", "--sites", "1-2", "--workers", "1", "--out", str(folder)]
    result = CliRunner().invoke(app, ["data", "build", *options])
    assert result.exit_code == 0, result.output
    assert "2 materials, data hash" in result.output
    again = CliRunner().invoke(app, ["data", "build", *options])
    assert isinstance(again.exception, UserError)
    assert "a data set is there already" in str(again.exception)


def test_sites_are_read_as_people_write_them():
    assert parse_sites("4") == [4]
    assert parse_sites("1, 3-5,10") == [1, 3, 4, 5, 10]
    for text in ("", "0", "11", "5-3", "a", "2-", "-4", "1..3"):
        with pytest.raises(UserError, match="--sites"):
            parse_sites(text)
