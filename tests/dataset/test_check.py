from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from small import make_dataset, renew_checksums, small_materials, spoil, write_materials
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import DatasetInfo, DatasetWriter, EnergyGrid, Material, OpticalDataset, Scalar
from optiscale.dataset.check import Check, check_dataset
from optiscale.dataset.shelf import COMPONENTS, ENERGY, SCALARS, build_shelf, read_shelf
from optiscale.graphs import GraphStore


def checks_of(dataset: OpticalDataset) -> dict[str, Check]:
    return {check.name: check for check in check_dataset(dataset)}


def of_record(row: int) -> Material:
    record = read_shelf()[row]
    return Material(
        id=record.id,
        lattice=record.atoms.cell.array,
        atomic_number=record.atoms.numbers,
        position=record.atoms.positions,
        spectrum=np.stack([record.eps_inter.real, record.eps_inter.imag], axis=-1),
        scalars=np.array([record.omega_D]),
        space_group=1,
    )


GOOD = [of_record(row) for row in range(4)]


def write(folder: Path, materials: list[Material]) -> OpticalDataset:
    info = DatasetInfo(name="x", source="x", energy=ENERGY, components=COMPONENTS, scalars=SCALARS)
    with DatasetWriter(folder, info) as writer:
        for material in materials:
            writer.add(material)
        return writer.finish()


def test_the_shelf_has_no_errors(tmp_path: Path) -> None:
    checks = checks_of(build_shelf(tmp_path / "shelf"))
    assert {name: check.count("error") for name, check in checks.items()} == dict.fromkeys(checks, 0)
    assert [name for name, check in checks.items() if check.skipped] == ["split"]
    assert all(check.checked > 0 for name, check in checks.items() if name != "split")
    assert set(checks) == {
        "checksums", "finite", "sign", "passive", "Kramers-Kronig", "close atoms", "split", "duplicates",
    }  # fmt: skip


def test_damage_is_found_and_nothing_else_is_judged(tmp_path: Path) -> None:
    dataset = spoil(write(tmp_path / "set", GOOD), "spectrum", (1, 5, 0), 7.0)
    (check,) = check_dataset(dataset)
    assert (check.name, check.status) == ("checksums", "error")
    assert check.findings[0].note == "spectrum.npy has another checksum"


@pytest.mark.parametrize(
    ("name", "place", "value", "check", "severity"),
    [
        ("scalars", (1, 0), np.nan, "finite", "error"),
        ("spectrum", (1, 300, 0), np.inf, "finite", "error"),
        ("scalars", (1, 0), -0.5, "sign", "error"),
        ("scalars", (1, 0), 0.0, "sign", "outlier"),
        ("spectrum", (1, 300, 1), -0.5, "passive", "error"),
    ],
)
def test_a_bad_target_is_named(
    tmp_path: Path, name: str, place: tuple[int, ...], value: float, check: str, severity: str
) -> None:
    dataset = renew_checksums(spoil(write(tmp_path / "set", GOOD), name, place, value))
    found = checks_of(dataset)[check].findings
    assert [(one.id, one.severity) for one in found] == [(GOOD[1].id, severity)]


def test_noise_below_zero_is_no_error(tmp_path: Path) -> None:
    dataset = renew_checksums(spoil(write(tmp_path / "set", GOOD), "spectrum", (1, 1999, 1), -5e-4))
    assert checks_of(dataset)["passive"].status == "ok"


def test_parts_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    assert GOOD[2].spectrum is not None
    shifted = GOOD[2].spectrum.copy()
    shifted[:, 0] = np.roll(shifted[:, 0], 10)
    dataset = write(tmp_path / "set", [GOOD[0], replace(GOOD[2], spectrum=shifted)])
    (found,) = checks_of(dataset)["Kramers-Kronig"].findings
    assert (found.id, found.severity) == (GOOD[2].id, "error")
    assert found.value is not None
    assert found.value > 0.02


def crystal(name: str, atoms: Atoms, **changes: object) -> Material:
    content = {
        "id": name,
        "lattice": atoms.cell.array,
        "atomic_number": atoms.numbers,
        "position": atoms.positions,
        "spectrum": None,
        "scalars": np.array([5.0]),
        "space_group": 1,
        **changes,
    }
    return Material(**content)  # type: ignore[arg-type]


def write_crystals(folder: Path, crystals: list[Material]) -> OpticalDataset:
    return write_materials(folder, crystals, energy=None, components=())


B2 = bulk("NiAl", "cesiumchloride", a=2.89)
SQUEEZED = Atoms("NiAl", scaled_positions=[[0, 0, 0], [0.3, 0.3, 0.3]], cell=B2.cell, pbc=True)
OVERLAPPING = Atoms("NiAl", scaled_positions=[[0, 0, 0], [0.15, 0, 0]], cell=B2.cell, pbc=True)


def test_atoms_too_close_are_named_by_how_bad_it_is(tmp_path: Path) -> None:
    crystals = [crystal("good", B2), crystal("close", SQUEEZED), crystal("over", OVERLAPPING)]
    found = checks_of(write_crystals(tmp_path / "set", crystals))["close atoms"].findings
    assert [(one.id, one.severity) for one in found] == [("over", "error"), ("close", "outlier")]
    assert found[0].note.startswith("atoms 0.43 Å apart")


