"""Damaged and wrong published files: one clear line with file, material and remedy; --skip-bad goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import OpticalDataset
from optiscale.dataset.importers.build import SKIPPED, import_source
from optiscale.dataset.importers.computed_entries import decode_array, read_entry
from optiscale.dataset.importers.recognise import recognise
from optiscale.errors import UserError

from .files import Made, monty, random_materials, raw_entry, write_hdf5, write_published, write_raw


def replaced(name: str, value: Any) -> Callable[[h5py.Group], None]:
    def change(group: h5py.Group) -> None:
        del group[name]
        if value is not None:
            group[name] = value

    return change


EPS = np.ones(2001, dtype=np.complex64)
BAD_HDF5 = {
    "a missing dataset": (replaced("eps", None), "dataset 'eps' is missing"),
    "a spectrum with NaN": (
        replaced("eps", np.where(np.arange(2001) == 7, np.nan, EPS)),
        "spectrum that is not finite",
    ),
    "a spectrum of the wrong length": (replaced("eps", EPS[:2000]), r"eps has shape \(2000,\), not \(2001,\)"),
    "a negative omega_D": (replaced("drude", np.float32(-1)), "omega_D is -1 eV; a Drude frequency is 0 or more"),
    "an unknown element": (replaced("atomic_number", np.array([0], np.uint16)), "atomic numbers must be 1 to 118"),
    "a lattice without volume": (replaced("lattice", np.ones((3, 3), np.float32)), "0 Å.3 an atom"),
    "a duplicate id": (replaced("mat_id", "agm000001"), "'agm000001' occurs twice"),
    "text for numbers": (replaced("lattice", "cubic"), "values of another kind"),
    "a group for a dataset": (
        lambda group: (replaced("eps", None)(group), group.create_group("eps"))[0],
        "not readable",
    ),
}


@pytest.mark.parametrize("case", BAD_HDF5)
def test_a_bad_group_is_named_and_can_be_left_out(tmp_path: Path, case: str) -> None:
    change, reason = BAD_HDF5[case]
    materials = random_materials(3, seed=4)
    if case == "an unknown element":
        materials[1] = one_atom("agm000002")
    path = write_hdf5(tmp_path / "some.h5", materials, change)
    with pytest.raises(UserError, match=rf"some\.h5: agm000002.*{reason}.*; --skip-bad leaves it out") as caught:
        import_source(recognise(path, name="set"), tmp_path / "set")
    assert "\n" not in str(caught.value)
    imported = import_source(recognise(path, name="set"), tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["id"]) == ["agm000001", "agm000003"]
    ((item, why),) = imported.skipped
    assert item.endswith("some.h5: agm000002")
    table = pd.read_csv(tmp_path / "set" / SKIPPED)
    assert table.to_numpy().tolist() == [[item, why]]
    assert OpticalDataset(tmp_path / "set").manifest.provenance["skipped"] == [{"item": item, "reason": why}]


def one_atom(name: str) -> Made:
    structure = Structure(Lattice.cubic(3), ["Al"], [[0, 0, 0]])
    return Made(name, structure, np.ones((2001, 3), complex), np.ones(3), 0.0)


def overlapping(distance: float, *, across: bool) -> Structure:
    """Two atoms at a distance in Å, through the face of a skew cell or not."""
    cell = Lattice([[4, 0, 0], [11, 4, 0], [-3, 7, 4]])
    start = -0.5 * distance if across else 1.0
    return Structure(cell, ["Al", "Ni"], [[start, 0, 0], [start + distance, 0, 0]], coords_are_cartesian=True)


@pytest.mark.parametrize("across", [False, True])
def test_overlapping_atoms_are_refused(tmp_path: Path, across: bool) -> None:
    near, far = overlapping(0.48, across=across), overlapping(0.52, across=across)
    one = random_materials(1)[0]
    good = Made("far", far, one.eps, one.drude, 0.0)
    bad = Made("near", near, one.eps, one.drude, 0.0)
    path = write_hdf5(tmp_path / "some.h5", [good, bad])
    with pytest.raises(UserError, match=r"near: two atoms are 0\.48 Å apart, below 0\.5 Å"):
        import_source(recognise(path, name="set"), tmp_path / "set")
    imported = import_source(recognise(path, name="set"), tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["id"]) == ["far"]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    materials = random_materials(4)
    whole = write_hdf5(tmp_path / "whole.h5", materials).read_bytes()
    rng = np.random.default_rng(1)
    for place, size in enumerate(sorted(rng.integers(0, len(whole), size=20))):
        path = tmp_path / f"cut{place}.h5"
        path.write_bytes(whole[:size])
        with pytest.raises(
            UserError, match=rf"cut{place}\.h5: not a readable HDF5 file .*; download it again"
        ) as caught:
            import_source(recognise(path, name="set"), tmp_path / "set")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_overwritten_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Whatever h5py makes of garbage: an error of ours that names the file, or values that are read."""
    materials = random_materials(4)
    whole = write_hdf5(tmp_path / "whole.h5", materials).read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        start = int(rng.integers(0, len(whole) - 64))
        content[start : start + 64] = rng.bytes(64)
        path = tmp_path / "spoiled.h5"
        path.write_bytes(content)
        try:
            for name, outcome in recognise(path, name="set").read(0):
                if isinstance(outcome, UserError):
                    refused += 1
                    assert str(path) in str(outcome)
                    assert "spoiled.h5" in name
        except UserError as error:
            refused += 1
            assert str(path) in str(error)  # noqa: PT017
    assert refused >= 3


