from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import make_dataset, small_crystals

from optiscale.dataset import OpticalDataset, open_source
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


def test_arrays_are_memory_maps(dataset: OpticalDataset) -> None:
    assert isinstance(dataset.spectrum, np.memmap)


def test_the_hash_is_that_of_the_content(dataset: OpticalDataset, tmp_path: Path) -> None:
    assert make_dataset(tmp_path / "same").hash == dataset.hash
    assert make_dataset(tmp_path / "fewer", n=29).hash != dataset.hash
    spectrum = np.array(dataset.spectrum)
    spectrum[3, 4, 1] += 1e-6
    assert make_dataset(tmp_path / "moved", spectrum=spectrum).hash != dataset.hash


def test_no_data_set_and_a_truncated_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data set at"):
        open_source(str(tmp_path))
    make_dataset(tmp_path / "cut")
    path = tmp_path / "cut" / "spectrum.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"spectrum\.npy: truncated or changed"):
        open_source(str(tmp_path / "cut"))
    path.unlink()
    with pytest.raises(UserError, match=r"spectrum\.npy: missing"):
        open_source(str(tmp_path / "cut"))


def test_a_damaged_manifest_and_another_version_are_named(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(UserError, match="schema version 99"):
        OpticalDataset(tmp_path / "set")
    manifest.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="not a data set manifest"):
        OpticalDataset(tmp_path / "set")


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the data set is empty"):
        make_dataset(tmp_path / "none", n=0, spectrum=np.empty((0, 21, 2)), scalars=np.empty((0, 1)))


@pytest.mark.parametrize(("target", "place"), [("spectrum", (7, 3, 0)), ("omega_D", (7, 0))])
def test_a_target_that_is_no_number_is_named(
    dataset: OpticalDataset, tmp_path: Path, target: str, place: tuple[int, ...]
) -> None:
    name = "spectrum" if target == "spectrum" else "scalars"
    values = np.array(getattr(dataset, name))
    values[place] = np.nan
    bad = make_dataset(tmp_path / "bad", **{name: values})
    with pytest.raises(UserError, match=f"material m7 has a {target} that is not finite"):
        bad.check_targets(np.arange(30))
    bad.check_targets(np.delete(np.arange(30), 7))


def test_a_full_folder_is_not_overwritten(dataset: OpticalDataset) -> None:
    with pytest.raises(UserError, match="a data set is there already"):
        make_dataset(dataset.folder)


def test_a_position_that_is_no_number_is_named(tmp_path: Path) -> None:
    structures = [(atoms.cell.array, atoms.numbers, atoms.positions.copy()) for atoms in small_crystals(30)]
    structures[4][2][1, 2] = np.inf
    with pytest.raises(UserError, match="material m4 has a position that is not finite"):
        make_dataset(tmp_path / "bad", structures=structures).check_structures()
