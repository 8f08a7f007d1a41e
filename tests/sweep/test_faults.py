"""Faults that a sweep must survive, each really done."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import (
    Program,
    assert_few_repeats,
    assert_same_results,
    begun,
    dask_cluster,
    faulty_study,
    kill_scheduler,
    kill_workers,
    records_in,
    study_file,
    survive,
    undisturbed,
    wait_for,
    wait_for_a_run,
)

from optiscale.config import RESOLVED, parse_study, save_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import Executor, run_grid
from optiscale.sweep.dispatch import Dispatch
from optiscale.sweep.durable import Signs, run_durably
from optiscale.sweep.executors import open_client
from optiscale.sweep.jobs import Job
from optiscale.sweep.plan import cells_of
from optiscale.sweep.progress import SweepProgress
from optiscale.training.guard import RunStopped


@pytest.fixture(scope="module")
def content(dataset: OpticalDataset) -> dict[str, object]:
    return faulty_study(dataset.folder, steps=100)


@pytest.fixture(scope="module")
def whole(content: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(content, tmp_path_factory.mktemp("undisturbed") / "out")


def test_killed_workers_and_a_killed_program_cost_nothing(
    content: dict[str, object], whole: Path, tmp_path: Path
) -> None:
    study, out = study_file(content, tmp_path / "study")
    program = Program(study, out)
    chance = random.Random(3)
    assert kill_workers(program, out, chance, 2) == 2
    with pytest.raises(UserError, match="another program is running this study; wait for it"):
        run_grid(parse_study(content), out)
    wait_for_a_run(out, program, chance)
    assert program.alive(), "the study is over too soon for the test"
    program.kill()  # the lock dies with it
    before = {path: path.read_bytes() for path in out.rglob("record.json")}
    undisturbed(content, out)  # a later program, here
    assert before.items() <= {path: path.read_bytes() for path in before}.items(), "no finished run is repeated"
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 2 + 2)


def test_a_killed_scheduler_costs_nothing(content: dict[str, object], whole: Path, tmp_path: Path) -> None:
    study, out = study_file(content, tmp_path / "study")
    assert kill_scheduler(study, out, random.Random(5), workers=1) == 1
    undisturbed(content, out)
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 1)


def test_a_program_that_is_told_to_stop_lets_its_workers_write_checkpoints(
    content: dict[str, object], whole: Path, tmp_path: Path
) -> None:
    study, out = study_file({**content, "sweep": {**content["sweep"], "checkpoint_s": 1000.0}}, tmp_path / "study")  # type: ignore[dict-item]
    program = Program(study, out)
    wait_for(lambda: begun(out) > 0, f"a run in {out}")
    time.sleep(0.1)  # a fifth of what a run takes
    program.process.send_signal(signal.SIGUSR1)
    assert program.wait() == 130
    assert "SIGUSR1: runs write their checkpoints and stop" in program.log.read_text()
    cut = {path.parent.name for path in out.rglob("last.ckpt")}
    assert 1 <= len(cut) <= 2
    assert not cut & records_in(out).keys()
    undisturbed(content, out)
    assert_same_results(out, whole, parse_study(content))
    assert {cell for cell, record in records_in(out).items() if record["resumed_from"] is not None} == cut


@contextlib.contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing_that_was_done(content: dict[str, object], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    alone = parse_study({**content, "sweep": {"threads": 1, "checkpoint_s": 0.2}})
    with full_disk(4000), pytest.raises(OSError, match=r"File too large.*runs\.parquet"):
        run_grid(alone, out)  # a record has room, a checkpoint, a curve and the tables have none
    records = records_in(out)
    assert {record["status"] for record in records.values()} == {"failed"}
    assert "File too large" in next(iter(records.values()))["message"]
    assert not list(out.rglob("*.tmp")), "nothing is left half-written"
    assert run_grid(alone, out).ran == 6
    assert_same_results(out, whole, alone)


def test_files_cut_short_are_set_aside_and_their_runs_made_again(
    content: dict[str, object], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    curve, record = out / "cells/2B_W8_D8_s1_t0/curve.parquet", out / "cells/2B_W8_D8_s2_t0/record.json"
    table = out / "runs.parquet"
    for path in (curve, record, table):
        path.write_bytes(path.read_bytes()[:-20])
    alone = parse_study({**content, "sweep": {"threads": 1}})
    assert run_grid(alone, out).ran == 2
    said = capsys.readouterr().err
    for path in (curve, record):
        assert f"{path}: damaged; set aside" in said
        assert path.with_name(f"{path.name}.damaged").exists()
    for path in out.rglob("*.damaged"):
        path.unlink()
    assert_same_results(out, whole, alone)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut short"])
def test_a_stopped_run_goes_on_unless_its_checkpoint_is_cut_short(
    content: dict[str, object], dataset: OpticalDataset, whole: Path, tmp_path: Path, cut: bool
) -> None:
    study = parse_study({**content, "sweep": {"threads": 1}})
    cell = next(iter(cells_of(study)))
    steps: list[int] = []
    signs = Signs(lambda: "SIGUSR1" if len(steps) > 10 else None, steps.append, lambda step, loss: None)
    with pytest.raises(RunStopped, match="SIGUSR1"):
        run_durably(study, cell, dataset, tmp_path, git_commit="x", signs=signs)
    assert not (tmp_path / "record.json").exists()
    checkpoint = tmp_path / "last.ckpt"
    if cut:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    go_on = Signs(lambda: None, lambda step: None, lambda step, loss: None)
    run_durably(study, cell, dataset, tmp_path, git_commit="x", signs=go_on)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["attempts"] == 2
    assert record["resumed_from"] == (None if cut else steps[-1])
    assert record["val_loss"] == records_in(whole)[cell.id]["val_loss"]


def test_a_run_that_hangs_is_ended_and_one_without_numbers_is_a_row(dataset: OpticalDataset, tmp_path: Path) -> None:
    content = faulty_study(dataset.folder, steps=10, hang_s=12.0, retries=1)
    network = "broken_network:Broken"
    for how, once in (("sleep", "slept"), ("freeze", "froze"), ("nan", None)):
        options = {"how": how} | ({"once": str(tmp_path / once)} if once else {})
        content["models"][how] = {"network": {"type": network, "options": options}, "optimizer": {"lr": 1e-3}}  # type: ignore[index]
    content["grid"] = [{"model": how, "data_sizes": [8], "seeds": [1]} for how in ("sleep", "freeze", "nan")]
    runs = run_grid(parse_study(content), tmp_path / "out").runs.set_index("model")
    assert dict(runs["status"]) == {"sleep": "finished", "freeze": "finished", "nan": "diverged"}
    assert dict(runs["attempts"]) == {"sleep": 2, "freeze": 2, "nan": 1}
    assert "the loss is not finite at step 10" in runs["message"]["nan"]
    assert run_grid(parse_study(content), tmp_path / "out").ran == 0, "a run without numbers has its result"


JUMPING = """
import os, time
real = time.time
def jumping():
    try:
        return real() + 86400.0 * int(open(os.environ["JUMP"]).read() or 0)
    except OSError:
        return real()
