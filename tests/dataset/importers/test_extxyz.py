"""Files of many frames, one of them broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.io import write

from optiscale.dataset.importers.build import import_source
from optiscale.dataset.importers.own import OwnData
from optiscale.errors import UserError

ENERGY = np.linspace(0.0, 2.0, 5)


def files(folder: Path) -> tuple[Path, Path]:
    """Three metals, the last of an element that there is not, and their spectra."""
    metals = [bulk(name, "fcc", a=4.0) for name in ("Al", "Cu", "Ti")]
    for atoms in metals:
        atoms.info["id"] = atoms.symbols[0].lower()
    path = folder / "own.extxyz"
    write(path, metals, format="extxyz")
    path.write_text(path.read_text().replace("Ti ", "Qq "))
    tables = [pd.DataFrame({"id": name, "energy": ENERGY, "re": -1.0, "im": 1.0}) for name in ("al", "cu", "ti")]
    pd.concat(tables).to_csv(folder / "s.csv", index=False)
    return path, folder / "s.csv"


def test_it_is_named_before_what_follows_from_it(tmp_path: Path) -> None:
    path, spectra = files(tmp_path)
    with pytest.raises(UserError, match=r"own\.extxyz: frame 2 .*Qq"):
        OwnData(path, [spectra], name="set")


def test_it_costs_itself_alone(tmp_path: Path) -> None:
    path, spectra = files(tmp_path)
    imported = import_source(OwnData(path, [spectra], name="set", skip_bad=True), tmp_path / "set", skip_bad=True)
    assert imported.dataset.materials["id"].tolist() == ["al", "cu"]
    assert any("frame 2" in reason for _, reason in imported.skipped)


def test_a_number_of_atoms_that_is_none_is_named(tmp_path: Path) -> None:
    path, spectra = files(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "many", *lines[4:]]))
    with pytest.raises(UserError, match=r"frame 1 begins with 'many', not with its number of atoms"):
        OwnData(path, [spectra], name="set")
