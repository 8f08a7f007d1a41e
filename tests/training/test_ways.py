"""Plain, resident, compiled: one result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.training import Cell, RunOptions, cell_hash, make_network, run_cell, target_spec
from optiscale.training.assemble import COMPILED_FROM, way_of


def study_of(dataset: OpticalDataset, **training: object) -> Study:
    content = study_content(dataset.folder)
    content["training"] = {**content.get("training", {}), **training}
    return parse_study(content)


def test_both_paths_learn_alike(dataset: OpticalDataset, tmp_path: Path):
    curves = []
    for path in ("auto", "plain"):
        study = study_of(dataset, path=path, length={"steps": 60}, validate_every={"steps": 10}, precision="64-true")
        record = run_cell(study, Cell("2B", 8, 8, 1, 0), dataset, tmp_path / path, RunOptions(threads=1))
        assert record["status"] == "finished"
        curves.append(record["val_loss"])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_the_path_is_no_part_of_the_config_hash(dataset: OpticalDataset):
    cell = Cell("2B", 8, 8, 1, 0)
    assert cell_hash(study_of(dataset, path="plain"), cell) == cell_hash(study_of(dataset, path="auto"), cell)


@pytest.mark.parametrize(
    ("training", "way"),
    [
        ({"device": "cpu", "precision": "32-true"}, "resident"),
        ({"device": "cpu", "precision": "64-true"}, "resident"),
        ({"device": "cpu", "precision": "bf16-mixed"}, "plain"),
        ({"device": "cpu", "precision": "32-true", "path": "plain"}, "plain"),
        ({"device": "cuda", "path": "plain"}, "plain"),
        ({"device": "cuda", "precision": "64-true"}, "plain"),
        ({"device": "cuda"}, "resident"),
        ({"device": "cuda", "precision": "32-true"}, "resident"),
    ],
)
def test_the_way_follows_from_device_and_precision(dataset: OpticalDataset, training, way, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)  # as where there is Triton
    study = study_of(dataset, **training)
    cell = Cell("2B", 8, 16, 1, 0)
    model = study.models["2B"]
    network = make_network(study, cell, target_spec(model, dataset.manifest))
    assert way_of(model.training, network, steps=COMPILED_FROM - 1) == way
    on_card = training["device"] == "cuda"
    assert way_of(model.training, network, steps=COMPILED_FROM) == (
        way.replace("resident", "compiled") if on_card else way
    )
    assert way_of(model.training, network, steps=COMPILED_FROM, cut=True) == "plain"
    old = way.replace("resident", "plain") if on_card else way
    with monkeypatch.context() as card:
        card.setattr("torch.cuda.is_available", lambda: True)
        card.setattr("torch.cuda.get_device_capability", lambda: (7, 0))
        assert way_of(model.training, network, steps=COMPILED_FROM) == old
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert way_of(model.training, network, steps=COMPILED_FROM) == old
