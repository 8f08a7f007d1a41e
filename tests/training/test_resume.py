"""A run that is cut and goes on ends as one that was never cut."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from small import make_dataset, study_content

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.networks import Prediction, TargetSpec
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.guard import Guard, RunStopped, Safety, read_own_part

CELL = Cell("2B", 8, 11, 1, 0)  # three batches an epoch, the last a short one
RESULT = (
    "val_loss",
    "val_eps_loss",
    "val_drude_loss",
    "train_loss",
    "best_epoch",
    "best_step",
    "epochs",
    "steps",
    "lr",
)


class Dropping(torch.nn.Module):
    """A network of a user that draws random numbers."""

    needs_angles = False

    def __init__(self, *, targets: TargetSpec, limit: int = 10**6, norm: bool = True, **_: object) -> None:
        super().__init__()
        self.size = (targets.n_omega, len(targets.components))
        self.limit = limit
        self.embed = torch.nn.Embedding(100, 8)
        self.norm = torch.nn.BatchNorm1d(8) if norm else torch.nn.Identity()
        self.drop = torch.nn.Dropout(0.5 if norm else 0.0)
        self.out = torch.nn.Linear(8, self.size[0] * self.size[1] + 1)

    def forward(self, batch: object) -> Prediction:
        n = batch.n_crystals  # type: ignore[attr-defined]
        if n > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        atoms = self.drop(self.norm(self.embed(batch.atomic_number)))  # type: ignore[attr-defined]
        crystals = atoms.new_zeros(n, 8).index_add(0, batch.crystal, atoms)  # type: ignore[attr-defined]
        values = self.out(crystals)
        return Prediction(values[:, :-1].unflatten(1, self.size), values[:, -1:])


def study_of(dataset: OpticalDataset, training: dict[str, object], network: dict[str, object] | None = None) -> Study:
    content = study_content(dataset.folder, output={"weights": "best"})
    content["training"] |= training  # type: ignore[operator]
    if network is not None:
        content["models"]["2B"]["network"] = {"type": f"{__name__}:Dropping", "options": network}  # type: ignore[index]
    return parse_study(content)


def cut_at(study: Study, dataset: OpticalDataset, folder: Path, step: int, resume: bool) -> None:
    """Run to a step and stop there."""
    done = [0]
    safety = Safety(
        folder / "last.ckpt",
        every_s=1e9,
        stop=lambda: "cut" if done[0] == step else None,
        beat=lambda now: done.__setitem__(0, now),
    )
    with pytest.raises(RunStopped, match="cut"):
        run_cell(
            study, CELL, dataset, folder, RunOptions(safety=safety, resume_from=safety.checkpoint if resume else None)
        )
    assert not (folder / "record.json").exists()


def assert_same(one: Path, two: Path) -> None:
    records = [json.loads((folder / "record.json").read_text()) for folder in (one, two)]
    assert [records[0][name] for name in RESULT] == [records[1][name] for name in RESULT]
    assert records[0]["status"] == "finished", records[0]["message"]
    pd.testing.assert_frame_equal(pd.read_parquet(one / "curve.parquet"), pd.read_parquet(two / "curve.parquet"))
    assert (one / "best.safetensors").read_bytes() == (two / "best.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("length", "every", "network"),
    [
        ({"epochs": 4}, {"epochs": 1}, None),
        ({"epochs": 4}, {"epochs": 2}, None),
        ({"steps": 10}, {"steps": 3}, None),
        ({"steps": 10}, {"steps": 2}, None),
        ({"steps": 10}, {"steps": 4}, {}),
        ({"epochs": 4}, {"steps": 2}, {}),
        ({"steps": 10}, {"epochs": 1}, {}),
    ],
)
def test_a_run_cut_wherever_it_may_be_ends_as_an_undisturbed_one(
    dataset: OpticalDataset,
    tmp_path: Path,
    length: dict[str, int],
    every: dict[str, int],
    network: dict[str, object] | None,
) -> None:
    study = study_of(dataset, {"length": length, "validate_every": every}, network)
    beats: list[int] = []
    safety = Safety(tmp_path / "whole" / "last.ckpt", every_s=1e9, beat=beats.append)
    run_cell(study, CELL, dataset, tmp_path / "whole", RunOptions(safety=safety))
    stops = sorted(set(beats))  # where a run looks up; the last time is of the last validation
    assert len(stops) >= 4
    for step in stops[:-1]:  # a run cut again and again: it makes one stretch at a time
        cut_at(study, dataset, tmp_path / "cut", step, resume=step > 0)
    options = RunOptions(resume_from=tmp_path / "cut" / "last.ckpt")
    run_cell(study, CELL, dataset, tmp_path / "cut", options)
    assert_same(tmp_path / "cut", tmp_path / "whole")


class KilledBetweenCheckpoints(pl.Callback):
    """An end without warning."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == 6:
            raise RuntimeError("killed")


