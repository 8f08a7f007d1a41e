from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock
from small import make_dataset, spoil, study_content

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import cells_of, run_grid
from optiscale.sweep.records import merge
from optiscale.training import Cell, cell_hash

COLUMNS = [
    "study",
    "model",
    "message_passing",
    "D",
    "width",
    "N",
    "seed",
    "subset_seed",
    "val_loss",
    "val_eps_loss",
    "val_drude_loss",
    "best_epoch",
    "epochs",
    "steps",
    "train_loss",
    "wall_s",
    "graphs_per_s",
    "peak_memory_mb",
    "device",
    "versions",
    "config_hash",
    "data_hash",
    "git_commit",
    "status",
    "message",
    "validate_every",
]


@pytest.fixture
def study(dataset: OpticalDataset) -> Study:
    return parse_study(study_content(dataset.folder))


@pytest.fixture(scope="module")
def done(dataset: OpticalDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "tiny"
    run_grid(parse_study(study_content(dataset.folder)), out)
    return out


def test_a_grid_leaves_one_tidy_row_a_run(study: Study, done: Path) -> None:
    runs = pd.read_parquet(done / "runs.parquet")
    assert set(COLUMNS) <= set(runs.columns)
    assert [(row.D, row.seed) for row in runs.itertuples()] == [(4, 1), (4, 42), (8, 1), (8, 42)]
    assert (runs["status"] == "finished").all()
    assert set(runs["config_hash"]) == {cell_hash(study, cell) for cell in cells_of(study)}
    curves = pd.read_parquet(done / "curves.parquet")
    best = curves.groupby("cell")["val_loss"].min()
    for row in runs.itertuples():
        assert best[row.cell] == row.val_loss
        record = json.loads((done / "cells" / str(row.cell) / "record.json").read_text())
        assert record["val_loss"] == row.val_loss, "full precision"
    assert yaml.safe_load((done / "resolved.yaml").read_text())["name"] == "tiny"


def test_a_second_grid_runs_nothing(study: Study, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("record.json")}
    assert run_grid(study, done).ran == 0
    assert {path: path.stat().st_mtime_ns for path in done.rglob("record.json")} == before


def test_a_larger_grid_runs_only_what_is_new(dataset: OpticalDataset, done: Path, tmp_path: Path) -> None:
    content = study_content(dataset.folder)
    content["grid"][0]["seeds"] = [1, 42, 137]  # type: ignore[index]
    out = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(done), str(out)], check=True)
    result = run_grid(parse_study(content), out)
    assert (result.ran, len(result.runs)) == (2, 6)


def test_two_workers_give_the_losses_of_one(dataset: OpticalDataset, done: Path, tmp_path: Path) -> None:
    study = parse_study(study_content(dataset.folder, sweep={"workers": 2, "threads": 1}))
    runs = run_grid(study, tmp_path / "two").runs
    one = pd.read_parquet(done / "runs.parquet")
    assert list(runs["val_loss"]) == list(one["val_loss"])
    assert (set(runs["at_once"]), set(one["at_once"])) == ({2}, {1})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_run_is_a_row_and_the_sweep_goes_on(dataset: OpticalDataset, tmp_path: Path, workers: int) -> None:
    content = study_content(dataset.folder, sweep={"workers": workers, "threads": 1, "retries": 1})
    content["models"]["bad"] = {  # type: ignore[index]
        "network": {"type": "broken_network:Broken", "options": {"how": "raise" if workers == 1 else "die"}},
        "optimizer": {"lr": 1e-3},
    }
    content["grid"].append({"model": "bad", "data_sizes": [4], "seeds": [1]})  # type: ignore[attr-defined]
    result = run_grid(parse_study(content), tmp_path / "out")
    status = result.runs.set_index("cell")["status"]
    assert status.pop("bad_D4_s1_t0") == "failed"
    assert (status == "finished").all()
    assert len(status) == 4
    bad = result.runs.set_index("cell").loc["bad_D4_s1_t0"]
    assert (
        "no good" if workers == 1 else "worker process was killed (often for lack of memory), 2 times"
    ) in bad.message
    assert bad.attempts == workers, "a killed worker's run is tried again, one that raised is not"
    assert run_grid(parse_study(content), tmp_path / "out").ran == 1, "a failed run is tried again"


