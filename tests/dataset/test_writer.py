from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killing import FORK, bytes_of, survives_a_kill_at_any_step, survives_kills_at_random_times
from small import N_OMEGA, small_info, small_materials, write_materials

from optiscale.dataset import DatasetWriter, EnergyGrid, Material, OpticalDataset, Scalar, symmetry
from optiscale.dataset import writer as writer_module
from optiscale.errors import UserError

RANDOM = np.random.default_rng(5)
MATERIALS = [
    Material(
        id=f"r{number}",
        lattice=4 * np.eye(3) + RANDOM.normal(size=(3, 3)) / 3,
        atomic_number=RANDOM.integers(3, 84, 1 + number % 7),
        position=RANDOM.uniform(0, 4, (1 + number % 7, 3)),
        spectrum=RANDOM.uniform(0, 9, (N_OMEGA, 2)),
        scalars=RANDOM.uniform(1, 9, 1),
        space_group=1,
        provenance={"number": number},
        extra={"e_above_hull": number / 7, "label": f"l{number % 3}"},
    )
    for number in range(40)
]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "CHUNK", 16)


def build(folder: Path) -> OpticalDataset:
    """Every eleventh item is no use."""
    with DatasetWriter(folder, small_info()) as writer:
        for number, material in list(enumerate(MATERIALS))[writer.n_seen :]:
            if number % 11 == 5:
                writer.skip(material.id, "no use")
            else:
                writer.add(material)
        return writer.finish()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> OpticalDataset:
    return build(tmp_path_factory.mktemp("writer") / "set")


def test_a_finished_build_leaves_nothing_but_the_set(undisturbed: OpticalDataset) -> None:
    assert [path.name for path in undisturbed.folder.parent.iterdir()] == ["set"]
    files = {"manifest.json", "materials.parquet", "scalars.npy", "spectrum.npy"}
    assert set(bytes_of(undisturbed.folder)) == files


def test_everything_added_is_read_back(undisturbed: OpticalDataset) -> None:
    kept = [material for number, material in enumerate(MATERIALS) if number % 11 != 5]
    assert len(undisturbed) == len(kept)
    for row, material in enumerate(kept):
        atoms = undisturbed.atoms(row)
        np.testing.assert_array_equal(atoms.numbers, material.atomic_number)
        np.testing.assert_array_equal(atoms.positions, material.position)
        np.testing.assert_array_equal(atoms.cell.array, material.lattice)
        np.testing.assert_array_equal(undisturbed.spectrum[row], np.float32(material.spectrum))
        np.testing.assert_array_equal(undisturbed.scalars[row], np.float32(material.scalars))
    table = undisturbed.materials
    assert list(table["id"]) == [material.id for material in kept]
    assert list(table["label"]) == [material.extra["label"] for material in kept]
    np.testing.assert_array_equal(table["e_above_hull"], [material.extra["e_above_hull"] for material in kept])
    skipped = undisturbed.manifest.provenance["skipped"]
    assert skipped == [{"item": f"r{number}", "reason": "no use"} for number in (5, 16, 27, 38)]


def test_a_build_killed_at_any_step_goes_on_to_the_same_bytes(
    undisturbed: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = survives_a_kill_at_any_step(build, bytes_of(undisturbed.folder), tmp_path, monkeypatch)
    assert steps > 30, "fewer steps were tried than a build has"


def test_a_build_killed_at_random_times_goes_on_to_the_same_bytes(undisturbed: OpticalDataset, tmp_path: Path) -> None:
    survives_kills_at_random_times(build, bytes_of(undisturbed.folder), tmp_path, builds=6)


def test_programs_that_build_the_same_folder_wait_for_one_another(undisturbed: OpticalDataset, tmp_path: Path) -> None:
    folder, ready = tmp_path / "set", FORK.Barrier(3)
    answers = FORK.SimpleQueue()

    def work() -> None:
        ready.wait()
        with DatasetWriter(folder, small_info()) as writer:
            found = (writer.finished, writer.n_seen)
            for number, material in list(enumerate(MATERIALS))[writer.n_seen :]:
                time.sleep(0.005)  # the others come to the lock meanwhile
                if number % 11 == 5:
                    writer.skip(material.id, "no use")
                else:
                    writer.add(material)
            answers.put((*found, writer.finish().hash))

    programs = [FORK.Process(target=work) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
        assert program.exitcode == 0
    found = sorted(answers.get() for _ in programs)
    assert found == [(False, 0, undisturbed.hash), *[(True, len(MATERIALS), undisturbed.hash)] * 2]
    assert bytes_of(folder) == bytes_of(undisturbed.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_error_keeps_what_was_added_before(undisturbed: OpticalDataset, tmp_path: Path) -> None:
    def interrupted() -> None:
        with DatasetWriter(tmp_path / "set", small_info()) as writer:
            for material in MATERIALS[:5]:
                writer.add(material)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with DatasetWriter(tmp_path / "set", small_info()) as writer:
        assert writer.n_seen == 5
        assert not writer.finished
    assert build(tmp_path / "set").hash == undisturbed.hash


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"build_key": {"n": 3}}, "n"),
        ({"energy": EnergyGrid(start=0, stop=10, n=N_OMEGA)}, "energy"),
        ({"scalars": (Scalar(name="gap", unit="eV"),)}, "scalars"),
    ],
)
def test_a_build_with_other_values_does_not_go_on(tmp_path: Path, change: dict[str, object], named: str) -> None:
    with DatasetWriter(tmp_path / "set", small_info(build_key={"k": (1, 2)})) as writer:
        writer.add(replace(MATERIALS[0], extra={}))
    with DatasetWriter(tmp_path / "set", small_info(build_key={"k": (1, 2)})) as writer:
        assert writer.n_seen == 1
    with (
        pytest.raises(UserError, match=rf"\.set\.building: an interrupted build with another .*{named}.*remove this"),
        DatasetWriter(tmp_path / "set", small_info(**{"build_key": {"k": (1, 2)}, **change})),
    ):
        pass


