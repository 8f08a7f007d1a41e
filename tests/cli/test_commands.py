"""The commands as a user types them; in this process where a fresh one adds nothing but seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small import make_dataset, study_content
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.dataset import OpticalDataset
from optiscale.dataset.shelf import shelf_file
from optiscale.errors import UserError

RUNNER = CliRunner()


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_study(folder: Path, **changes: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(**changes)))  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five data sizes, three widths, two seeds: every figure has its series."""
    folder = tmp_path_factory.mktemp("cli")
    # the colours need the visible part of the spectrum: a real shelf, not the made-up set
    from optiscale.dataset.shelf import build_shelf

    dataset = build_shelf(folder / "shelf")
    return write_study(
        folder,
        source=dataset.folder,
        training={
            "length": {"steps": 4},
            "batch_size": 4,
            "schedule": {"warmup": 1},
            "precision": "32-true",
            "validate_every": {"steps": 2},
            "device": "cpu",
        },
        grid=[{"model": "2B", "widths": [4, 6, 8], "data_sizes": [4, 6, 8, 10], "seeds": [1, 42]}],
        output={"weights": "best"},
    )


@pytest.fixture(scope="module")
def results(study: Path) -> Path:
    out = study.parent / "results"
    said = run("grid", study, "--out", out)
    assert "24 runs (24 new, 0 not finished)" in said
    return out


def test_a_grid_leaves_parquet_fits_tables_and_figures(results: Path) -> None:
    made = {
        str(path.relative_to(results)) for path in results.rglob("*") if path.is_file() and "cells" not in path.parts
    }
    figures = {
        "figure_1",
        "figure_2",
        "learning_curves",
        "elements",
        "parity_omega_D_validation",
        "spectra_2B_validation",
    }
    assert {f"figures/{name}.{kind}" for name in figures for kind in ("png", "pdf")} <= made
    assert {f"tables/{name}.{kind}" for name in ("laws_1d", "maps_2d") for kind in ("md", "tex")} <= made
    assert {"runs.parquet", "curves.parquet", "fits.json", "resolved.yaml", "tables/metrics_2B_validation.md"} <= made
    assert len(pd.read_parquet(results / "runs.parquet")) == 24
    assert json.loads((results / "fits.json").read_text())


def test_a_second_grid_ends_at_once(study: Path, results: Path) -> None:
    before = (results / "figures" / "figure_1.png").stat().st_mtime_ns
    start = time.perf_counter()
    assert "nothing to do" in run("grid", study, "--out", results)
    assert time.perf_counter() - start < 10
    assert (results / "figures" / "figure_1.png").stat().st_mtime_ns == before


def test_a_lost_figure_is_drawn_again_and_nothing_is_trained(study: Path, results: Path) -> None:
    (results / "figures" / "figure_1.png").unlink()
    assert "24 runs (0 new" in run("grid", study, "--out", results)
    assert (results / "figures" / "figure_1.png").exists()


def test_a_plan_is_printed_and_nothing_runs(study: Path, tmp_path: Path) -> None:
    said = run("grid", study, "--dry-run", "--out", tmp_path / "plan")
    assert "24 cells, 24 to run, " in said
    assert not (tmp_path / "plan").exists()


