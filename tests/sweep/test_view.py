from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from small import study_content
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset
from optiscale.io import write_json
from optiscale.sweep import run_grid
from optiscale.sweep.jobs import Job
from optiscale.sweep.live import LIVE, LiveFile, Running
from optiscale.sweep.progress import SweepProgress
from optiscale.sweep.view import Board, clock, whole_view
from optiscale.training import Cell


def text_of(view: RenderableType, *, width: int = 120, height: int = 40) -> str:
    console = Console(width=width, height=height, no_color=True)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def record_of(cell: Cell, loss: float, **changes: object) -> dict[str, object]:
    identity = {"model": cell.model, "width": cell.width, "D": cell.D, "seed": cell.seed}
    ended = {"cell": cell.id, "N": 100 * (cell.width or 1), "status": "finished", "val_loss": loss, "message": ""}
    return {**identity, "subset_seed": cell.subset_seed, **ended, **changes}


def board_of(widths: int, sizes: int, seeds: int = 2) -> Board:
    board = Board()
    for width in range(1, widths + 1):
        for D in range(1, sizes + 1):
            for seed in range(seeds):
                board.plan(Cell("2B", width, 10 * D, seed, 0))
    return board


def test_the_view_shows_losses_what_runs_and_what_failed() -> None:
    board = board_of(2, 2)
    board.add(record_of(Cell("2B", 1, 10, 0, 0), 0.5))
    board.add(record_of(Cell("2B", 1, 10, 1, 0), 0.7))
    board.add(record_of(Cell("2B", 1, 20, 0, 0), 0.4))
    board.add(record_of(Cell("2B", 2, 20, 0, 0), 0.0, status="diverged", message="not finite at step 3"))
    running = [Running("2B_W2_D10_s0_t0", "tcp://10.0.0.2:4000", 100, 25, 0.25, 75.0)]
    shown = text_of(whole_view(board, running, share=0.5, left="left 1:00", width=120, height=40))
    assert "4 of 8 runs, 1 running, 1 failed left 1:00" in shown
    assert re.search(r"2B_W2_D10_s0_t0 +10\.0\.0\.2:4000 +25 of 100 +0\.2500 +1:15", shown)
    assert "2B_W2_D20_s0_t0: diverged: not finite at step 3" in shown
    assert re.search(r"2B +1 +100 +0\.6000 +0\.4000 \(1/2\)", shown), "means, and how many where some are missing"
    assert re.search(r"2B +2 +200 +\(0/2\) +\(0/2\)", shown)
    assert "lowest L_val 0.4000: 2B_W1_D20_s0_t0" in shown


