from __future__ import annotations

from pathlib import Path

import own_part
import pytest
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import run_grid
from optiscale.sweep.own import import_all, modules_of


def study_of(dataset: OpticalDataset, **sweep: object) -> Study:
    content = study_content(dataset.folder, sweep=sweep)
    content["models"]["2B"]["network"]["edges"] = "own_inverse"  # type: ignore[index]
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [8], "seeds": [1, 2]}]
    return parse_study(content)


def test_parts_of_a_users_module_are_there_in_every_worker(dataset: OpticalDataset, tmp_path: Path) -> None:
    one = run_grid(study_of(dataset, threads=1), tmp_path / "one").runs
    two = run_grid(study_of(dataset, threads=1, workers=2), tmp_path / "two").runs
    assert (two["status"] == "finished").all()
    assert list(one["val_loss"]) == list(two["val_loss"])
    assert modules_of(study_of(dataset)) == ("own_part",)
    assert modules_of(parse_study(study_content(dataset.folder))) == ()
    with pytest.raises(ImportError):
        import_all(["no_such_module"])


def test_parts_of_a_script_are_refused_before_anything_runs(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_part.Inverse, "__module__", "__main__")
    with pytest.raises(UserError, match=r"network\.edges: 'own_inverse' is registered in a notebook or script"):
        run_grid(study_of(dataset, threads=1, workers=2), tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert (run_grid(study_of(dataset, threads=1), tmp_path / "one").runs["status"] == "finished").all()