def test_a_truncated_part_of_the_set_can_be_left_out(tmp_path: Path) -> None:
    materials = random_materials(4)
    write_published(tmp_path, {"train": materials[:2], "val": materials[2:3], "test": materials[3:]})
    path = tmp_path / "dataset" / "val.h5"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"val\.h5: not a readable HDF5 file \(.*truncated"):
        recognise(tmp_path, name="set")
    imported = import_source(recognise(tmp_path, name="set", skip_bad=True), tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["split"]) == ["train", "train", "test"]
    assert [Path(item).name for item, _ in imported.skipped] == ["val.h5"]


def spoil(entry: dict[str, Any], *keys: str, value: Any) -> dict[str, Any]:
    inner = entry
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return entry


def table(n: int = 2001, *, stop: float = 20.0) -> np.ndarray:
    return np.column_stack([np.linspace(0, stop, n), np.ones((n, 3))])


BAD_RAW: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "not an entry": (lambda entry: {"lattice": 1}, "not a ComputedStructureEntry"),
    "a list": (lambda entry: [entry], "not a ComputedStructureEntry"),
    "no spectrum": (lambda entry: (entry["data"].pop("eps_inter_im"), entry)[1], r"data\.eps_inter_im is missing"),
    "NaN": (
        lambda entry: spoil(
            entry, "data", "eps_inter_re", value=monty(np.where(np.arange(2001)[:, None] == 83, np.nan, table()))
        ),
        "is on another energy grid",
    ),
    "NaN in a value": (
        lambda entry: spoil(entry, "data", "eps_inter_re", value=monty(table() + np.array([0, np.nan, 0, 0]))),
        "spectrum that is not finite",
    ),
    "wrong length": (
        lambda entry: spoil(entry, "data", "eps_inter_re", value=monty(table(2000))),
        r"eps_inter_re has shape \(2000, 4\)",
    ),
    "another grid": (
        lambda entry: spoil(entry, "data", "eps_inter_im", value=monty(table(stop=10))),
        "on another energy grid .10 eV in row 2000, not 20.; interpolate it",
    ),
    "negative omega_D": (lambda entry: spoil(entry, "data", "drude_freq", value=[1, -2, 1]), "omega_D is -2 eV"),
    "two frequencies": (lambda entry: spoil(entry, "data", "drude_freq", value=[1, 2]), r"shape \(2,\), not \(3,\)"),
    "unknown element": (
        lambda entry: spoil(
            entry, "structure", "sites", value=[{"species": [{"element": "Qq", "occu": 1}], "abc": [0, 0, 0]}]
        ),
        "unknown element 'Qq'",
    ),
    "half a site": (
        lambda entry: spoil(
            entry, "structure", "sites", value=[{"species": [{"element": "Al", "occu": 0.5}], "abc": [0, 0, 0]}]
        ),
        "shared or partly occupied",
    ),
    "no lattice": (lambda entry: spoil(entry, "structure", "lattice", value=None), "not a pymatgen Structure"),
    "zero volume": (
        lambda entry: spoil(entry, "structure", "lattice", "matrix", value=[[1, 0, 0], [0, 1, 0], [1, 1, 0]]),
        "give three independent lattice vectors",
    ),
    "a foreign object": (
        lambda entry: spoil(entry, "data", "drude_freq", value={"@module": "os", "@class": "system", "data": ["true"]}),
        "an object of class 'system' where an array should be",
    ),
}


