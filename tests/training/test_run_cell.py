from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from safetensors.torch import load_file
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.datamodule import OpticalDataModule
from optiscale.dataset import OpticalDataset
from optiscale.networks import Prediction, TargetSpec
from optiscale.training import Cell, RunOptions, cell_hash, learning_rate, make_network, run_cell, target_spec

CELL = Cell("2B", 8, 8, 1, 0)


class Exploding(torch.nn.Module):
    """A network of a user that goes wrong in a chosen way."""

    needs_angles = False

    def __init__(self, *, targets: TargetSpec, how: str, **_: object) -> None:
        super().__init__()
        self.size = (targets.n_omega, len(targets.components))
        self.how = how
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: object) -> Prediction:
        if self.how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 TiB")
        if self.how == "bug":
            raise ValueError("shapes do\nnot match")
        value = self.weight * math.nan if self.how == "nan" else self.weight
        n = batch.n_crystals  # type: ignore[attr-defined]
        return Prediction(value.expand(n, *self.size), value.expand(n, 1))


@pytest.fixture
def study(dataset: OpticalDataset) -> Study:
    return parse_study(study_content(dataset.folder, output={"weights": "best"}))


def own(study: Study, how: str) -> Study:
    content = study.model_dump(mode="json")
    content["models"]["2B"]["network"] = {"type": f"{__name__}:Exploding", "options": {"how": how}}
    return parse_study(content)


def test_the_same_cell_twice_gives_the_same_loss_to_the_last_digit(
    study: Study, dataset: OpticalDataset, tmp_path: Path
) -> None:
    first = run_cell(study, CELL, dataset, tmp_path / "one")
    torch.rand(17)  # what ran before must not matter
    second = run_cell(study, CELL, dataset, tmp_path / "two")
    for name in ("val_loss", "val_eps_loss", "val_drude_loss", "train_loss"):
        assert first[name] == second[name]
    other = run_cell(study, Cell("2B", 8, 8, 2, 0), dataset, tmp_path / "other")
    assert other["val_loss"] != first["val_loss"]


def test_l_val_is_the_exact_mean_at_the_best_validation(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    record = run_cell(study, CELL, dataset, tmp_path)
    network = make_network(study, CELL, target_spec(study.models["2B"], dataset.manifest))
    network.load_state_dict(load_file(tmp_path / "best.safetensors"))
    network.eval()
    data = OpticalDataModule(
        dataset, data=study.data, graph=study.graph, D=8, subset_seed=0, batch_size=4, seed=1, angles=False
    )
    data.setup()
    assert data.graphs is not None
    eps, drude = [], []
    for row in data.rows["validation"]:  # one material at a time: the mean must not depend on the batches
        prediction = network(data.graphs.batch(np.array([row])))
        eps.append(np.abs(prediction.spectrum.detach().numpy()[0] - dataset.spectrum[row]).mean(dtype=np.float64))
        drude.append(abs(prediction.scalars.item() - float(dataset.scalars[row, 0])))
    assert record["val_eps_loss"] == pytest.approx(np.mean(eps), rel=1e-6)
    assert record["val_drude_loss"] == pytest.approx(np.mean(drude), rel=1e-6)
    assert record["val_loss"] == record["val_eps_loss"] + record["val_drude_loss"]
    curve = pd.read_parquet(tmp_path / "curve.parquet")
    assert list(curve["step"]) == [3, 6]
    assert record["val_loss"] == curve["val_loss"].min()
    assert record["best_step"] == curve["step"][curve["val_loss"].idxmin()]


def test_the_record_says_what_made_it(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    run_cell(study, CELL, dataset, tmp_path, RunOptions(git_commit="abc"))
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["status"] == "finished"
    assert (record["steps"], record["D"], record["width"], record["message_passing"]) == (6, 8, 8, "TC")
    assert record["config_hash"] == cell_hash(study, CELL)
    assert (record["data_hash"], record["git_commit"]) == (dataset.hash, "abc")
    assert record["validate_every"] == "3 steps"
    assert "torch=" in record["versions"]
    assert record["device"].startswith("cpu")
    assert record["wall_s"] > 0
    assert record["peak_memory_mb"] > 10


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("nan", "diverged", "not finite at step 3"),
        ("memory", "out_of_memory", "Tried to allocate 2 TiB"),
        ("bug", "failed", "ValueError: shapes do not match"),
    ],
)
def test_a_run_that_goes_wrong_is_recorded(
    study: Study, dataset: OpticalDataset, tmp_path: Path, how: str, status: str, said: str
) -> None:
    record = run_cell(own(study, how), CELL, dataset, tmp_path)
    assert record["status"] == status
    assert said in record["message"]
    assert json.loads((tmp_path / "record.json").read_text())["status"] == status


