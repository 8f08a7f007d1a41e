from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from small import make_dataset

from optiscale.baselines import features, magpie_features
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.io import read_json


def stored(folder: Path) -> Path:
    found = list(folder.glob(f"features/*/{features.FEATURES}"))
    assert len(found) == 1
    return found[0]


@pytest.fixture
def small(tmp_path: Path) -> OpticalDataset:
    return make_dataset(tmp_path / "small", n=12)


def test_the_features_of_a_composition_are_the_statistics_of_its_elements(small: OpticalDataset) -> None:
    values = magpie_features(small)
    assert values.shape == (12, 132)
    written = read_json(stored(small.folder).parent / features.NAMES)
    assert written["matminer"] == version("matminer")
    column = {name.removeprefix("MagpieData "): place for place, name in enumerate(written["names"])}
    assert len(column) == 132
    for row, formula in enumerate(small.materials["reduced_formula"]):
        from ase.formula import Formula

        numbers = np.array([small.atoms(row).numbers])  # any multiple of the reduced composition
        assert Formula(formula).count()
        assert values[row, column["minimum Number"]] == numbers.min()
        assert values[row, column["maximum Number"]] == numbers.max()
        assert values[row, column["range Number"]] == np.ptp(numbers)
        assert values[row, column["mean Number"]] == pytest.approx(numbers.mean())
        assert values[row, column["avg_dev Number"]] == pytest.approx(np.abs(numbers - numbers.mean()).mean())


def test_pauling_electronegativities_are_those_of_the_elements(small: OpticalDataset) -> None:
    pauling = {"Li": 0.98, "Na": 0.93, "Mg": 1.31, "Al": 1.61, "Ti": 1.54, "Ni": 1.91, "Cu": 1.90, "Zn": 1.65}
    values = magpie_features(small)
    names = read_json(stored(small.folder).parent / features.NAMES)["names"]
    mean = values[:, names.index("MagpieData mean Electronegativity")]
    known = 0
    for row in range(len(small)):
        symbols = small.atoms(row).get_chemical_symbols()
        if set(symbols) <= set(pauling):
            known += 1
            assert mean[row] == pytest.approx(np.mean([pauling[symbol] for symbol in symbols]))
    assert known > 3


def test_they_are_computed_once(small: OpticalDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = magpie_features(small)
    monkeypatch.setattr(features, "_compute", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(magpie_features(OpticalDataset(small.folder)), first)


def test_another_version_of_matminer_computes_its_own(small: OpticalDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    magpie_features(small)
    monkeypatch.setattr(features, "version", lambda _: "99.0")
    magpie_features(small)
    assert len(list(small.folder.glob("features/*"))) == 2


def test_processes_side_by_side_give_the_same(small: OpticalDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    formulas = sorted(small.materials["reduced_formula"])
    one = features._compute(formulas, None)
    monkeypatch.setattr(features, "_CHUNK", 5)
    monkeypatch.setattr(features, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(features.os, "cpu_count", lambda: 2)
    seen: list[int] = []

    def track(chunks: object, total: int) -> object:
        for chunk in chunks:  # type: ignore[attr-defined]
            seen.append(total)
            yield chunk

    two = features._compute(formulas, track)  # type: ignore[arg-type]
    assert two[0] == one[0]
    np.testing.assert_array_equal(two[1], one[1])
    assert seen == [3, 3, 3]


def test_a_data_set_that_cannot_be_written_keeps_them_in_the_cache(
    small: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTISCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features.os, "access", lambda *_: False)
    magpie_features(small)
    assert not (small.folder / "features").exists()
    assert stored(tmp_path / "cache")


def test_a_file_of_another_shape_is_refused(small: OpticalDataset) -> None:
    magpie_features(small)
    np.save(stored(small.folder), np.zeros((3, 132)))
    with pytest.raises(UserError, match=r"features\.npy: is of shape \(3, 132\); remove"):
        magpie_features(small)