def test_a_fresh_start_asks_first(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    small = ["--set", "grid=[{model: 2B, widths: [4], data_sizes: [4], seeds: [1]}]", "--out", out]
    run("grid", study, *small)
    record = out / "cells" / "2B_W4_D4_s1_t0" / "record.json"
    before = record.stat().st_mtime_ns
    refused = RUNNER.invoke(app, ["grid", str(study), *map(str, small), "--fresh"], input="n\n")
    assert isinstance(refused.exception, UserError)
    assert record.stat().st_mtime_ns == before
    assert "(1 new" in run("grid", study, *small, "--fresh", "--yes")
    assert record.stat().st_mtime_ns != before


def test_fresh_leaves_a_foreign_folder_alone(study: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    mine = tmp_path / "study.yaml"
    mine.write_text("# annotated\n" + study.read_text())
    small = ["--set", "grid=[{model: 2B, widths: [4], data_sizes: [4], seeds: [1]}]", "--out", tmp_path]
    with pytest.raises(UserError, match="no results folder"):
        run("grid", mine, *small, "--fresh", "--yes")
    run("grid", mine, *small)
    run("grid", mine, *small, "--fresh", "--yes")
    assert (tmp_path / "thesis.tex").exists()
    assert mine.read_text().startswith("# annotated")


def test_one_cell_is_trained_with_checkpoints_and_goes_on(study: Path, tmp_path: Path) -> None:
    cell = ["--model", "2B", "--width", 4, "--data", 8, "--seed", 1, "--out", tmp_path]
    said = run("train", study, *cell)
    folder = tmp_path / "cells" / "2B_W4_D8_s1_t0"
    assert "L_val" in said
    for name in ("record.json", "curve.parquet", "best.safetensors", "last.ckpt", "best.ckpt", "log/metrics.csv"):
        assert (folder / name).exists(), name
    record = json.loads((folder / "record.json").read_text())
    run("train", study, *cell, "--resume")
    assert json.loads((folder / "record.json").read_text())["val_loss"] == record["val_loss"]


@pytest.mark.parametrize(("option", "value"), [("--data", "-5"), ("--seed", "-1"), ("--width", "0")])
def test_a_cell_that_cannot_be_is_refused(study: Path, tmp_path: Path, option: str, value: str) -> None:
    cell = {"--model": "2B", "--width": "4", "--data": "8", "--seed": "1", "--out": tmp_path, option: value}
    with pytest.raises(UserError, match=f"^{option}: input should be greater than or equal to . .got {value}.$"):
        run("train", study, *(word for pair in cell.items() for word in pair))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_run_is_evaluated(results: Path, part: str) -> None:
    folder = results / "cells" / "2B_W8_D10_s1_t0"
    said = run("evaluate", folder, "--part", part)
    assert "omega_D_error" in said
    metrics = pd.read_parquet(folder / part / "tables" / f"metrics_2B_{part}.parquet")
    assert {"mae_re", "mae_im", "r2_im", "sc_im", "omega_D_error", "dE"} <= set(metrics.columns)
    if part == "validation":
        record = json.loads((folder / "record.json").read_text())
        assert metrics["omega_D_error"].mean() == pytest.approx(record["val_drude_loss"], rel=1e-5)
        assert metrics[["mae_re", "mae_im"]].to_numpy().mean() == pytest.approx(record["val_eps_loss"], rel=1e-5)


def test_any_table_is_fitted_and_drawn(tmp_path: Path) -> None:
    D = [100, 200, 400, 800, 1600, 3200]
    rows = [("mine", d, 5000, s, (1e4 / d) ** 0.4 * (1 + 0.01 * (s - 1))) for d in D for s in (1, 2)]
    table = tmp_path / "losses.csv"
    pd.DataFrame(rows, columns=["model", "D", "N", "seed", "val_loss"]).to_csv(table, index=False)
    said = run("fit", table)
    assert "0.40 ± 0.00" in said
    assert (tmp_path / "fits.json").exists()
    run("plot", table, "--out", tmp_path / "figures")
    assert (tmp_path / "figures" / "figure_1.png").exists()
    run("plot", "--published", table, "--out", tmp_path / "published")
    assert {"figure_1.pdf", "figure_2.png", "laws_1d.tex", "maps_2d.md"} <= {
        path.name for path in (tmp_path / "published").iterdir()
    }


def test_the_shelf_is_packed_and_built(tmp_path: Path) -> None:
    assert "materials, data hash" in run("data", "build", "--source", shelf_file(), "--out", tmp_path / "set")
    with pytest.raises(UserError, match="no such folder of records"):
        run("data", "pack", tmp_path / "nowhere", "--out", tmp_path / "shelf.parquet")


def test_info_names_versions_and_devices() -> None:
    said = run("info")
    for word in ("torch", "pytorch-lightning", "cuda", "embedded shelf", "cache"):
        assert word in said


def test_help_answers_within_a_second_and_errors_are_one_line(tmp_path: Path) -> None:
    def timed(*arguments: str) -> tuple[float, subprocess.CompletedProcess[str]]:
        command = [sys.executable, "-m", "optiscale.run", *arguments]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return time.perf_counter() - start, done

    seconds, done = min((timed("--help") for _ in range(3)), key=lambda pair: pair[0])
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("grid", "train", "evaluate", "fit", "plot", "data", "info"))
    assert seconds < 1
    for command, name in (("grid", "nowhere.yaml"), ("evaluate", "nowhere")):
        seconds, failed = min((timed(command, str(tmp_path / name)) for _ in range(3)), key=lambda pair: pair[0])
        assert failed.returncode == 2
        assert failed.stderr.startswith(f"error: {tmp_path / name}: ")
        assert failed.stderr.count("\n") == 1
        assert seconds < 1.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "/nowhere"}, "no data set at '/nowhere'"),
        ({"grid": [{"model": "2B", "widths": [8], "data_sizes": [999], "seeds": [1]}]}, "D = 999"),
        ({"grid": [{"model": "2B", "widths": [7], "data_sizes": [4], "seeds": [1]}]}, "7"),
    ],
)
def test_what_cannot_run_is_refused(
    dataset: OpticalDataset, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = write_study(tmp_path, **{"source": dataset.folder, **changes})
    with pytest.raises(UserError, match=said):
        run("grid", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_set_without_the_target_is_refused(tmp_path: Path) -> None:
    small = make_dataset(tmp_path / "set")
    content = study_content(small.folder)
    content["models"]["2B"]["scalars"] = ["bulk_modulus"]  # type: ignore[index]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="names 'bulk_modulus'; the data set has omega_D"):
        run("grid", tmp_path / "study.yaml", "--out", tmp_path / "out")