class Interrupt(pl.Callback):
    """Ctrl-C in the middle of training."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step >= 4:
            raise KeyboardInterrupt


def test_an_interrupted_run_is_recorded_and_stays_an_interrupt(
    study: Study, dataset: OpticalDataset, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_cell(study, CELL, dataset, tmp_path, RunOptions(callbacks=[Interrupt()]))
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize(
    ("length", "every", "steps"),
    [
        ({"steps": 7}, {"steps": 3}, [3, 6, 7]),
        ({"steps": 6}, {"steps": 9}, [6]),
        ({"epochs": 5}, {"epochs": 2}, [4, 8, 10]),
        ({"epochs": 3}, {"epochs": 5}, [6]),
    ],
)
def test_the_last_state_is_always_validated(
    study: Study,
    dataset: OpticalDataset,
    tmp_path: Path,
    length: dict[str, int],
    every: dict[str, int],
    steps: list[int],
) -> None:
    content = study.resolved()
    content["training"] |= {"length": length, "validate_every": every}
    record = run_cell(parse_study(content), CELL, dataset, tmp_path)
    assert record["status"] == "finished"
    assert list(pd.read_parquet(tmp_path / "curve.parquet")["step"]) == steps
    assert np.isfinite(record["val_loss"])


class Huge(torch.nn.Module):
    """Does not fit into any memory."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(10**14))


def test_a_network_that_does_not_fit_is_recorded(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    content = study.resolved()
    content["models"]["2B"]["network"] = {"type": f"{__name__}:Huge"}
    record = run_cell(parse_study(content), CELL, dataset, tmp_path)
    assert record["status"] == "out_of_memory"
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "out_of_memory"


def test_an_edit_of_ones_own_network_changes_the_hash(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    content = study.resolved()
    content["models"]["2B"]["network"] = {"type": "a_network_of_mine:Mine"}
    (tmp_path / "a_network_of_mine.py").write_text("class Mine: pass")
    before = cell_hash(parse_study(content), CELL)
    (tmp_path / "a_network_of_mine.py").write_text("class Mine: width = 5")
    assert cell_hash(parse_study(content), CELL) != before


def test_the_published_rate_rule() -> None:
    content = study_content("x")
    content["models"]["2B"]["optimizer"] = {"lr": 6e-4, "lr_rule": "inverse_parameters"}  # type: ignore[index]
    study = parse_study(content)
    targets = TargetSpec(2001, ("re", "im"), ("omega_D",))
    assert learning_rate(study, Cell("2B", 256, 1, 1, 0), targets) == pytest.approx(6e-4)
    assert learning_rate(study, Cell("2B", 16, 1, 1, 0), targets) == pytest.approx(6e-4 * 8140195 / 278275)
    content["models"]["2B"]["optimizer"]["max_lr"] = 1e-3  # type: ignore[index]
    assert learning_rate(parse_study(content), Cell("2B", 16, 1, 1, 0), targets) == 1e-3


def test_the_config_hash_changes_with_what_changes_the_result_only(study: Study) -> None:
    content = study.model_dump(mode="json")
    same = {**content, "name": "other", "sweep": {"workers": 2, "threads": 2}, "output": {"weights": "none"}}
    assert cell_hash(parse_study(same), CELL) == cell_hash(study, CELL)
    assert cell_hash(study, Cell("2B", 8, 8, 2, 0)) != cell_hash(study, CELL)
    changed = {**content, "graph": {"cutoff": 5.0, "angle_cutoff": 4.0}}
    assert cell_hash(parse_study(changed), CELL) != cell_hash(study, CELL)


def test_part_of_the_targets_can_be_asked_for(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    content = study.model_dump(mode="json")
    content["models"]["2B"] |= {"components": ["im"], "scalars": []}
    record = run_cell(parse_study(content), CELL, dataset, tmp_path)
    assert math.isnan(record["val_drude_loss"]), "no such target"
    assert record["val_loss"] == record["val_eps_loss"] > 0


@pytest.mark.gpu
def test_a_first_run_on_a_card_records_it(study: Study, dataset: OpticalDataset, tmp_path: Path) -> None:
    content = study.resolved()
    content["training"] |= {"device": "cuda", "precision": "bf16-mixed"}
    code = (
        "import sys, yaml; from pathlib import Path\n"
        "from optiscale.config import parse_study; from optiscale.dataset import open_source\n"
        "from optiscale.training import Cell, run_cell\n"
        "study = parse_study(yaml.safe_load(sys.stdin.read()))\n"
        f"run_cell(study, Cell('2B', 8, 8, 1, 0), open_source(study.data.source), Path({str(tmp_path)!r}))\n"
    )  # a fresh process: CUDA is not initialized before the run
    subprocess.run([sys.executable, "-c", code], input=yaml.safe_dump(content), text=True, check=True)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["status"] == "finished", record["message"]
    assert torch.cuda.get_device_name() in record["device"]
    assert 0 < record["peak_memory_mb"] < 10_000
