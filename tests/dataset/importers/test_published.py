"""The published layouts import to the arrays that were written, bit for bit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from optiscale.dataset import OpticalDataset, split_as_given
from optiscale.dataset.importers.build import Outcome, import_source
from optiscale.dataset.importers.computed_entries import ComputedEntries
from optiscale.dataset.importers.recognise import json_files, recognise

from .files import Made, random_materials, write_hdf5, write_published, write_raw


def bits(values: np.ndarray) -> bytes:
    """The bytes of an array: -0.0 is not 0.0, and float32 is not float64."""
    return np.ascontiguousarray(values).tobytes()


def assert_spectrum(dataset: OpticalDataset, row: int, one: Made) -> None:
    assert bits(dataset.spectrum[row]) == bits(one.eps_average)
    assert np.signbit(dataset.spectrum[row, 0]).all(), "-0.0 keeps its sign"


def test_hdf5_is_imported_bit_for_bit(tmp_path: Path) -> None:
    materials = random_materials(12)
    parts = {"train": materials[:6], "val": materials[6:9], "test": materials[9:]}
    dataset = import_source(recognise(write_published(tmp_path, parts), name="set"), tmp_path / "set").dataset
    assert list(dataset.materials["id"]) == [one.id for one in materials]
    for row, one in enumerate(materials):
        sites = slice(dataset.site_offset[row], dataset.site_offset[row + 1])
        assert_spectrum(dataset, row, one)
        assert bits(dataset.lattice[row]) == bits(one.lattice.astype(np.float64))
        assert bits(dataset.position[sites]) == bits(one.position.astype(np.float64))
        assert list(dataset.atomic_number[sites]) == list(one.atomic_number)
        assert dataset.scalars[row, 0] == one.drude_mean
        assert dataset.materials["e_above_hull"][row] == one.e_above_hull
    assert list(dataset.materials["split"]) == ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    assert {part: list(rows) for part, rows in split_as_given(dataset.materials).items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "validation": [6, 7, 8],
        "test": [9, 10, 11],
    }
    assert dataset.energies[83] == pytest.approx(0.83)


def test_one_hdf5_file_alone_is_imported(tmp_path: Path) -> None:
    materials = random_materials(3)
    path = write_hdf5(tmp_path / "some.h5", materials)
    dataset = import_source(recognise(path, name="set"), tmp_path / "set").dataset
    assert list(dataset.materials["id"]) == [one.id for one in materials]
    assert dataset.materials["split"].isna().all()


def test_raw_entries_are_imported_bit_for_bit(tmp_path: Path) -> None:
    materials = random_materials(8)
    write_raw(tmp_path / "raw", materials[:7])
    write_raw(tmp_path / "raw", materials[7:], part=1)
    dataset = import_source(recognise(tmp_path / "raw", name="set"), tmp_path / "set").dataset
    table = dataset.materials.set_index("id")
    assert set(table.index) == {one.id for one in materials}
    rows = {name: row for row, name in enumerate(dataset.materials["id"])}
    for one in materials:
        row = rows[one.id]
        sites = slice(dataset.site_offset[row], dataset.site_offset[row + 1])
        assert_spectrum(dataset, row, one)
        assert bits(dataset.lattice[row]) == bits(one.structure.lattice.matrix)
        assert bits(dataset.position[sites]) == bits(one.structure.cart_coords)
        assert list(dataset.atomic_number[sites]) == list(one.atomic_number)
        assert dataset.scalars[row, 0] == pytest.approx(np.sqrt(np.mean(one.drude**2)), rel=1e-7)
        assert table.loc[one.id, ["e_above_hull", "e_form", "dos_ef"]].tolist() == [one.e_above_hull, -0.25, 1.5]
        assert table.loc[one.id, "prototype"] == "cF4"
        assert table.loc[one.id, "space_group"] == 1
        assert json.loads(table.loc[one.id, "provenance"])["parameters"]["k_mesh"] == [12, 12, 12]


def test_a_raw_folder_and_compressed_files_are_known(tmp_path: Path) -> None:
    one = random_materials(1)[0]
    write_raw(tmp_path, [one])
    (folder,) = tmp_path.iterdir()
    (plain,) = folder.iterdir()
    (folder / f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    dataset = import_source(recognise(folder, name="set"), tmp_path / "set").dataset
    assert_spectrum(dataset, 0, one)


def test_several_processes_read_the_same(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", random_materials(40))
    paths = json_files(tmp_path / "raw")
    alone = import_source(ComputedEntries(paths, name="set", workers=1), tmp_path / "one").dataset
    together = import_source(ComputedEntries(paths, name="set", workers=2), tmp_path / "two").dataset
    assert together.hash == alone.hash
    assert list(together.materials["id"]) == list(alone.materials["id"])


@pytest.mark.parametrize("layout", ["hdf5", "raw"])
def test_an_interrupted_import_goes_on(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optiscale.dataset.writer.CHUNK", 2)
    materials = random_materials(9)
    if layout == "hdf5":
        path = write_published(tmp_path / "in", {"train": materials[:5], "val": materials[5:7], "test": materials[7:]})
    else:
        path = write_raw(tmp_path / "in", materials)
    undisturbed = import_source(recognise(path, name="set"), tmp_path / "other").dataset

    read: list[int] = []

    class Killed(BaseException):
        pass

    def killed_at_seven(outcomes: Iterable[Outcome], start: int, total: int) -> Iterator[Outcome]:
        for place, outcome in enumerate(outcomes, start=start):
            read.append(place)
            if place == 7 and start == 0:
                raise Killed
            yield outcome

    with pytest.raises(Killed):
        import_source(recognise(path, name="set"), tmp_path / "set", track=killed_at_seven)
    assert not (tmp_path / "set").exists()
    resumed = import_source(recognise(path, name="set"), tmp_path / "set", track=killed_at_seven).dataset
    assert read == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8], "nothing is read twice"
    assert resumed.hash == undisturbed.hash