time.time = jumping
"""


def test_a_clock_that_jumps_changes_nothing(content: dict[str, object], whole: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    study, out = study_file(content, tmp_path / "study")
    jump = tmp_path / "days"
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]), "JUMP": str(jump)}
    program = Program(study, out, env=env)
    for days in (1, -1, 30):
        wait_for_a_run(out, program, random.Random(days))
        jump.write_text(str(days))
    assert program.wait() == 0, program.log.read_text()
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 0)


def can_hide_folders() -> bool:
    hide = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(hide, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_hide_folders(), reason="needs mount namespaces")
def test_a_worker_without_the_data_set_is_sent_away(
    content: dict[str, object], dataset: OpticalDataset, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hide = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs tmpfs {dataset.folder} && exec "$@"', "sh"]
    out = tmp_path / "out"
    with dask_cluster(tmp_path, workers=2, first=hide) as (address, _, _):
        run_grid(parse_study(content), out, executor=Executor(address))
    assert "no data set at" in capfd.readouterr().err
    assert_same_results(out, whole, parse_study(content))


def test_a_study_that_no_worker_can_run_is_refused(
    content: dict[str, object], dataset: OpticalDataset, tmp_path: Path
) -> None:
    study = parse_study(content)
    save_study(study, tmp_path / RESOLVED)
    jobs = [Job(cell, tmp_path / "cells" / cell.id, 1.0) for cell in cells_of(study)]
    other = SimpleNamespace(hash="another")
    progress = SweepProgress(jobs, steps={})
    unfit = (
        rf"no worker is fit for the study; the last said: .* is another data set there \({dataset.hash}, wanted another"
    )
    with open_client(Executor("local", 1)) as client, pytest.raises(UserError, match=unfit):
        list(Dispatch(client, study, jobs, other, tmp_path, "", progress))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("worker", 8), ("scheduler", 4), ("program", 8)])
def test_a_study_survives_twenty_kills(
    content: dict[str, object], whole: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    assert survive(kind, kills, content, whole, tmp_path, seed=1).kills == kills
