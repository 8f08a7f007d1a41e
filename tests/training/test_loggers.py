"""TensorBoard and W&B show the points of the learning curve, each once, however often a run was cut."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from faults import Program, faulty_study, kill_workers, study_file
from small import study_content

from optiscale.config import Study, parse_study, save_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import run_grid
from optiscale.training import Cell, RunOptions, cell_hash, run_cell
from optiscale.training.guard import RunStopped, Safety
from optiscale.training.loggers import METRICS
from optiscale.training.options import Way

CELL = Cell("2B", 8, 8, 1, 0)
Points = dict[str, list[tuple[int, float]]]


def study_of(dataset: OpticalDataset, *loggers: str, steps: int = 12) -> Study:
    content = study_content(dataset.folder, sweep={"threads": 1, "loggers": list(loggers)})
    content["training"] |= {"length": {"steps": steps}}  # type: ignore[operator]
    return parse_study(content)


def in_tensorboard(cell: Path) -> Points:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(cell / "tensorboard"))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def records_of(file: Path) -> Iterator[bytes]:
    """Read W&B's file: seven bytes, then LevelDB's log of blocks of 32 KiB, whose records may go on in the next."""
    content, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def in_wandb(cell: Path) -> Points:
    """Read the file that `wandb sync` would send."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    [file] = cell.glob("wandb/offline-run-*/*.wandb")  # one, or there would be points twice
    points: Points = {}
    for data in records_of(file):
        record = messages.Record()
        record.ParseFromString(data)
        values = {".".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        if "trainer/global_step" in values:
            step = int(values.pop("trainer/global_step"))
            for name in METRICS.values():
                if name in values:
                    points.setdefault(name, []).append((step, float(values[name])))
    return points


def assert_points_of_the_curve(points: Points, cell: Path) -> None:
    curve = pd.read_parquet(cell / "curve.parquet")
    assert set(METRICS.values()) <= set(points)
    for column, name in METRICS.items():
        assert [step for step, _ in points[name]] == list(curve["step"]), name
        assert [value for _, value in points[name]] == pytest.approx(list(curve[column]), rel=1e-6), name


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.parametrize("way", ["plain", "resident"])
def test_both_loggers_show_the_curve(dataset: OpticalDataset, tmp_path: Path, offline: None, way: Way) -> None:
    pytest.importorskip("wandb")
    study = study_of(dataset, "tensorboard", "wandb", steps=10)  # the last validation comes after the training
    run_cell(study, CELL, dataset, tmp_path, RunOptions(way=way))
    assert_points_of_the_curve(in_tensorboard(tmp_path), tmp_path)
    assert_points_of_the_curve(in_wandb(tmp_path), tmp_path)


def test_a_killed_run_that_goes_on_has_no_point_twice(dataset: OpticalDataset, tmp_path: Path, offline: None) -> None:
    pytest.importorskip("wandb")
    study = study_of(dataset, "tensorboard", "wandb")
    checkpoint, kept = tmp_path / "last.ckpt", tmp_path / "kept.ckpt"

    def beat(step: int) -> None:
        if step == 6:
            shutil.copy(checkpoint, kept)  # of step 3, which has seen its validation
        if step == 9:
            raise RunStopped("killed")  # as a kill is: the validation of step 6 is in the logs, and in no checkpoint

    with pytest.raises(RunStopped):
        run_cell(study, CELL, dataset, tmp_path, RunOptions(safety=Safety(checkpoint, 0.0, beat=beat)))
    assert [step for step, _ in in_tensorboard(tmp_path)["val/loss"]] == [3, 6]
    run_cell(study, CELL, dataset, tmp_path, RunOptions(resume_from=kept))
    assert [step for step, _ in in_tensorboard(tmp_path)["val/loss"]] == [3, 6, 9, 12]
    assert_points_of_the_curve(in_tensorboard(tmp_path), tmp_path)
    assert_points_of_the_curve(in_wandb(tmp_path), tmp_path)


def test_workers_log_and_a_killed_one_costs_no_point(dataset: OpticalDataset, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    content = faulty_study(dataset.folder, loggers=["tensorboard", "wandb"])
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [8], "seeds": [1, 2, 3]}]
    study, out = study_file(content, tmp_path / "study")
    program = Program(study, out, env={"WANDB_MODE": "offline"})
    assert kill_workers(program, out, random.Random(3), 1) == 1
    assert program.wait() == 0, program.log.read_text()
    cells = sorted((out / "cells").iterdir())
    assert len(cells) == 3
    for cell in cells:
        assert_points_of_the_curve(in_tensorboard(cell), cell)
        assert_points_of_the_curve(in_wandb(cell), cell)


def test_loggers_change_no_result_and_no_hash(dataset: OpticalDataset, tmp_path: Path) -> None:
    plain, logged = study_of(dataset), study_of(dataset, "tensorboard")
    assert cell_hash(plain, CELL) == cell_hash(logged, CELL)
    losses = [
        run_cell(study, CELL, dataset, tmp_path / str(place))["val_loss"] for place, study in enumerate((plain, logged))
    ]
    assert losses[0] == losses[1]
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"record.json", "curve.parquet"}


def test_a_logger_that_is_not_there_is_refused_before_any_training(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = r"sweep\.loggers: wandb is not installed; pip install 'optiscale\[wandb\]', or leave it out"
    with pytest.raises(UserError, match=said):
        run_grid(study_of(dataset, "wandb"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wandb_that_would_ask_for_a_key_is_refused(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: False)
    monkeypatch.setattr(wandb, "setup", lambda: type("Setup", (), {"settings": type("S", (), {"mode": "online"})}))
    with pytest.raises(UserError, match="wandb is not logged in; `wandb login`, or set WANDB_MODE=offline"):
        run_grid(study_of(dataset, "wandb"), tmp_path / "out")


class _Refusing(BaseHTTPRequestHandler):
    """A server of W&B's that knows nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "user is not logged in"}]}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_key_that_the_server_refuses_is_one_line_before_anything_runs(
    dataset: OpticalDataset, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    save_study(study_of(dataset, "wandb"), tmp_path / "study.yaml")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known = {
        "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        "WANDB_API_KEY": 40 * "0",
        "HOME": str(tmp_path),
    }
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"} | known
    command = [sys.executable, "-m", "optiscale.run", "grid", tmp_path / "study.yaml", "--out", tmp_path / "out"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    server.shutdown()
    assert ended.returncode == 2
    assert re.fullmatch(r"error: sweep\.loggers: wandb: .*not logged in.*; `wandb login`, or set .*\n", ended.stderr)
    assert not (tmp_path / "out").exists()