def test_a_large_study_fits_the_terminal() -> None:
    board = board_of(100, 50)
    for seed in range(2):
        board.add(record_of(Cell("2B", 77, 10, seed, 0), 0.5))
    for number in range(30):
        board.add(record_of(Cell("2B", 3, 500, number, 0), 0.0, status="failed", message=f"no luck {number}"))
    running = [Running(f"cell{number}", "w", 10) for number in range(64)]
    for width, height in ((80, 24), (200, 60)):
        shown = text_of(
            whole_view(board, running, share=0.1, left="left 2:00:00", width=width, height=height), width=width
        )
        lines = shown.splitlines()
        assert len(lines) <= height
        assert "D = 10" in shown, "the smallest and the largest size"
        assert "D = 500" in shown
        assert re.search(r"2B +77 +7,700 +0\.5000", shown), "what has news is shown"
        assert "more networks" in shown
        assert "no luck 29" in shown
        assert "more without a loss" in shown
        assert re.search(r"and \d+ more", shown)


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "0:05"), (75.9, "1:15"), (3661, "1:01:01"), (86400 * 2.5, "2 d 12 h"), (-1, "0:00")]
)
def test_a_time_left_is_read_at_a_glance(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_the_time_left_counts_what_was_done_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cells = [Cell("2B", 1, 10, seed, 0) for seed in range(3)]
    jobs = [Job(cell, tmp_path / cell.id, 30.0) for cell in cells]
    progress = SweepProgress(jobs, steps={cell.id: 100 for cell in cells}, live=tmp_path / LIVE)
    first, second, _ = (cell.id for cell in cells)
    for cell, step in ((first, 0), (second, 60)):  # the second goes on from a checkpoint
        progress.started(cell, 0, "w")
        progress.started(cell, step, "w")
    now[0] += 10.0
    progress.started(first, 20, "w")
    progress.step(second, 80, 0.3)
    progress.tick()
    said = json.loads((tmp_path / LIVE).read_text())
    # 0.2 + 0.2 runs in 10 s, and 2 of 3 are left
    assert said["left"] == "left 0:50"
    assert [(run["step"], run["left_s"]) for run in said["running"]] == [(20, 40.0), (80, 10.0)]
    write_json(tmp_path / first / "record.json", record_of(cells[0], 0.5))
    progress.dropped(second)  # its worker was killed
    progress.finished(jobs[0])
    now[0] += 10.0
    progress.tick()
    said = json.loads((tmp_path / LIVE).read_text())
    assert (said["done"], said["left"], said["running"]) == (1, "left 0:40", [])


def test_a_log_gets_a_line_for_each_run_and_is_never_silent_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Cell("2B", 1, 10, seed, 0) for seed in range(2)]
    jobs = [Job(cell, tmp_path / cell.id, 30.0) for cell in cells]
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with SweepProgress(jobs, before=[record_of(Cell("2B", 1, 5, 0, 0), 0.9)], steps={c.id: 100 for c in cells}) as view:
        view.started(cells[0].id, 0, "w")
        view.step(cells[0].id, 50, 0.6)
        for _ in range(3):
            view.tick()
        assert capsys.readouterr().err == "", "no line for every step"
        now[0] += 301.0
        for _ in range(3):
            view.tick()
        assert capsys.readouterr().err == "1/3 runs  1 running: 2B_W1_D10_s0_t0 step 50 of 100\n"
        write_json(jobs[0].folder / "record.json", record_of(cells[0], 0.5, wall_s=3.21))
        view.finished(jobs[0])
        assert capsys.readouterr().err == "2/3 runs  2B_W1_D10_s0_t0  L_val 0.5000  3.2 s  left 5:01\n"


def test_a_terminal_shows_the_view(dataset: OpticalDataset, tmp_path: Path) -> None:
    """The real program on a pseudo-terminal."""
    content = study_content(dataset.folder)
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    program = "from optiscale.cli import grid; grid._finish = lambda *_: None; from optiscale.run import main; main()"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", program, "grid", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]
    env = {**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:  # Linux says so at the end
        pass
    assert process.wait(60) == 0, said.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert "4 of 4 runs, 0 running, 0 failed" in plain
    assert re.search(r"2B +8 +[\d,]+ +\d\.\d{4} +\d\.\d{4}\s", plain), "the last view has all losses"


@pytest.fixture(scope="module")
def results(dataset: OpticalDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("status") / "out"
    run_grid(parse_study(study_content(dataset.folder)), out)
    return out


def test_the_status_of_a_study_is_read_from_its_folder(results: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(results, tmp_path / "out"))
    record = out / "cells" / "2B_W8_D8_s42_t0" / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "failed", "message": "no luck"}))
    shutil.rmtree(out / "cells" / "2B_W8_D8_s1_t0")
    LiveFile(out / LIVE).write([Running("2B_W8_D8_s1_t0", "w", 6, 3, 0.25, 61.0)], done=3, runs=4, left="left 0:01")

    def said() -> str:
        result = CliRunner().invoke(app, ["status", str(out)])
        assert result.exit_code == 0, result.output
        return result.output

    first = said()
    assert re.search(r"2B_W8_D8_s1_t0 +w +3 of 6 +0\.2500 +1:01", first)
    assert re.search(r"2B +8 +[\d,]+ +\d\.\d{4} +\(0/2\)", first)
    assert "2B_W8_D8_s42_t0: failed: no luck" in first
    assert "3 of 4 cells have a record, 1 are left; running on" in first
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    live = json.loads((out / LIVE).read_text())
    (out / LIVE).write_text(json.dumps({**live, "pid": int(dead.stdout)}))
    assert "1 are left; no program runs it" in said()
    (out / LIVE).write_text(json.dumps({**live, "began": live["began"] - 100, "pid": os.getpid()}))
    assert "no program runs it" in said(), "a number used again"
