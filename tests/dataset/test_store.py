from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import make_dataset, small_crystals, small_info, small_materials, spoil, write_materials

from optiscale.dataset import Material, OpticalDataset, open_source
from optiscale.dataset.schema import ARRAYS, COLUMNS, Manifest
from optiscale.dataset.store import damaged_files
from optiscale.errors import UserError


def test_what_is_written_is_read(dataset: OpticalDataset) -> None:
    crystals = small_crystals(30)
    assert len(dataset) == 30
    for row in (0, 1, 29):
        atoms = dataset.atoms(row)
        assert (atoms.numbers == crystals[row].numbers).all()
        np.testing.assert_array_equal(atoms.positions, crystals[row].positions)
        np.testing.assert_array_equal(atoms.cell.array, crystals[row].cell.array)
    assert dataset.spectrum.shape == (30, 21, 2)
    assert list(dataset.materials["n_sites"]) == [len(atoms) for atoms in crystals]
    np.testing.assert_array_equal(dataset.materials["omega_D"], dataset.scalars[:, 0])


def test_the_table_reads_without_optiscale(dataset: OpticalDataset) -> None:
    rows = pq.read_table(dataset.folder / "materials.parquet").to_pylist()
    assert list(rows[0]) == [*COLUMNS, "omega_D"]
    first, second = rows[0], rows[1]  # L1_2-like, one Na at the corner of fcc Li; B2
    assert (first["formula"], first["reduced_formula"]) == ("Li3Na", "Li3Na")
    assert (first["space_group"], second["space_group"]) == (221, 221)
    assert first["species"] == ["Na", "Li", "Li", "Li"]
    assert np.shape(first["positions"]) == (4, 3)
    np.testing.assert_array_equal(first["lattice"], dataset.lattice[0])
    assert json.loads(first["provenance"]) == {}


def test_a_cell_of_two_formula_units_has_the_reduced_formula_of_one(tmp_path: Path) -> None:
    two = small_crystals(2)[1] * (1, 1, 2)
    material = replace(small_materials(1)[0], lattice=two.cell.array, atomic_number=two.numbers, position=two.positions)
    row = write_materials(tmp_path / "set", [material]).materials.iloc[0]
    assert (row["formula"], row["reduced_formula"]) == ("Li2Mg2", "LiMg")


def test_arrays_are_memory_maps(dataset: OpticalDataset) -> None:
    assert isinstance(dataset.spectrum, np.memmap)


