"""The commands of docs/own-data.md, run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
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

from .files import random_materials, write_published, write_raw

PAGE = Path(__file__).parents[3] / "docs" / "own-data.md"
ENERGY = np.linspace(0, 10, 101)
OMEGA_D = {"al": 12.7, "nial": 6.7}


def commands(word: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"optiscale data {word} ")]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file that the page names, in the current folder."""
    materials = random_materials(4)
    write_published(tmp_path / "downloads", {"train": materials[:2], "val": materials[2:3], "test": materials[3:]})
    write_raw(tmp_path / "downloads" / "raw", materials)
    mine = tmp_path / "mine"
    (mine / "cif").mkdir(parents=True)
    crystals: dict[str, Atoms] = {"al": bulk("Al"), "nial": bulk("NiAl", "cesiumchloride", a=2.887)}
    with ase.db.connect(mine / "crystals.db") as database:
        for name, atoms in crystals.items():
            atoms.info = {"id": name, "omega_D": OMEGA_D[name]}
            database.write(atoms, material_id=name)
            write(mine / "cif" / f"{name}.cif", atoms)
    write(mine / "crystals.extxyz", list(crystals.values()), format="extxyz")
    dicts = {name: AseAtomsAdaptor.get_structure(atoms).as_dict() for name, atoms in crystals.items()}
    (mine / "crystals.json").write_text(json.dumps(dicts))
    eps = np.stack([1 + 1j * ENERGY, 2 + 3j * ENERGY])
    np.savez(mine / "spectra.npz", id=np.array(list(crystals)), energy=ENERGY, eps=eps)
    long = [
        pd.DataFrame({"id": name, "energy": ENERGY, "re": values.real, "im": values.imag})
        for name, values in zip(crystals, eps, strict=True)
    ]
    pd.concat(long).to_csv(mine / "spectra.csv", index=False)
    for part in ("real", "imag"):
        wide = pd.DataFrame(getattr(eps, part), columns=[f"{energy / 1.239841984332e-4:.6f}" for energy in ENERGY])
        wide.insert(0, "id", list(crystals))
        wide.to_csv(mine / f"{part[:2]}.csv", index=False)
    pd.DataFrame({"id": list(crystals), "gap": [0.0, 0.3]}).to_csv(mine / "gaps.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_import_of_the_page_runs(files: Path) -> None:
    made = {}
    for command in commands("import"):
        result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{command}: {result.output}"
        folder = Path(result.output.splitlines()[-1].split(":")[0])
        made[folder.name] = OpticalDataset(folder).manifest
    assert len(made) == len(commands("import")) == 7, "each command makes a set of its own"
    assert made["optimetal"].n_materials == made["optimetal-raw"].n_materials == 4
    assert made["crystals"].components == made["cif"].components == ("re", "im")
    assert [scalar.name for scalar in made["crystals"].scalars] == ["omega_D"]
    assert made["cif"].energy == made["mine-10eV"].energy.model_copy(update={"start": 0.5, "stop": 6.0, "n": 551})
    assert made["gaps"].energy is None
    for command in (*commands("info"), *commands("check")):
        result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert "crystals" in result.output, f"{command}: {result.output}"


def test_the_downloads_of_the_page_are_commands() -> None:
    assert commands("fetch") == ["optiscale data fetch optimetal", "optiscale data fetch optimetal --raw"]
