from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from small import study_content

from optiscale.cli.app import app
from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import run_grid
from optiscale.sweep.budget import Deadline, seconds_of
from optiscale.sweep.jobs import Job
from optiscale.training import Cell


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("90min", 5400), ("2h", 7200), ("1d", 86400), (" 1.5 h", 5400), (".5min", 30)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "0s", "2 hours", "1h30min", "nan h", "2m"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="no length of time; write a number and s, min, h or d") as error:
        seconds_of(text)
    assert "\n" not in str(error.value)


def job(seconds: float, seed: int = 1) -> Job:
    return Job(Cell("2B", 8, 4, seed, 0), Path("x"), seconds)


def test_a_deadline_goes_by_what_runs_took() -> None:
    deadline = Deadline(100.0)
    assert deadline.allows(job(99.0))
    assert not deadline.allows(job(101.0))
    deadline.ended(job(10.0), 40.0)
    assert deadline.allows(job(24.0))
    assert not deadline.allows(job(26.0)), "runs take four times as long as was thought"
    past = Deadline(0.01)
    time.sleep(0.02)
    assert not past.allows(job(0.1))


def test_runs_that_would_end_too_late_do_not_begin_and_the_study_goes_on_later(
    dataset: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = study_content(dataset.folder)
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [4, 8, 16], "seeds": [1, 42]}]
    study = parse_study(content)
    estimated = []

    def too_optimistic(deadline: Deadline, job: Job, seconds: float) -> None:
        estimated.append(job)
        deadline._estimated, deadline._measured = 1.0, 1e6  # the measured pace says that nothing fits any more

    monkeypatch.setattr(Deadline, "ended", too_optimistic)
    result = run_grid(study, tmp_path / "out", budget_s=600.0)
    assert (result.ran, result.left_out, len(result.runs)) == (1, 5, 1), "the first run is trusted, the second is not"
    monkeypatch.undo()
    result = run_grid(study, tmp_path / "out")
    assert (result.ran, result.left_out, len(result.runs)) == (5, 0, 6)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_says_what_it_leaves_out_and_the_command_without_it_completes(
    dataset: OpticalDataset, tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    content = study_content(dataset.folder, sweep={"workers": workers, "threads": 1})
    content["models"] = {"ridge": {"baseline": {"type": "magpie-ridge"}}}
    content["grid"] = [{"model": "ridge", "data_sizes": [4, 8, 16], "seeds": [1, 42]}]
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    command = ["grid", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]
    app([*command, "--budget", "0.001s"], standalone_mode=False)
    captured = capfd.readouterr()
    assert "left out: ridge, D (runs): 4 (2), 8 (2), 16 (2)" in captured.err
    assert "6 runs are left out; the same command without --budget runs them" in captured.out
    app([*command, "--budget", "1h", "--dry-run"], standalone_mode=False)
    assert "all 6 runs fit into 60.0 minutes" in capfd.readouterr().out
    assert not list((tmp_path / "out").glob("cells/*/record.json"))
    app([*command, "--budget", "1h"], standalone_mode=False)
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert (runs["status"] == "finished").all()
    assert len(runs) == 6
    app(command, standalone_mode=False)
    assert "nothing to do" in capfd.readouterr().out