CHANGES = {
    "position": lambda m: replace(m, position=m.position + np.array([0, 0, 1e-9])),
    "lattice": lambda m: replace(m, lattice=m.lattice * (1 + 1e-12)),
    "species": lambda m: replace(m, atomic_number=m.atomic_number[::-1]),
    "spectrum": lambda m: replace(m, spectrum=np.nextafter(np.float32(m.spectrum), np.float32(9))),
    "scalar": lambda m: replace(m, scalars=m.scalars + 1e-4),
    "id": lambda m: replace(m, id="other"),
    "split": lambda m: replace(m, split="train"),
    "prototype": lambda m: replace(m, prototype="B2"),
    "extra": lambda m: replace(m, extra={"e_above_hull": 0.1}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_hash_changes_with_any_value(tmp_path: Path, what: str) -> None:
    material = small_materials(2)[1]
    changed: Material = CHANGES[what](material)
    assert write_materials(tmp_path / "one", [material]).hash != write_materials(tmp_path / "two", [changed]).hash


def test_the_hash_is_that_of_the_content_and_not_of_the_parquet_bytes(dataset: OpticalDataset, tmp_path: Path) -> None:
    same = make_dataset(tmp_path / "same")
    assert same.hash == dataset.hash
    assert make_dataset(tmp_path / "fewer", n=29).hash != dataset.hash
    manifest = same.manifest.model_dump(mode="json")
    manifest["files"]["materials"]["sha256"] = "0" * 64
    manifest["versions"]["pyarrow"] = "99"
    assert Manifest.model_validate(manifest).hash == dataset.hash


def test_a_set_may_have_no_spectra(tmp_path: Path) -> None:
    bare = [replace(material, spectrum=None) for material in small_materials(4)]
    dataset = write_materials(tmp_path / "bare", bare, energy=None, components=())
    assert dataset.spectrum.shape == (4, 0, 0)
    assert len(dataset.energies) == 0
    assert dataset.scalars.shape == (4, 1)
    dataset.check_targets(np.arange(4))
    assert not (dataset.folder / "spectrum.npy").exists()


def test_a_set_may_have_no_scalars(tmp_path: Path) -> None:
    bare = [replace(material, scalars=np.empty(0)) for material in small_materials(4)]
    dataset = write_materials(tmp_path / "bare", bare, scalars=())
    assert dataset.scalars.shape == (4, 0)
    assert dataset.spectrum.shape == (4, 21, 2)


def test_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data set at"):
        open_source(str(tmp_path))
    with pytest.raises(UserError, match="no data set here"):
        OpticalDataset(tmp_path)


@pytest.mark.parametrize("file", [*(f"{name}.npy" for name in ARRAYS), "materials.parquet"])
def test_a_damaged_file_is_found(tmp_path: Path, file: str) -> None:
    dataset = make_dataset(tmp_path / "cut")
    path = dataset.folder / file
    whole = path.read_bytes()
    assert damaged_files(dataset.folder, dataset.manifest) == []
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    assert damaged_files(dataset.folder, dataset.manifest) == [f"{file} has another checksum"]
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=f"damaged: {file} has {len(whole) - 100} bytes, not {len(whole)}; remove"):
        open_source(str(dataset.folder))
    path.unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        open_source(str(dataset.folder))


def test_a_wrong_size_lets_every_checksum_be_verified(tmp_path: Path) -> None:
    dataset = spoil(make_dataset(tmp_path / "set"), "spectrum", (3, 4, 1), 7.0)
    with (dataset.folder / "scalars.npy").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(UserError, match=r"spectrum\.npy has another checksum") as refused:
        OpticalDataset(dataset.folder)
    assert "scalars.npy has 252 bytes, not 248" in str(refused.value)


def test_a_damaged_table_of_the_right_size_is_named(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    path = dataset.folder / "materials.parquet"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=r"materials\.parquet: not readable .*build the set again"):
        _ = OpticalDataset(dataset.folder).lattice


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 99}, "written by a newer OptiScale .*update OptiScale"),
        ({"schema_version": 1}, "written by an older OptiScale .*build the data set again"),
        ({"schema_version": None}, "not a data set manifest"),
        ({"scalars": "omega_D"}, "not a data set manifest"),
    ],
)
def test_foreign_newer_and_older_manifests_are_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = make_dataset(tmp_path / "set").folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=said) as refused:
        OpticalDataset(tmp_path / "set")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '{"schema_version": 2}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = make_dataset(tmp_path / "set").folder / "manifest.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: not a data set manifest"):
        OpticalDataset(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "place", "target"), [("spectrum", (7, 3, 0), "spectrum"), ("scalars", (7, 0), "omega_D")]
)
def test_a_target_that_is_no_number_is_named(tmp_path: Path, name: str, place: tuple[int, ...], target: str) -> None:
    bad = spoil(make_dataset(tmp_path / "bad"), name, place, np.nan)
    with pytest.raises(UserError, match=f"material m7 has a {target} that is not finite"):
        bad.check_targets(np.arange(30))
    bad.check_targets(np.delete(np.arange(30), 7))


def test_the_manifest_says_what_the_set_is(dataset: OpticalDataset) -> None:
    manifest = dataset.manifest
    assert (manifest.n_materials, manifest.n_atoms) == (30, len(dataset.position))
    assert manifest.energy == small_info().energy
    assert manifest.units == {"energy": "eV", "lattice": "Å", "positions": "Å"}
    assert manifest.versions["pyarrow"] == pa.__version__
