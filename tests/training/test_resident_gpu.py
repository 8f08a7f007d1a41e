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
from optiscale.graphs.merged import Shape, exact_room
from optiscale.networks import NetworkConfig, TargetSpec, build_network
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.captured import CapturedRun
from optiscale.training.guard import RunStopped, Safety

pytestmark = pytest.mark.gpu
TARGETS = TargetSpec(n_omega=2001, components=("re", "im"), scalars=("omega_D",))
NETWORKS = {"2B": ("OptiMetal2B", "TC"), "CGC": ("OptiMetal2B", "CGC"), "3B": ("OptiMetal3B", "TC")}
EPOCHS = 12
PRECISIONS = ["bf16-mixed", "32-true"]


@pytest.fixture(scope="module")
def shelf() -> OpticalDataset:
    return open_source("dft-shelf")


def study_of(**training: object) -> Study:
    length = {"length": {"epochs": EPOCHS}, "batch_size": 64, "schedule": {"warmup": 1}, "device": "cuda"}
    return parse_study(
        {
            "name": "resident",
            "data": {"source": "dft-shelf"},
            "training": {**length, "precision": "bf16-mixed", **training},
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
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("way", ["resident", "compiled"])
def test_a_captured_run_learns_as_the_plain_layers_do(shelf, tmp_path, model, precision, way, caplog):
    study = study_of(precision=precision)
    plain, ours = (curve_of(study, shelf, tmp_path / one, way=one, model=model) for one in ("plain", way))
    assert "without the compiler" not in caplog.text
    assert ours["step"].tolist() == plain["step"].tolist()
    rounding = 0.02 if precision == "32-true" else 0.05
    for column in ("val_loss", "train_loss"):
        np.testing.assert_allclose(ours[column], plain[column], rtol=rounding)
    assert ours["val_loss"].iloc[-1] < 0.95 * ours["val_loss"].iloc[0]


@pytest.mark.parametrize("compile_", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_captured_steps_move_the_weights_as_eager_ones_do(shelf, precision, compile_):
    store = GraphStore.open(shelf, cutoff=5.5, angle_cutoff=4.0)
    device = torch.device("cuda")
    graphs = MergedGraphs(store, device=device, angles=False)
    batches = np.random.default_rng(0).permutation(len(shelf))[:384].reshape(6, 64)
    moved = []
    for captured in (False, True):
        torch.manual_seed(0)
        network = build_network(NetworkConfig(type="OptiMetal2B", width=16), TARGETS, cutoff=5.5, angle_cutoff=4.0)
        network = network.to(device)
        before = torch.cat([weight.detach().flatten() for weight in network.parameters()])
        rate = torch.tensor(1e-3, device=device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, capturable=True)
        room = exact_room(graphs, list(batches))
        parts = {"precision": precision, "clip": 100.0, "places": ([0, 1], [0]), "shape": room, "batch_size": 64}
        run = CapturedRun(network, graphs, optimizer, compile_=compile_ and captured, **parts)
        for rows in batches:
            run.step(torch.tensor(rows, device=device), fitting=captured)
        moved.append(torch.cat([weight.detach().flatten() for weight in network.parameters()]) - before)
    assert float((moved[1] - moved[0]).norm() / moved[0].norm()) < (0.02 if precision == "32-true" else 0.3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_run_twice_gives_the_same_losses(shelf, tmp_path, precision):
    study = study_of(precision=precision)
    curves = [curve_of(study, shelf, tmp_path / str(run), way="compiled")["val_loss"] for run in range(2)]
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize("precision", PRECISIONS)
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
    np.testing.assert_allclose(small["val_loss"], whole["val_loss"], rtol=0.05)


@pytest.mark.parametrize("D", [40, 257])
def test_a_batch_larger_or_smaller_than_asked_for(shelf, tmp_path, D):
    study = study_of(length={"epochs": 4})
    plain, ours = (curve_of(study, shelf, tmp_path / way, way=way, D=D) for way in ("plain", "resident"))
    np.testing.assert_allclose(ours["val_loss"], plain["val_loss"], rtol=0.01)


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