@pytest.mark.parametrize("case", BAD_RAW)
def test_a_bad_entry_is_named_and_can_be_left_out(tmp_path: Path, case: str) -> None:
    change, reason = BAD_RAW[case]
    materials = random_materials(3, seed=5)
    write_raw(tmp_path / "raw", materials)
    (path,) = (tmp_path / "raw").rglob("agm000002.json")
    path.write_text(json.dumps(change(raw_entry(materials[1]))))
    with pytest.raises(UserError, match=rf"agm000002\.json: .*{reason}.*; --skip-bad leaves it out") as caught:
        import_source(recognise(tmp_path / "raw", name="set"), tmp_path / "set")
    assert "\n" not in str(caught.value)
    imported = import_source(recognise(tmp_path / "raw", name="set"), tmp_path / "set", skip_bad=True)
    assert set(imported.dataset.materials["id"]) == {"agm000001", "agm000003"}
    assert [item for item, _ in imported.skipped] == [str(path)]


def test_a_file_that_is_mended_is_read_when_the_import_goes_on(tmp_path: Path) -> None:
    materials = random_materials(3)
    write_raw(tmp_path / "raw", materials)
    (path,) = (tmp_path / "raw").rglob("agm000002.json")
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    with pytest.raises(UserError, match=r"agm000002\.json: not readable JSON"):
        import_source(recognise(tmp_path / "raw", name="set"), tmp_path / "set")
    path.write_bytes(content)
    assert len(import_source(recognise(tmp_path / "raw", name="set"), tmp_path / "set").dataset) == 3


def test_no_class_that_a_file_names_is_made(tmp_path: Path) -> None:
    """A site property that monty's decoder would import and call is left alone."""
    entry = raw_entry(random_materials(1)[0])
    entry["structure"]["sites"][0]["properties"] = {
        "x": {"@module": "pathlib", "@class": "Path", "@callable": "touch", "data": str(tmp_path / "made")}
    }
    (tmp_path / "entry.json").write_text(json.dumps(entry))
    assert read_entry(tmp_path / "entry.json").id == "agm000001"
    assert not (tmp_path / "made").exists()
    with pytest.raises(ValueError, match="an object of class 'Path'"):
        decode_array({"@module": "pathlib", "@class": "Path", "data": []})


def test_nothing_to_import_and_a_missing_part_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "nothing to import here"), (tmp_path / "no", "no such file or folder")):
        with pytest.raises(UserError, match=f"{reason}; wanted: a folder with train.h5"):
            recognise(path, name="set")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="not a layout that is known"):
        recognise(tmp_path / "notes.txt", name="set")
    write_hdf5(tmp_path / "train.h5", random_materials(1))
    with pytest.raises(UserError, match=r"val\.h5: missing beside train\.h5"):
        recognise(tmp_path, name="set")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"empty\.h5: holds no materials"):
        import_source(recognise(write_hdf5(tmp_path / "empty.h5", []), name="set"), tmp_path / "set")


def test_the_command_lists_what_it_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_hdf5(tmp_path / "some.h5", random_materials(3), replaced("eps", None))
    stopped = CliRunner().invoke(app, ["data", "import", "some.h5"])
    assert isinstance(stopped.exception, UserError)
    result = CliRunner().invoke(app, ["data", "import", "some.h5", "--skip-bad"], catch_exceptions=False)
    assert "skipped some.h5: agm000002: " in result.output
    assert "1 skipped; all with reasons in data/some/skipped.csv" in result.output
    assert len(OpticalDataset(Path("data/some"))) == 2