def test_what_is_in_the_way_is_refused(undisturbed: OpticalDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a data set is there already"):
        build(undisturbed.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="something else is there already"):
        build(tmp_path / "full")
    with pytest.raises(UserError, match=r"cannot be made \(.*choose another folder"):
        build(tmp_path / "full" / "thesis.txt" / "set")
    (tmp_path / "empty").mkdir()
    assert build(tmp_path / "empty").hash == undisturbed.hash


def test_an_empty_set_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the data set is empty"):
        write_materials(tmp_path / "none", [])
    assert list(tmp_path.iterdir()) == []


GOOD = small_materials(2)[1]
NAN = np.float64("nan")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lattice": np.full((3, 3), np.inf)}, "material m1 has a lattice that is not finite"),
        ({"lattice": np.ones((3, 3))}, "material m1: the lattice vectors span no volume"),
        ({"lattice": np.eye(2)}, r"material m1: lattice has shape \(2, 2\), not \(3, 3\)"),
        ({"position": np.array([[0, 0, 0], [0, NAN, 0]])}, "material m1 has a position that is not finite"),
        ({"position": np.zeros((3, 3))}, r"material m1: position has shape \(3, 3\), not \(2, 3\)"),
        ({"atomic_number": np.array([3, 0])}, "material m1: atomic numbers must be 1 to 118"),
        ({"atomic_number": np.empty(0, int)}, "material m1: atomic numbers must be 1 to 118"),
        ({"spectrum": None}, "material m1: spectrum: none, the set has spectra"),
        ({"spectrum": np.zeros((5, 2))}, r"material m1: spectrum has shape \(5, 2\), not \(21, 2\)"),
        ({"spectrum": np.full((21, 2), NAN)}, "material m1 has a spectrum that is not finite"),
        ({"scalars": np.array([NAN])}, "material m1 has a omega_D that is not finite"),
        ({"scalars": np.empty(0)}, r"material m1: scalars has shape \(0,\), not \(1,\)"),
        ({"split": "val"}, "material m1: split 'val' must be one of train, validation, test"),
        ({"id": ""}, "has no name"),
        ({"extra": {"omega_D": 1.0}}, "the column 'omega_D' is the data set's own"),
    ],
)
def test_a_bad_material_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        write_materials(tmp_path / "set", [replace(GOOD, **change)])  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_the_second_of_a_name_and_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="material 'm1' occurs twice"):
        write_materials(tmp_path / "twice", [GOOD, GOOD])
    with pytest.raises(UserError, match="material 'm1' occurs twice"):
        write_materials(tmp_path / "twice", [GOOD])  # in the part that an earlier program wrote
    with pytest.raises(UserError, match=r"material b: further columns .* others have"):
        write_materials(tmp_path / "columns", [replace(GOOD, extra={"a": 1.0}), replace(GOOD, id="b", extra={"a": 1})])


def test_numpy_values_are_plain_in_provenance_and_columns(tmp_path: Path) -> None:
    material = replace(GOOD, provenance={"kpts": np.array([4, 4, 4])}, extra={"a": np.float32(0.5), "b": np.int64(3)})
    dataset = write_materials(tmp_path / "set", [material], provenance={"mesh": np.arange(2), "pair": (1, 2)})
    assert list(dataset.materials.loc[0, ["a", "b"]]) == [0.5, 3]
    assert json.loads(dataset.materials["provenance"][0]) == {"kpts": [4, 4, 4]}
    assert dataset.manifest.provenance == {"mesh": [0, 1], "pair": [1, 2], "skipped": []}


def test_the_space_group_is_found_where_the_source_does_not_tell(tmp_path: Path) -> None:
    dataset = write_materials(tmp_path / "set", [*small_materials(2), replace(GOOD, id="told", space_group=1)])
    assert list(dataset.materials["space_group"]) == [221, 221, 1]


def test_space_groups_of_many_crystals_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = [*small_materials(8), replace(GOOD, space_group=7)]
    expected = [221] * 8 + [7]
    assert symmetry.space_groups(crystals) == expected
    monkeypatch.setattr(symmetry, "_MANY", 4)
    monkeypatch.setattr(symmetry, "_PART", 3)
    assert symmetry.space_groups(crystals) == expected


def test_overlapping_atoms_have_no_space_group() -> None:
    doubled = replace(GOOD, atomic_number=np.array([3, 3]), position=np.zeros((2, 3)))
    assert symmetry.space_groups([doubled]) == [None]