def test_a_killed_run_goes_on_from_its_last_checkpoint(dataset: OpticalDataset, tmp_path: Path) -> None:
    study = study_of(dataset, {"length": {"steps": 9}, "validate_every": {"steps": 2}})
    run_cell(study, CELL, dataset, tmp_path / "whole")
    folder = tmp_path / "cut"
    every_step = Safety(folder / "last.ckpt", every_s=0)
    cut = run_cell(study, CELL, dataset, folder, RunOptions(safety=every_step, callbacks=[KilledBetweenCheckpoints()]))
    assert (cut["status"], cut["message"]) == ("failed", "RuntimeError: killed")
    assert "RuntimeError: killed" in (folder / "error.txt").read_text()
    run_cell(study, CELL, dataset, folder, RunOptions(safety=every_step, resume_from=folder / "last.ckpt"))
    assert_same(folder, tmp_path / "whole")


def test_a_short_run_writes_no_checkpoint(dataset: OpticalDataset, tmp_path: Path) -> None:
    run_cell(study_of(dataset, {}), CELL, dataset, tmp_path, RunOptions(safety=Safety(tmp_path / "last.ckpt", 300)))
    assert not (tmp_path / "last.ckpt").exists()


def test_checkpoints_follow_time_that_cannot_jump(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1e12)  # a clock set far ahead
    run_cell(study_of(dataset, {}), CELL, dataset, tmp_path, RunOptions(safety=Safety(tmp_path / "last.ckpt", 300)))
    assert not (tmp_path / "last.ckpt").exists()


def test_a_checkpoint_of_another_run_or_cut_short_is_refused(dataset: OpticalDataset, tmp_path: Path) -> None:
    study = study_of(dataset, {})
    cut_at(study, dataset, tmp_path, 3, resume=False)
    checkpoint = tmp_path / "last.ckpt"
    other = make_dataset(tmp_path / "other", n=29)
    with pytest.raises(UserError, match="run without --resume"):
        run_cell(study, CELL, other, tmp_path / "b", RunOptions(resume_from=checkpoint))
    whole = checkpoint.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        checkpoint.write_bytes(whole[:length])
        assert read_own_part(checkpoint) is None
        with pytest.raises(UserError, match="damaged"):
            run_cell(study, CELL, dataset, tmp_path / "c", RunOptions(resume_from=checkpoint))


def test_a_full_disk_costs_the_checkpoint_not_the_run(
    dataset: OpticalDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a folder cannot be made here")
    safety = Safety(tmp_path / "file" / "last.ckpt", every_s=0)
    record = run_cell(study_of(dataset, {}), CELL, dataset, tmp_path / "out", RunOptions(safety=safety))
    assert record["status"] == "finished"
    assert "no checkpoint written" in caplog.text


def test_out_of_memory_takes_micro_batches_with_the_gradient_of_the_whole(
    dataset: OpticalDataset, tmp_path: Path
) -> None:
    training = {"precision": "64-true", "batch_size": 8}
    whole = run_cell(study_of(dataset, training, {"norm": False}), CELL, dataset, tmp_path / "whole")
    small = study_of(dataset, training, {"norm": False, "limit": 3})
    record = run_cell(small, CELL, dataset, tmp_path / "small")
    assert (record["status"], record["micro_batch"]) == ("finished", 2)
    assert "micro-batches of 2" in record["message"]
    for name in ("val_loss", "val_eps_loss", "train_loss"):
        assert record[name] == pytest.approx(whole[name], rel=1e-12)
    cut_at(small, dataset, tmp_path / "cut", 4, resume=False)
    options = RunOptions(resume_from=tmp_path / "cut" / "last.ckpt")
    assert run_cell(small, CELL, dataset, tmp_path / "cut", options)["val_loss"] == record["val_loss"]


def test_what_fits_no_memory_is_recorded(dataset: OpticalDataset, tmp_path: Path) -> None:
    record = run_cell(study_of(dataset, {}, {"limit": 1}), CELL, dataset, tmp_path)
    assert (record["status"], record["micro_batch"]) == ("out_of_memory", 2)
    assert "one device does not hold it, even in the smallest micro-batches" in record["message"]
    assert "take a narrower width, bf16-mixed, or a device with more memory" in record["message"]


def test_the_guard_comes_without_cost_to_the_result(dataset: OpticalDataset, tmp_path: Path) -> None:
    study = study_of(dataset, {}, {})
    run_cell(study, CELL, dataset, tmp_path / "bare")
    safety = Safety(tmp_path / "all" / "last.ckpt", every_s=0, at_end=True)
    run_cell(study, CELL, dataset, tmp_path / "all", RunOptions(safety=safety))
    assert_same(tmp_path / "all", tmp_path / "bare")
    run_cell(study, CELL, dataset, tmp_path / "all", RunOptions(resume_from=safety.checkpoint))  # it was at its end
    assert_same(tmp_path / "all", tmp_path / "bare")
    assert isinstance(Guard(safety), pl.Callback)
