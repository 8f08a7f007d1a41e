"""One's own structures, spectra and scalar targets, in every format that is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import ase.db
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from pymatgen.io.ase import AseAtomsAdaptor
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import OpticalDataset
from optiscale.dataset.importers.build import import_source
from optiscale.dataset.importers.own import OwnData, parse_scalar
from optiscale.dataset.schema import EnergyGrid, Scalar
from optiscale.errors import UserError

IDS = ["al", "nial", "ti"]
ENERGY = np.linspace(0, 4, 9)
OMEGA_D = [12.7, 6.7, 0.0]


def crystals() -> list[Atoms]:
    found = [bulk("Al", "fcc", a=4.05), bulk("NiAl", "cesiumchloride", a=2.887), bulk("Ti", "hcp", a=2.95, c=4.68)]
    for name, atoms, omega_D in zip(IDS, found, OMEGA_D, strict=True):
        atoms.info = {"id": name, "omega_D": omega_D}
    return found


def spectra(energy: np.ndarray = ENERGY) -> np.ndarray:
    """(M, n_omega) complex; linear in energy, so that interpolation is exact."""
    slope = np.array([1.0, -2.0, 3.0])[:, None]
    return slope * energy + 1j * (0.5 + energy * slope**2)


def as_extxyz(folder: Path) -> Path:
    write(folder / "own.extxyz", crystals(), format="extxyz")
    return folder / "own.extxyz"


def as_database(folder: Path, name: str = "own.db") -> Path:
    with ase.db.connect(folder / name) as database:
        for atoms in crystals():
            database.write(atoms, material_id=atoms.info["id"], omega_D=atoms.info["omega_D"])
    return folder / name


def as_json_database(folder: Path) -> Path:
    return as_database(folder, "own.json")


def as_cif(folder: Path) -> Path:
    (folder / "cif").mkdir()
    for atoms in crystals():
        write(folder / "cif" / f"{atoms.info['id']}.cif", atoms)
    return folder / "cif"


def pymatgen_dicts() -> dict[str, dict]:
    return {atoms.info["id"]: AseAtomsAdaptor.get_structure(atoms).as_dict() for atoms in crystals()}


def as_mapping(folder: Path) -> Path:
    (folder / "own.json").write_text(json.dumps(pymatgen_dicts()))
    return folder / "own.json"


def as_list(folder: Path) -> Path:
    (folder / "own.json").write_text(json.dumps([{**one, "id": name} for name, one in pymatgen_dicts().items()]))
    return folder / "own.json"


STRUCTURES = [as_extxyz, as_database, as_json_database, as_cif, as_mapping, as_list]


@pytest.mark.parametrize("make", STRUCTURES)
def test_structures_of_every_format_are_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    table = pd.DataFrame({"id": IDS, "gap": [0.1, 0.2, 0.3]})
    table.to_csv(tmp_path / "gap.csv", index=False)
    source = OwnData(path, scalars=tmp_path / "gap.csv", targets=[parse_scalar("gap=eV")], name="set")
    dataset = import_source(source, tmp_path / "set").dataset
    exact = {} if make is not as_cif else {"atol": 1e-6}  # CIF files round
    rows = {name: row for row, name in enumerate(dataset.materials["id"])}
    assert set(rows) == set(IDS)
    for place, atoms in enumerate(crystals()):
        read = dataset.atoms(rows[IDS[place]])
        assert sorted(read.numbers) == sorted(atoms.numbers)
        np.testing.assert_allclose(read.cell.lengths(), atoms.cell.lengths(), **exact)
        np.testing.assert_allclose(read.cell.angles(), atoms.cell.angles(), **exact)
        np.testing.assert_allclose(read.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-6)
        assert dataset.scalars[rows[IDS[place]], 0] == np.float32([0.1, 0.2, 0.3][place])
    assert dataset.manifest.energy is None


def long_table(energies: Sequence[np.ndarray] = (ENERGY,) * 3) -> pd.DataFrame:
    parts = []
    for row, (name, energy) in enumerate(zip(IDS, energies, strict=True)):
        eps = spectra(energy)[row]
        parts.append(pd.DataFrame({"id": name, "energy": energy, "re": eps.real, "im": eps.imag}))
    return pd.concat(parts)


def long_csv(folder: Path) -> list[Path]:
    long_table().sample(frac=1, random_state=0).to_csv(folder / "s.csv", index=False)  # in any order
    return [folder / "s.csv"]


def long_parquet(folder: Path) -> list[Path]:
    long_table().set_index("id").to_parquet(folder / "s.parquet")
    return [folder / "s.parquet"]


def wide_csv(folder: Path) -> list[Path]:
    for name in ("re", "im"):
        table = pd.DataFrame(getattr(spectra(), {"re": "real", "im": "imag"}[name]), columns=[f"{E:g}" for E in ENERGY])
        table.insert(0, "id", IDS)
        table.to_csv(folder / f"{name}.csv", index=False)
    return [folder / "re.csv", folder / "im.csv"]


def list_parquet(folder: Path) -> list[Path]:
    eps = spectra()
    columns = {"id": IDS, "energy": [list(ENERGY)] * 3, "re": list(eps.real), "im": list(eps.imag)}
    pd.DataFrame(columns).to_parquet(folder / "s.parquet", index=False)
    return [folder / "s.parquet"]


def npz(folder: Path) -> list[Path]:
    np.savez(folder / "s.npz", id=np.array(IDS), energy=ENERGY, re=spectra().real, im=spectra().imag)
    return [folder / "s.npz"]


def complex_npz(folder: Path) -> list[Path]:
    np.savez(folder / "s.npz", id=np.array(IDS), energy=np.tile(ENERGY, (3, 1)), eps=spectra())
    return [folder / "s.npz"]


@pytest.mark.parametrize("make", [long_csv, long_parquet, wide_csv, list_parquet, npz, complex_npz])
def test_spectra_of_every_format_are_read(tmp_path: Path, make: Callable[[Path], list[Path]]) -> None:
    source = OwnData(as_extxyz(tmp_path), make(tmp_path), targets=[parse_scalar("omega_D=eV")], name="set")
    dataset = import_source(source, tmp_path / "set").dataset
    assert dataset.manifest.components == ("re", "im")
    assert dataset.manifest.energy == EnergyGrid(start=0, stop=4, n=9)
    assert dataset.manifest.scalars == (Scalar(name="omega_D", unit="eV", nonnegative=True),)
    assert list(dataset.materials["id"]) == IDS
    np.testing.assert_array_equal(dataset.spectrum[:, :, 0], spectra().real.astype(np.float32))
    np.testing.assert_array_equal(dataset.spectrum[:, :, 1], spectra().imag.astype(np.float32))
    np.testing.assert_array_equal(dataset.scalars[:, 0], np.float32(OMEGA_D))


def test_any_number_of_named_components_and_scalars(tmp_path: Path) -> None:
    long_table().drop(columns="re").rename(columns={"im": "reflectivity"}).to_csv(tmp_path / "s.csv", index=False)
    pd.DataFrame({"id": IDS, "gap": [0, 1, 2], "shift": [-1, 0, 1]}).to_parquet(tmp_path / "t.parquet")
    targets = [parse_scalar(text) for text in ("gap=eV:nonnegative", "shift=meV", "omega_D=eV")]
    source = OwnData(
        as_extxyz(tmp_path), [tmp_path / "s.csv"], scalars=tmp_path / "t.parquet", targets=targets, name="set"
    )
    dataset = import_source(source, tmp_path / "set").dataset
    assert dataset.manifest.components == ("reflectivity",)
    assert [(one.name, one.unit, one.nonnegative) for one in dataset.manifest.scalars] == [
        ("gap", "eV", True),
        ("shift", "meV", False),
        ("omega_D", "eV", True),
    ]
    np.testing.assert_array_equal(dataset.scalars, np.float32(np.column_stack([[0, 1, 2], [-1, 0, 1], OMEGA_D])))


@pytest.mark.parametrize(
    ("unit", "values"),
    [("eV", ENERGY[1:]), ("cm-1", ENERGY[1:] / 1.239841984332e-4), ("nm", 1239.841984332 / ENERGY[1:])],
)
def test_units_and_interpolation(tmp_path: Path, unit: str, values: np.ndarray) -> None:
    table = long_table((ENERGY[1:],) * 3).assign(energy=np.tile(values, 3))
    table.to_csv(tmp_path / "s.csv", index=False)
    source = OwnData(as_extxyz(tmp_path), [tmp_path / "s.csv"], unit=unit, energy="0.5:3.9:35", name="set")
    dataset = import_source(source, tmp_path / "set").dataset
    assert dataset.manifest.energy == EnergyGrid(start=0.5, stop=3.9, n=35)
    expected = spectra(np.linspace(0.5, 3.9, 35))
    np.testing.assert_allclose(dataset.spectrum[:, :, 0], expected.real, rtol=1e-6)
    np.testing.assert_allclose(dataset.spectrum[:, :, 1], expected.imag, rtol=1e-6)


def test_mixed_grids_are_refused_or_interpolated(tmp_path: Path) -> None:
    path = as_extxyz(tmp_path)
    long_table((ENERGY, np.linspace(0, 4, 21), ENERGY)).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        UserError, match=r"nial: mixed energy grids: it has 0 to 4 eV in 21 points, others .* 9 points; name"
    ):
        OwnData(path, [tmp_path / "s.csv"], name="set")
    dataset = import_source(OwnData(path, [tmp_path / "s.csv"], energy="0:4:5", name="set"), tmp_path / "set").dataset
    np.testing.assert_allclose(dataset.spectrum[:, :, 1], spectra(np.linspace(0, 4, 5)).imag, rtol=1e-6)


def test_nothing_is_extrapolated(tmp_path: Path) -> None:
    path = as_extxyz(tmp_path)
    long_table((ENERGY, ENERGY[:-1], ENERGY)).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        UserError, match=r"nial: the spectrum covers 0 to 3.5 eV in 8 points, not all of 0 to 4 eV.*--skip"
    ):
        OwnData(path, [tmp_path / "s.csv"], energy="0:4:5", name="set")
    source = OwnData(path, [tmp_path / "s.csv"], energy="0:4:5", name="set", skip_bad=True)
    imported = import_source(source, tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["id"]) == ["al", "ti"]
    assert [item for item, _ in imported.skipped] == ["nial"]


def test_a_grid_that_is_not_uniform_needs_one(tmp_path: Path) -> None:
    long_table((ENERGY**2,) * 3).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        UserError, match=r"the energies are not uniform in eV .*; name a grid to interpolate to with --energy"
    ):
        OwnData(as_extxyz(tmp_path), [tmp_path / "s.csv"], name="set")


def test_ids_that_do_not_match_are_named(tmp_path: Path) -> None:
    path = as_extxyz(tmp_path)
    table = long_table()
    table["id"] = table["id"].replace({"al": "aluminium", "ti": "0"})
    table.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        UserError,
        match=r"2 structures without a spectrum \(al, ti\) and 2 spectra without a structure \(aluminium, 0\); match",
    ):
        OwnData(path, [tmp_path / "s.csv"], name="set")
    source = OwnData(path, [tmp_path / "s.csv"], name="set", skip_bad=True)
    imported = import_source(source, tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["id"]) == ["nial"]
    assert sorted(item for item, _ in imported.skipped) == ["0", "al", "aluminium", "ti"]


def edit(table: pd.DataFrame, name: str, column: str, value: object) -> pd.DataFrame:
    """Set the third value of a material."""
    place = np.flatnonzero(table["id"] == name)[2]
    table = table.reset_index(drop=True)
    table.loc[place, column] = value
    return table


BAD_TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "NaN": (lambda table: edit(table, "nial", "im", np.nan), "nial: the spectrum has a value that is not a finite"),
    "an energy twice": (lambda table: edit(table, "nial", "energy", 0.0), "nial: an energy is missing or occurs twice"),
    "an id twice": (lambda table: pd.concat([table, table.iloc[:9]]), "al: an energy is missing or occurs twice"),
    "one point less": (lambda table: table.iloc[:-1], "ti: mixed energy grids"),
    "text": (lambda table: table.assign(im="high"), "column 'im' is not of numbers"),
    "no id": (lambda table: table.drop(columns="id"), "no column 'id'"),
    "an empty id": (lambda table: edit(table, "nial", "id", ""), "row 12 has no id"),
    "no component": (lambda table: table[["id", "energy"]], "only id and energy"),
    "no energies": (lambda table: table.drop(columns="energy"), "neither a column 'energy' nor one column an energy"),
    "no rows": (lambda table: table.iloc[:0], "no rows; add some"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_spectra_are_named(tmp_path: Path, case: str) -> None:
    change, reason = BAD_TABLES[case]
    change(long_table()).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match=reason) as caught:
        OwnData(as_extxyz(tmp_path), [tmp_path / "s.csv"], name="set")
    assert "\n" not in str(caught.value)


def test_bad_arrays_are_named(tmp_path: Path) -> None:
    path, file = as_extxyz(tmp_path), tmp_path / "s.npz"
    good = {"id": np.array(IDS), "energy": ENERGY, "im": spectra().imag}
    for change, reason in (
        ({"im": spectra().imag[:, :-1]}, r"im has shape \(3, 8\), not \(3, 9\)"),
        ({"id": np.array(["al", "al", "ti"])}, "al occurs twice"),
        ({"energy": np.array(4.0)}, "3 ids and energies of shape"),
        ({"energy": np.zeros((2, 9))}, r"energies \(2, 9\) that are not"),
        ({"im": np.array([object()] * 3)}, "not a readable NPZ of plain arrays"),
    ):
        np.savez(file, **{**good, **change})
        with pytest.raises(UserError, match=rf"s\.npz: .*{reason}"):
            OwnData(path, [file], name="set")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"s\.npz: not a readable NPZ"):
        OwnData(path, [file], name="set")


def test_bad_structures_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    content = pymatgen_dicts()
    content["nial"]["sites"][1]["abc"] = [0.01, 0, 0]
    content["ti"]["lattice"]["matrix"] = [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    content["extra"] = {"formula": "Al"}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content))
    pd.DataFrame({"id": list(content), "gap": 1.0}).to_csv(tmp_path / "t.csv", index=False)
    options = {"scalars": tmp_path / "t.csv", "targets": [parse_scalar("gap=eV")], "name": "set"}
    with pytest.raises(UserError, match=r"nial: two atoms are 0\.0289 Å apart"):
        OwnData(path, **options)
    imported = import_source(OwnData(path, **options, skip_bad=True), tmp_path / "set", skip_bad=True)
    assert list(imported.dataset.materials["id"]) == ["al"]
    reasons = dict(imported.skipped)
    assert "give three independent lattice vectors" in reasons["ti"]
    assert "own.json: extra: not a pymatgen Structure" in reasons["extra"]


def test_unreadable_structures_are_named(tmp_path: Path) -> None:
    for name, text, reason in (
        ("a.extxyz", "2\nLattice='1 0 0'\nAl 0 0 0\n", "frame 0 is not readable extended XYZ"),
        ("b.db", "no database" * 100, "not a readable ASE database"),
        ("c.json", '{"a": ', "not readable JSON"),
        ("d.json", "3", "not structures"),
        ("e.cif", "data_x\nnothing", "not a readable CIF of one crystal"),
        ("f.poscar", "", "structures of no known kind"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name}: {reason}") as caught:
            OwnData(tmp_path / name, targets=[parse_scalar("gap=eV")], name="set")
        assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(UserError, match=f"{name}: no "):
            OwnData(tmp_path / name, targets=[parse_scalar("gap=eV")], name="set")


def test_an_unknown_element_is_named(tmp_path: Path) -> None:
    path = as_extxyz(tmp_path)
    path.write_text(path.read_text().replace("Ti ", "Qq "))
    with pytest.raises(UserError, match=r"own\.extxyz: frame 2 .*Qq"):
        OwnData(path, targets=[parse_scalar("omega_D=eV")], name="set")


def test_bad_scalars_are_named(tmp_path: Path) -> None:
    crystals_with = crystals()
    crystals_with[1].info["omega_D"] = -0.1
    write(tmp_path / "own.extxyz", crystals_with, format="extxyz")
    with pytest.raises(UserError, match=r"nial: omega_D is -0\.1 eV, it must be 0 or more"):
        OwnData(tmp_path / "own.extxyz", targets=[parse_scalar("omega_D=eV")], name="set")
    with pytest.raises(UserError, match="al: no value of gap"):
        OwnData(tmp_path / "own.extxyz", targets=[parse_scalar("gap=eV")], name="set")
    pd.DataFrame({"id": ["al", "al"], "gap": 1.0}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=r"t\.csv: al occurs twice"):
        OwnData(tmp_path / "own.extxyz", scalars=tmp_path / "t.csv", targets=[parse_scalar("gap=eV")], name="set")
    with pytest.raises(UserError, match="nothing to learn"):
        OwnData(tmp_path / "own.extxyz", name="set")


def test_a_doubled_structure_is_named(tmp_path: Path) -> None:
    write(tmp_path / "own.extxyz", [*crystals(), crystals()[0]], format="extxyz")
    targets = [parse_scalar("omega_D=eV")]
    with pytest.raises(UserError, match=r"own\.extxyz: al occurs twice"):
        OwnData(tmp_path / "own.extxyz", targets=targets, name="set")
    source = OwnData(tmp_path / "own.extxyz", targets=targets, name="set", skip_bad=True)
    assert list(import_source(source, tmp_path / "set", skip_bad=True).dataset.materials["id"]) == IDS


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--scalar", "gap"], "--scalar gap: not NAME=UNIT"),
        (["--scalar", "n_sites=1"], "--scalar n_sites: the data set has a column of that name"),
        (["--scalar", "gap=eV", "--scalar", "gap=meV"], "--scalar gap: the data set has a column of that name"),
        (["--scalar", "omega_D=eV", "--energy", "0:4:5"], "--energy 0:4:5: there are no spectra"),
        (["--spectra", "s.csv", "--scalars", "s.csv"], "s.csv: no target of it is named; name scalar targets"),
        ([], "nothing to learn; give --spectra, or name scalar targets"),
        (["--spectra", "s.csv", "--energy", "0-20"], "--energy 0-20: not START:STOP:N"),
        (["--spectra", "s.csv", "--energy", "4:0:5"], "--energy 4:0:5: needs 0 <= START < STOP"),
        (["--spectra", "s.csv", "--energy-unit", "furlong"], "--energy-unit furlong: unknown; use one of eV"),
        (["--spectra", "s.csv", "--energy-unit", "nm"], "a wavelength is 0 or less"),
        (["--spectra", "no.csv"], "no.csv: no such file"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: list[str], reason: str) -> None:
    as_extxyz(tmp_path)
    long_csv(tmp_path)
    result = CliRunner().invoke(app, ["data", "import", str(tmp_path), "--structures", "own.extxyz", *options])
    assert isinstance(result.exception, UserError)
    assert reason in str(result.exception)


def test_the_command_names_the_set_and_takes_files_relative_to_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    as_extxyz(tmp_path / "mine")
    long_csv(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    options = ["--structures", "own.extxyz", "--spectra", "s.csv", "--scalar", "omega_D=eV"]
    result = CliRunner().invoke(app, ["data", "import", "mine", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "data/own: 3 materials, data hash" in result.output
    files = OpticalDataset(Path("data/own")).manifest.provenance["files"]
    assert [file["name"] for file in files] == ["own.extxyz", "s.csv"]
