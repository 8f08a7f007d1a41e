"""Runs on a device that holds the whole data set; those of a card without the card: all but the capture itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.training import Cell, RunOptions, captured, resident, run_cell
from optiscale.training.guard import RunStopped, Safety

CELL = Cell("2B", 8, 16, 1, 0)


@pytest.fixture
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs on a processor take the steps of a card."""

    class Uncaptured:
        def __init__(self, work):
            self.work = work

        def __call__(self):
            self.work()

    monkeypatch.setattr(captured, "Captured", Uncaptured)
    monkeypatch.setattr(resident, "on_host", lambda _: False)


def study_of(dataset: OpticalDataset, **training: object) -> Study:
    content = study_content(dataset.folder)
    asked = {"batch_size": 4, "precision": "32-true", "device": "cpu", "schedule": {"warmup": 1}, **training}
    content["training"] = {**content.get("training", {}), **asked}
    return parse_study(content)


def curve_of(study: Study, dataset: OpticalDataset, folder: Path, **options: object) -> pd.DataFrame:
    record = run_cell(study, CELL, dataset, folder, RunOptions(threads=1, **options))
    assert record["status"] == "finished", record["message"]
    return pd.read_parquet(folder / "curve.parquet")


@pytest.mark.parametrize(
    ("length", "every"), [({"epochs": 5}, {"epochs": 1}), ({"steps": 21}, {"steps": 7}), ({"steps": 10}, {"steps": 4})]
)
def test_it_learns_step_by_step_as_the_plain_way_does(dataset, tmp_path, length, every):
    study = study_of(dataset, length=length, validate_every=every, precision="64-true")
    plain, ours = (curve_of(study, dataset, tmp_path / way, way=way) for way in ("plain", "resident"))
    assert ours["step"].tolist() == plain["step"].tolist()
    assert ours["epoch"].tolist() == plain["epoch"].tolist()
    np.testing.assert_allclose(ours["lr"], plain["lr"], rtol=1e-12)
    for column in ("val_loss", "train_loss"):
        np.testing.assert_allclose(ours[column], plain[column], rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "every"), [({"epochs": 5}, {"epochs": 1}), ({"steps": 21}, {"steps": 7}), ({"steps": 10}, {"steps": 4})]
)
def test_the_steps_of_a_card_are_those_of_a_processor(dataset, tmp_path, length, every, request):
    study = study_of(dataset, length=length, validate_every=every)
    host = curve_of(study, dataset, tmp_path / "host")
    request.getfixturevalue("as_on_a_card")
    card = curve_of(study, dataset, tmp_path / "card")
    assert card["step"].tolist() == host["step"].tolist()
    np.testing.assert_allclose(card["lr"], host["lr"], rtol=1e-6)
    for column in ("val_loss", "train_loss"):
        np.testing.assert_allclose(card[column], host[column], rtol=2e-3)


@pytest.mark.usefixtures("as_on_a_card")
def test_batches_without_room_are_computed_all_the_same(dataset, tmp_path, monkeypatch):
    study = study_of(dataset, length={"epochs": 3})
    whole = curve_of(study, dataset, tmp_path / "whole", way="resident")
    monkeypatch.setattr("optiscale.datamodule.chunks.fits", lambda *_: False)
    none = curve_of(study, dataset, tmp_path / "none", way="resident")
    np.testing.assert_allclose(none["val_loss"], whole["val_loss"], rtol=1e-3)


@pytest.mark.usefixtures("as_on_a_card")
@pytest.mark.parametrize("every", [{"epochs": 1}, {"steps": 6}])
def test_a_run_that_was_cut_goes_on(dataset, tmp_path, every):
    study = study_of(dataset, length={"steps": 24}, validate_every=every)
    whole = curve_of(study, dataset, tmp_path / "whole", way="resident")
    cut, done = tmp_path / "cut", [0]
    safety = Safety(
        cut / "last.ckpt",
        every_s=1e9,
        stop=lambda: "cut" if done[0] >= 8 else None,
        beat=lambda now: done.__setitem__(0, now),
    )
    with pytest.raises(RunStopped, match="cut"):
        curve_of(study, dataset, cut, way="resident", safety=safety)
    again = curve_of(study, dataset, cut, way="resident", resume_from=safety.checkpoint)
    pd.testing.assert_frame_equal(again, whole)
