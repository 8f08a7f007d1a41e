from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from small import small_materials, study_content, write_materials

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.dataset.writer import Material
from optiscale.errors import UserError
from optiscale.graphs import GraphStore
from optiscale.laws import average_seeds, fit_study, read_losses
from optiscale.sweep import cells_of, run_grid
from optiscale.sweep.forecast import forecast


def mixed(source: Path, **changes: object) -> Study:
    content = study_content(source, **changes)
    content["models"] |= {  # type: ignore[operator]
        "forest": {"baseline": {"type": "magpie-forest", "leaves": 4}},
        "ridge": {"baseline": {"type": "magpie-ridge"}},
    }
    content["grid"] = [
        {"model": "2B", "widths": [8], "data_sizes": [4, 8], "seeds": [1]},
        {"model": "forest", "trees": [2, 4, 8], "data_sizes": [4, 8, 16], "seeds": [1, 42]},
        {"model": "ridge", "data_sizes": [4, 8, 16], "seeds": [1]},
    ]
    return parse_study(content)


@pytest.fixture(scope="module")
def results(dataset: OpticalDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mixed")
    run_grid(mixed(dataset.folder), out)
    return out


def test_baselines_and_networks_share_one_table(dataset: OpticalDataset, results: Path) -> None:
    runs = pd.read_parquet(results / "runs.parquet")
    assert (runs["status"] == "finished").all()
    assert runs.groupby("model").size().to_dict() == {"2B": 2, "forest": 18, "ridge": 3}
    forest = runs[runs["model"] == "forest"]
    assert (forest["N"] == forest["width"] * 4 * 43).all()
    assert set(forest["width"]) == {2, 4, 8}
    assert set(runs.loc[runs["model"] == "ridge", "N"]) == {133 * 43}
    assert set(runs["data_hash"]) == {dataset.hash}
    curves = pd.read_parquet(results / "curves.parquet")
    assert set(curves["model"]) == {"2B"}
    assert run_grid(mixed(dataset.folder), results).ran == 0


def test_processes_side_by_side_give_the_same_losses(dataset: OpticalDataset, results: Path, tmp_path: Path) -> None:
    study = mixed(dataset.folder, sweep={"workers": 2, "threads": 1})
    two = run_grid(study, tmp_path / "two").runs
    assert list(two["val_loss"]) == list(pd.read_parquet(results / "runs.parquet")["val_loss"])


def test_laws_are_fitted_to_baselines(results: Path) -> None:
    fits = fit_study(average_seeds(read_losses(results / "runs.parquet")))
    found = {(series.model, series.kind): series for series in fits.series}
    assert {("forest", "data"), ("forest", "parameters"), ("forest", "map"), ("ridge", "data")} <= set(found)
    assert found["ridge", "data"].fixed["N"] == 133 * 43
    assert list(found["forest", "parameters"].points["N"]) == [344, 688, 1376]


def test_the_plan_costs_baselines(dataset: OpticalDataset, tmp_path: Path) -> None:
    planned = forecast(mixed(dataset.folder), tmp_path)
    assert planned.cells == 23
    assert planned.notes == ()
    seconds = {(row.model, row.width, row.D): row.seconds for row in planned.rows}
    assert all(value > 0 for value in seconds.values())
    assert seconds["forest", 8, 16] > seconds["forest", 2, 4]
    assert {row.N for row in planned.rows if row.model == "forest"} == {344, 688, 1376}


def test_a_plan_of_baselines_needs_no_data_set(tmp_path: Path) -> None:
    planned = forecast(mixed(tmp_path / "nowhere"), tmp_path)
    assert {row.N for row in planned.rows if row.model == "ridge"} == {133 * 4003}
    assert all(row.seconds > 0 for row in planned.rows)


def test_baselines_alone_build_no_graphs(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = mixed(dataset.folder).resolved()
    content["grid"] = content["grid"][2:]
    study = parse_study(content)
    monkeypatch.setattr(GraphStore, "open", lambda *_, **__: pytest.fail("graphs"))
    runs = run_grid(study, tmp_path / "out").runs
    assert len(runs) == len(list(cells_of(study))) == 3
    assert np.isfinite(runs["val_loss"]).all()
    assert not (tmp_path / "out" / "curves.parquet").exists()


def test_baselines_know_elements_that_networks_do_not(tmp_path: Path) -> None:
    def with_thorium(one: Material) -> Material:
        return replace(one, atomic_number=np.where(one.atomic_number == 47, 90, one.atomic_number))

    actinides = write_materials(tmp_path / "set", map(with_thorium, small_materials()))
    content = mixed(actinides.folder).resolved()
    with pytest.raises(UserError, match=r"atomic number 90 \(Th\): the networks know"):
        run_grid(parse_study(content), tmp_path / "out")
    content["grid"] = content["grid"][2:]
    assert (run_grid(parse_study(content), tmp_path / "out").runs["status"] == "finished").all()


def test_a_study_of_baselines_needs_no_torch(dataset: OpticalDataset, tmp_path: Path) -> None:
    content = mixed(dataset.folder).resolved()
    content["grid"] = content["grid"][2:]
    content["sweep"] = {"threads": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    program = (
        "import sys\nfrom optiscale.cli.app import app\n"
        f"app(['grid', {str(tmp_path / 'study.yaml')!r}, '--out', {str(tmp_path / 'out')!r}], standalone_mode=False)\n"
        "assert 'sklearn' in sys.modules\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