def test_an_atom_too_close_to_its_own_image_is_named(tmp_path: Path) -> None:
    flat = Atoms("Cs", cell=[[2.2, 0, 0], [0, 5, 0], [0, 0, 5]], pbc=True)
    (found,) = checks_of(write_crystals(tmp_path / "set", [crystal("flat", flat)]))["close atoms"].findings
    assert (found.id, found.severity) == ("flat", "outlier")


def relabelled() -> Atoms:
    """Al at the corner and Ni in the middle: the same crystal as Ni at the corner and Al in the middle."""
    twin = B2.copy()
    twin.numbers = twin.numbers[::-1]
    return twin


def turned() -> Atoms:
    other = B2.copy()
    other.rotate(33, (1, 2, 3), rotate_cell=True)
    other.positions += 0.4
    return other


def test_the_same_crystal_twice_is_found_however_it_is_written(tmp_path: Path) -> None:
    rattled = B2.copy()
    rattled.positions[1] += 0.02
    larger = B2.copy()
    larger.set_cell(B2.cell * 1.03, scale_atoms=True)
    crystals = {
        "first": B2,
        "relabelled": relabelled(),
        "turned": turned(),
        "rattled": rattled,
        "larger": larger,
        "displaced": SQUEEZED,
        "other": bulk("TiAl", "cesiumchloride", a=2.89),
        "more sites": B2 * (2, 1, 1),
    }
    dataset = write_crystals(tmp_path / "set", [crystal(name, atoms) for name, atoms in crystals.items()])
    check = checks_of(dataset)["duplicates"]
    assert {one.id for one in check.findings} == {"relabelled", "turned", "rattled"}
    assert {one.severity for one in check.findings} == {"outlier"}
    assert check.checked == 6, "those that share formula and number of sites"


def test_a_composition_in_two_parts_and_a_material_in_none_are_errors(tmp_path: Path) -> None:
    crystals = [
        crystal("a", B2, split="train"),
        crystal("b", B2 * (2, 1, 1), split="test"),
        crystal("c", bulk("TiAl", "cesiumchloride", a=3)),
        crystal("d", bulk("AgMg", "cesiumchloride", a=3.3), split="train"),
    ]
    check = checks_of(write_crystals(tmp_path / "set", crystals))["split"]
    assert [(one.id, one.severity, one.note) for one in check.findings] == [
        ("AlNi", "error", "in train, test"),
        ("c", "error", "in no part of the split"),
    ]


def test_what_does_not_apply_is_skipped_and_says_so(tmp_path: Path) -> None:
    energy = EnergyGrid(start=0, stop=20, n=21)
    signed = (Scalar(name="e_form", unit="eV", nonnegative=False),)
    bare = checks_of(write_materials(tmp_path / "bare", [crystal("a", B2)], energy=None, components=(), scalars=signed))
    assert {name: check.skipped for name, check in bare.items() if check.skipped} == {
        "sign": "the set has no scalar target that is never negative",
        "passive": "the set has no spectra",
        "Kramers-Kronig": "the set has no spectra",
        "split": "the set carries no split; a study makes its own by composition",
    }
    imaginary = crystal("a", B2, spectrum=np.ones((21, 1)))
    half = checks_of(write_materials(tmp_path / "half", [imaginary], energy=energy, components=("im",)))
    assert half["passive"].skipped is None
    assert half["Kramers-Kronig"].skipped == "the set lacks Re eps or Im eps"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", "check", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_command_reports_and_its_status_tells_errors_from_outliers(tmp_path: Path) -> None:
    crystals = [crystal("one", B2), crystal("two", relabelled())]
    outliers = write_crystals(tmp_path / "outliers", crystals).folder
    status, said = run(outliers, "--out", tmp_path / "report.json")
    assert (status, "two" in said, "0 errors, 1 outliers" in said) == (0, True, True)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["n_materials"], report["errors"], report["outliers"]) == (2, 0, 1)
    named = {check["name"]: check for check in report["checks"]}
    assert named["duplicates"]["findings"][0]["note"] == "the same crystal as one"
    assert named["split"]["status"] == "skipped"

    errors = write_crystals(tmp_path / "errors", [crystal("one", OVERLAPPING)]).folder
    status, said = run(errors)
    assert (status, "1 errors" in said, "0.43 Å apart" in said) == (1, True, True)


def test_long_lists_are_cut_on_screen_and_whole_in_the_report(tmp_path: Path) -> None:
    twins = [crystal(f"m{number}", B2) for number in range(15)]
    folder = write_crystals(tmp_path / "set", twins).folder
    _, said = run(folder, "--out", tmp_path / "report.json")
    assert "and 4 more" in said
    named = {check["name"]: check for check in json.loads((tmp_path / "report.json").read_text())["checks"]}
    assert len(named["duplicates"]["findings"]) == 14


def test_damaged_graphs_are_found(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", n=3)
    folder = GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0).folder
    _, said = run(dataset.folder)
    assert f"graphs {folder.name}" in said
    assert "another checksum" not in said
    path = folder / "edge_length.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    status, said = run(dataset.folder)
    assert (status, "edge_length.npy has another checksum" in said) == (1, True)


def test_progress_counts_every_row(tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}

    def track(rows: object, total: int, what: str) -> object:
        seen[what] = [total]
        for row in rows:  # type: ignore[attr-defined]
            seen[what].append(row)
            yield row

    check_dataset(write_materials(tmp_path / "set", small_materials(5)), track=track)  # type: ignore[arg-type]
    assert seen == {
        "checksums": [3, 0, 1, 2],
        "targets": [5, *range(5)],
        "distances": [5, *range(5)],
        "duplicates": [0],
    }
