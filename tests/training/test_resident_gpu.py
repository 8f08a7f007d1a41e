"""Runs on a card that holds the whole data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from optiscale.config import Study, parse_study
from optiscale.datamodule import chunks
from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.guard import RunStopped, Safety

pytestmark = pytest.mark.gpu
NETWORKS = {"2B": ("OptiMetal2B", "TC"), "CGC": ("OptiMetal2B", "CGC"), "3B": ("OptiMetal3B", "TC")}
EPOCHS = 12


@pytest.fixture(scope="module")
def shelf() -> OpticalDataset:
    return open_source("dft-shelf")


def study_of(**training: object) -> Study:
    length = {"length": {"epochs": EPOCHS}, "batch_size": 64, "schedule": {"warmup": 1}, "device": "cuda"}
    return parse_study(
        {
            "name": "resident",
            "data": {"source": "dft-shelf"},
            "training": {**length, "precision": "32-true", **training},
            "models": {
                name: {"network": {"type": kind, "message": message}, "optimizer": {"lr": 1e-3}}
                for name, (kind, message) in NETWORKS.items()
            },
            "grid": [{"model": "2B", "widths": [16], "data_sizes": [300], "seeds": [1]}],
        }
    )


def curve_of(study: Study, dataset: OpticalDataset, folder: Path, *, way: str, model: str = "2B", D: int = 300):
    record = run_cell(study, Cell(model, 16, D, 1, 0), dataset, folder, RunOptions(way=way))
    assert record["status"] == "finished", record["message"]
    return pd.read_parquet(folder / "curve.parquet")


@pytest.mark.parametrize("model", list(NETWORKS))
def test_a_captured_run_learns_as_the_plain_layers_do(shelf, tmp_path, model):
    plain, ours = (curve_of(study_of(), shelf, tmp_path / way, way=way, model=model) for way in ("plain", "resident"))
    assert ours["step"].tolist() == plain["step"].tolist()
    for column in ("val_loss", "train_loss"):
        np.testing.assert_allclose(ours[column], plain[column], rtol=0.02)
    np.testing.assert_allclose(ours["val_loss"][:2], plain["val_loss"][:2], rtol=1e-3)
    assert ours["val_loss"].iloc[-1] < 0.9 * ours["val_loss"].iloc[0]


def test_in_bfloat16_too_within_what_rounding_costs(shelf, tmp_path):
    ours, exact = (
        curve_of(study_of(precision=precision), shelf, tmp_path / precision, way="resident")
        for precision in ("bf16-mixed", "32-true")
    )
    np.testing.assert_allclose(ours["val_loss"], exact["val_loss"], rtol=0.05)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_same_run_twice_gives_the_same_losses(shelf, tmp_path, precision):
    study = study_of(precision=precision)
    curves = [curve_of(study, shelf, tmp_path / str(run), way="resident")["val_loss"] for run in range(2)]
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_batches_without_room_are_computed_all_the_same(shelf, tmp_path, precision, monkeypatch):
    study = study_of(precision=precision)
    whole = curve_of(study, shelf, tmp_path / "whole", way="resident")
    seen = []

    def room_for_most(graphs: MergedGraphs, rows: np.ndarray, batch_size: int) -> Shape:
        sizes = graphs.sizes(rows).mean(axis=0) * batch_size
        return Shape(*(int(size) for size in sizes))

    def watched(*parts) -> bool:
        seen.append(before(*parts))
        return seen[-1]

    before = chunks.fits
    monkeypatch.setattr(chunks, "room", room_for_most)
    monkeypatch.setattr(chunks, "fits", watched)
    small = curve_of(study, shelf, tmp_path / "small", way="resident")
    assert {True, False} == set(seen)
    np.testing.assert_allclose(small["val_loss"], whole["val_loss"], rtol=0.02)


@pytest.mark.parametrize("D", [40, 257])
def test_a_batch_larger_or_smaller_than_asked_for(shelf, tmp_path, D):
    study = study_of(length={"epochs": 4})
    plain, ours = (curve_of(study, shelf, tmp_path / way, way=way, D=D) for way in ("plain", "resident"))
    np.testing.assert_allclose(ours["val_loss"], plain["val_loss"], rtol=5e-3)


@pytest.mark.parametrize("every", [{"epochs": 1}, {"steps": 7}])
def test_a_run_that_was_cut_goes_on(shelf, tmp_path, every):
    study = study_of(length={"steps": 35}, validate_every=every)
    whole = curve_of(study, shelf, tmp_path / "whole", way="resident")
    cut = tmp_path / "cut"
    done = [0]
    safety = Safety(
        cut / "last.ckpt",
        every_s=1e9,
        stop=lambda: "cut" if done[0] >= 14 else None,
        beat=lambda now: done.__setitem__(0, now),
    )
    cell = Cell("2B", 16, 300, 1, 0)
    with pytest.raises(RunStopped, match="cut"):
        run_cell(study, cell, shelf, cut, RunOptions(safety=safety, way="resident"))
    assert safety.checkpoint.exists()
    record = run_cell(study, cell, shelf, cut, RunOptions(resume_from=safety.checkpoint, way="resident"))
    assert record["status"] == "finished"
    np.testing.assert_allclose(pd.read_parquet(cut / "curve.parquet")["val_loss"], whole["val_loss"], rtol=1e-3)


def test_spectra_in_the_memory_of_the_host_are_those_on_the_card(shelf):
    store = GraphStore.open(shelf, cutoff=5.5, angle_cutoff=4.0)
    device = torch.device("cuda")
    there, here = (MergedGraphs(store, device=device, angles=False, share=share) for share in (0.5, 0.0))
    assert there.spectrum.is_cuda
    assert here.spectrum.is_pinned()
    rows = torch.tensor([5, 3, 300, -1], device=device)
    room = Shape(*(int(n) for n in there.sizes(np.array([5, 3, 300])).sum(axis=0)))
    batches = [graphs.gather(rows, room) for graphs in (there, here)]
    assert torch.equal(batches[0].spectrum, batches[1].spectrum)
    whole = store.batch(np.array([5, 3, 300]), angles=False)
    assert torch.equal(batches[0].spectrum[:3].cpu(), whole.spectrum)
