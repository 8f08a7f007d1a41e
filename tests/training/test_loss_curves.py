"""Over 200 steps both paths learn the same (benchmarks/loss_curves.py: in float32, on the shelf, beside the noise)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import study_content

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.run import CURVE

SEEDS = (1, 42)


def losses(dataset: OpticalDataset, folder: Path, network: dict[str, str], path: str) -> np.ndarray:
    """Training and validation losses (seeds, 2, validations)."""
    content = study_content(dataset.folder)
    content["training"] = {
        **content["training"],  # type: ignore[dict-item]
        "path": path,
        "precision": "64-true",  # in float32, and at high rates, any other rounding leads elsewhere in 200 steps
        "batch_size": 8,
        "length": {"steps": 200},
        "schedule": {"warmup": 20},
        "validate_every": {"steps": 20},
    }
    content["models"] = {"net": {"network": network, "optimizer": {"lr": 5e-4}}}
    content["grid"] = [{"model": "net", "widths": [8], "data_sizes": [16], "seeds": list(SEEDS)}]
    study = parse_study(content)
    curves = []
    for seed in SEEDS:
        out = folder / path / str(seed)
        assert run_cell(study, Cell("net", 8, 16, seed, 0), dataset, out, RunOptions(threads=1))["status"] == "finished"
        curves.append(pd.read_parquet(out / CURVE)[["train_loss", "val_loss"]].to_numpy().T)
    return np.array(curves)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        {"type": "OptiMetal2B", "message": "TC"},
        {"type": "OptiMetal2B", "message": "CGC"},
        {"type": "OptiMetal3B", "message": "TC"},
    ],
    ids=lambda network: f"{network['type']}-{network['message']}",
)
def test_both_paths_have_one_curve(dataset: OpticalDataset, tmp_path: Path, network: dict[str, str]):
    plain, fast = (losses(dataset, tmp_path, network, path) for path in ("plain", "auto"))
    apart, seeds = np.abs(fast - plain).max(), np.abs(plain[0] - plain[1]).mean()
    assert 0 < apart < 1e-4 * seeds
    assert (plain[:, 0, -1] < 0.7 * plain[:, 0, 0]).all(), "nothing was learned"