def test_results_of_another_config_or_data_set_are_refused(dataset: OpticalDataset, done: Path, tmp_path: Path) -> None:
    content = study_content(dataset.folder)
    content["training"]["batch_size"] = 5  # type: ignore[index]
    with pytest.raises(
        UserError, match=r"config .*: models\.2B\.training\.batch_size was 4, is 5; keep both with --branch"
    ):
        run_grid(parse_study(content), done)
    other = make_dataset(tmp_path / "other", n=29)
    with pytest.raises(UserError, match="made with another data set"):
        run_grid(parse_study(study_content(other.folder)), done)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": [{"model": "2B", "widths": [8], "data_sizes": [19], "seeds": [1]}]}, "D = 19, but the training part"),
        ({"grid": [{"model": "2B", "widths": [9], "data_sizes": [4], "seeds": [1]}]}, "9"),
        ({"grid": [{"model": "2B", "data_sizes": [4], "seeds": [1]}]}, "width"),
        (
            {"grid": [{"model": "2B", "widths": [8], "data_sizes": [4], "seeds": [1]}] * 2},
            "is named by two blocks",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_training(
    dataset: OpticalDataset, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    study = parse_study(study_content(dataset.folder, **change))
    with pytest.raises(UserError, match=said):
        run_grid(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_no_number_is_refused_before_training(tmp_path: Path) -> None:
    bad = spoil(make_dataset(tmp_path / "bad"), "scalars", (0, 0), math.nan)
    with pytest.raises(UserError, match="has a omega_D that is not finite"):
        run_grid(parse_study(study_content(bad.folder)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_doubled_record_is_refused(done: Path, tmp_path: Path) -> None:
    record = json.loads(next(done.rglob("record.json")).read_text())
    with pytest.raises(UserError, match="recorded twice"):
        merge([record, record], tmp_path)
    with pytest.raises(UserError, match="2 data sets"):
        merge([record, {**record, "seed": 7, "data_hash": "f"}], tmp_path)


def test_cells_are_named_once() -> None:
    study = parse_study(study_content("x"))
    assert list(cells_of(study)) == [Cell("2B", 8, D, seed, 0) for D in (4, 8) for seed in (1, 42)]


def test_an_interrupted_grid_says_so_and_keeps_what_is_finished(dataset: OpticalDataset, tmp_path: Path) -> None:
    content = study_content(dataset.folder)
    content["grid"][0]["seeds"] = list(range(1, 40))  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "optiscale.run", "grid", str(tmp_path / "study.yaml"), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("cells/*/record.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, trace = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in trace
    runs = pd.read_parquet(out / "runs.parquet")
    assert {"finished", "interrupted"} >= set(runs["status"])
    assert len(runs) == len(list(out.glob("cells/*/record.json")))


def test_two_programs_do_not_run_one_study(study: Study, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(UserError, match="another program is running this study"):
        run_grid(study, tmp_path / "out")


def test_runs_of_a_larger_grid_stay_and_foreign_ones_are_refused(dataset: OpticalDataset, done: Path) -> None:
    content = study_content(dataset.folder)
    content["grid"][0]["seeds"] = [1]  # type: ignore[index]
    assert len(run_grid(parse_study(content), done).runs) == 4
    content["grid"][0]["data_sizes"] = [6]  # type: ignore[index]
    content["data"]["split"]["seed"] = 5  # type: ignore[index]
    with pytest.raises(UserError, match="of another study"):
        run_grid(parse_study(content), done)


def test_the_columns_do_not_depend_on_how_the_runs_ended(done: Path, tmp_path: Path) -> None:
    whole = pd.read_parquet(done / "runs.parquet")
    lost = {"study": "s", "cell": "c", "model": "m", "D": 4, "width": None, "N": 5, "seed": 1, "subset_seed": 0}
    runs = merge([{**lost, "data_hash": "x", "status": "failed", "message": "killed"}], tmp_path)
    assert list(runs.columns) == list(whole.columns)
    assert list(runs.dtypes) == list(whole.dtypes)
