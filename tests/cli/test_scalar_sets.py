"""From a matminer file to fitted laws, through the commands; and the shipped study of baselines at tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matminer_file import NAME, publish
from small import study_content
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.errors import UserError

RUNNER = CliRunner()
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "cells" not in path.parts}


def test_a_set_of_scalars_goes_from_import_to_fitted_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "home", monkeypatch)
    run("data", "import", f"matminer:{NAME}", "--out", tmp_path / "set")
    content = study_content(tmp_path / "set", output={"weights": "best"})
    content["models"]["2B"]["scalars"] = ["n"]  # type: ignore[index]
    content["models"]["forest"] = {  # type: ignore[index]
        "baseline": {"type": "magpie-forest", "trees": 20},
        "scalars": ["n"],
    }
    content["grid"] = [
        {"model": "2B", "widths": [8], "data_sizes": [4, 8, 16], "seeds": [1, 42]},
        {"model": "forest", "data_sizes": [4, 8, 16], "seeds": [1, 42]},
    ]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    out = tmp_path / "results"
    assert "12 runs (12 new, 0 not finished)" in run("grid", tmp_path / "study.yaml", "--out", out)
    runs = pd.read_parquet(out / "runs.parquet")
    assert runs["val_eps_loss"].isna().all()
    assert (runs["val_loss"] == runs["val_drude_loss"]).all()
    best = runs.loc[runs.groupby("model")["val_loss"].idxmin()].set_index("model")
    for model in ("2B", "forest"):
        metrics = pd.read_parquet(out / "tables" / f"metrics_{model}_validation.parquet")
        assert list(metrics) == ["id", "reduced_formula", "n_error", "n_error_percent"]
        assert metrics["n_error"].mean() == pytest.approx(best.loc[model, "val_loss"], rel=1e-5), "the loss is the MAE"
    assert {"figures/figure_1.png", "figures/parity_n_validation.png", "figures/elements.png", "fits.json"} <= files(
        out
    )
    said = run("fit", out / "runs.parquet", "--out", tmp_path / "fits")
    fitted = json.loads((tmp_path / "fits" / "fits.json").read_text())
    assert {series["model"].partition("-")[0] for series in fitted["series"]} == {"2B", "forest"}
    assert "forest" in said


def test_the_network_learns_the_refractive_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up index follows from composition and volume: a trained network must beat the mean."""
    publish(tmp_path / "home", monkeypatch)
    run("data", "import", f"matminer:{NAME}", "--scalar", "n=1:nonnegative", "--out", tmp_path / "set")
    content = study_content(tmp_path / "set")
    content["training"] |= {"length": {"steps": 300}, "batch_size": 8}  # type: ignore[operator]
    content["models"]["2B"]["optimizer"] = {"lr": 1e-2}  # type: ignore[index]
    content["grid"] = [{"model": "2B", "widths": [16], "data_sizes": [24], "seeds": [1]}]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    run("grid", tmp_path / "study.yaml", "--out", tmp_path / "results")
    L_val = pd.read_parquet(tmp_path / "results" / "runs.parquet")["val_loss"].item()
    index = np.load(tmp_path / "set" / "scalars.npy")[:, 0]
    assert L_val < 0.75 * np.abs(index - index.mean()).mean()


def test_the_shipped_study_of_baselines_runs(tmp_path: Path) -> None:
    small = [
        *("--set", "training.length.steps=4", "--set", "training.schedule.warmup=1"),
        *("--set", "training.validate_every.steps=2", "--set", "sweep.workers=1", "--set", "data.subset.seeds=[0]"),
        *("--set", "grid.0.data_sizes=[4, 8, 16]", "--set", "grid.0.widths=[4]"),
        *("--set", "grid.1.data_sizes=[4, 8, 16]", "--set", "grid.1.trees=[2, 4, 8]", "--set", "grid.1.seeds=[1]"),
        *("--set", "grid.2.data_sizes=[4, 8, 16]"),
    ]
    out = tmp_path / "results"
    study = EXPERIMENTS / "baselines.yaml"
    assert "15 cells, 15 to run" in run("grid", study, *small, "--out", out, "--dry-run")
    assert "15 runs (15 new, 0 not finished)" in run("grid", study, *small, "--out", out)
    assert {
        "figures/figure_1.png",
        "figures/figure_2.png",
        "figures/learning_curves.png",
        "figures/parity_omega_D_validation.png",
        "figures/spectra_magpie-forest_validation.png",
        "figures/spectra_magpie-ridge_validation.png",
        "tables/metrics_magpie-forest_validation.md",
    } <= files(out)
    assert "nothing to do" in run("grid", study, *small, "--out", out)

    cell = out / "cells" / "magpie-forest_W8_D16_s1_t0"
    run("evaluate", cell)
    metrics = pd.read_parquet(cell / "validation" / "tables" / "metrics_magpie-forest_validation.parquet")
    record = json.loads((cell / "record.json").read_text())
    assert metrics["loss"].mean() == pytest.approx(record["val_loss"], rel=1e-6), "fitted again to the same predictions"
    assert {"dE", "r2_re", "sc_im", "omega_D_error"} <= set(metrics)


def test_one_baseline_is_fitted_by_train(tmp_path: Path) -> None:
    said = run(
        *("train", EXPERIMENTS / "baselines.yaml", "--model", "magpie-forest", "--data", 10, "--seed", 1),
        *("--set", "models.magpie-forest.baseline.trees=3", "--out", tmp_path / "out"),
    )
    assert "L_val" in said
    assert f"N = {3 * 256 * 65:,}" in said
    with pytest.raises(UserError, match="grid has widths for 'magpie-forest'"):
        run(
            *("train", EXPERIMENTS / "baselines.yaml", "--model", "magpie-forest", "--data", 10, "--seed", 1),
            *("--width", 16, "--out", tmp_path / "other"),
        )
