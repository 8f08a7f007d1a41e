from __future__ import annotations

import functools
import gzip
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from matminer_file import FILE, NAME, describe, dielectric_frame, publish
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import OpticalDataset, Scalar
from optiscale.dataset.importers.build import import_source
from optiscale.dataset.importers.matminer_sets import TARGETS, MatminerSet, _metadata
from optiscale.errors import UserError

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_loaders_structures_and_targets_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "home", monkeypatch)
    said = run("data", "import", f"matminer:{NAME}", "--out", tmp_path / "set")
    assert "40 materials" in said
    dataset, frame = OpticalDataset(tmp_path / "set"), dielectric_frame()
    assert list(dataset.materials["id"]) == list(frame["material_id"])
    names = [scalar.name for scalar in dataset.manifest.scalars]
    assert names == ["n", "poly_electronic", "poly_total"]
    np.testing.assert_array_equal(dataset.scalars, frame[names].to_numpy(np.float32))
    for row, structure in enumerate(frame["structure"]):
        atoms = dataset.atoms(row)
        np.testing.assert_array_equal(atoms.cell.array, structure.lattice.matrix)
        np.testing.assert_array_equal(atoms.numbers, structure.atomic_numbers)
        np.testing.assert_array_equal(atoms.positions, structure.cart_coords)
    assert dataset.manifest.energy is None
    assert dataset.spectrum.size == 0
    provenance = dataset.manifest.provenance
    assert provenance["columns"]["n"] == "Refractive Index"
    assert provenance["url"].startswith("https://")


def test_a_target_is_chosen_with_its_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "home", monkeypatch)
    run("data", "import", f"matminer:{NAME}", "--scalar", "band_gap=eV:nonnegative", "--out", tmp_path / "set")
    dataset = OpticalDataset(tmp_path / "set")
    assert dataset.manifest.scalars == (Scalar(name="band_gap", unit="eV", nonnegative=True),)
    assert (dataset.scalars == 0.5).all()


def test_default_targets_are_columns_of_their_sets() -> None:
    for name, scalars in TARGETS.items():
        columns = _metadata(name)["columns"]
        assert "structure" in columns
        assert {scalar.name for scalar in scalars} <= set(columns), name


def test_bad_materials_are_named_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = dielectric_frame()
    frame.loc[3, "n"] = np.nan
    frame.loc[5, "n"] = -1.0
    mixed = Structure(Lattice.cubic(4), [{"Cu": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    frame["structure"] = [mixed if row == 7 else one for row, one in enumerate(frame["structure"])]
    publish(tmp_path / "home", monkeypatch, frame)
    with pytest.raises(UserError, match=r"mp-103.* n that is not finite.*--skip-bad leaves it out"):
        run("data", "import", f"matminer:{NAME}", "--out", tmp_path / "set")
    said = run("data", "import", f"matminer:{NAME}", "--skip-bad", "--out", tmp_path / "set")
    assert "37 materials" in said
    assert "mp-105: n is -1, taken to be never below 0; --scalar 'n=1' allows it" in said
    assert "mp-107: a site is shared or partly occupied" in said
    skipped = pd.read_csv(tmp_path / "set" / "skipped.csv")
    assert list(skipped["item"]) == ["mp-103", "mp-105", "mp-107"]


@pytest.mark.parametrize(
    ("name", "scalars", "said"),
    [
        ("dielectric", [], "matminer:dielectric: matminer has no such data set; it has boltztrap_mp, "),
        ("expt_gap", [], "matminer:expt_gap: this set has no structures"),
        ("flla", [], "matminer:flla: name a target with --scalar NAME=UNIT; the columns are e_above_hull, "),
        (NAME, ["m"], "no column 'm'; the columns are band_gap, "),
    ],
)
def test_what_cannot_be_imported_is_said_before_any_download(
    name: str, scalars: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(UserError) as error:
        MatminerSet(name, scalars=[Scalar(name=one, unit="1") for one in scalars])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_options_for_own_files_are_refused() -> None:
    with pytest.raises(UserError, match="--energy is for files of your own"):
        run("data", "import", f"matminer:{NAME}", "--energy", "0:20:2001")


def test_another_file_than_the_published_one_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Any: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    content = {"columns": ["structure"], "index": [0], "data": [[{"@module": "foreign_code", "@class": "Any"}]]}
    home = tmp_path / "home"
    home.mkdir()
    (home / FILE).write_bytes(gzip.compress(json.dumps(content).encode()))
    monkeypatch.setenv("MATMINER_DATA", str(home))
    with pytest.raises(UserError, match=r"dielectric_constant\.json\.gz: not the published file \(sha256 .*remove it"):
        MatminerSet(NAME)
    assert "foreign_code" not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_offline_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATMINER_DATA", str(tmp_path / "home"))

    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("Max retries exceeded\nName or service not known")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(UserError) as error:
        run("data", "import", f"matminer:{NAME}", "--out", tmp_path / "set")
    said = str(error.value)
    assert said.startswith("matminer:dielectric_constant: https://")
    assert "could not be downloaded (ConnectionError); connect to the internet" in said
    assert said.endswith(f"put the file at {tmp_path / 'home' / FILE}")
    assert "\n" not in said
    assert not (tmp_path / "set").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_first_import_downloads_and_checks_the_file(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    publish(folder, monkeypatch, url=f"{address}/{FILE}")
    monkeypatch.setenv("MATMINER_DATA", str(tmp_path / "home"))
    dataset = import_source(MatminerSet(NAME), tmp_path / "set").dataset
    assert len(dataset) == 40
    assert (tmp_path / "home" / FILE).exists()


def test_a_changed_download_is_refused_and_not_kept(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    publish(folder, monkeypatch)
    describe(monkeypatch, url=f"{address}/{FILE}", hash="0" * 64)
    monkeypatch.setenv("MATMINER_DATA", str(tmp_path / "home"))
    with pytest.raises(UserError, match=r"gave another file than the published one \(sha256 0"):
        MatminerSet(NAME)
    assert not (tmp_path / "home" / FILE).exists()
