"""A sweep on a real Slurm: submitted, killed by the time limit, put into the queue again, finished."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from faults import RESULT
from slurm import ask, can_start, slurm, wait_until
from small import study_content

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset
from optiscale.sweep import run_grid

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(not can_start(), reason="needs the Slurm packages and root")]
STEPS = 160


@pytest.fixture(scope="module")
def content(dataset: OpticalDataset) -> dict[str, object]:
    """One run of 80 s and more, longer than a job of a minute."""
    content = study_content(dataset.folder, sweep={"threads": 1, "checkpoint_s": 2.0, "retries": 5})
    content["training"] |= {"length": {"steps": STEPS}, "validate_every": {"steps": 40}}  # type: ignore[operator]
    content["models"] = {"slow": {"network": {"type": "broken_network:Broken", "options": {"how": "slow"}}}}
    content["models"]["slow"]["optimizer"] = {"lr": 1e-3}  # type: ignore[index]
    content["grid"] = [{"model": "slow", "data_sizes": [8], "seeds": [1]}]
    return content


@pytest.fixture(scope="module")
def whole(content: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The record of an undisturbed run."""
    out = tmp_path_factory.mktemp("undisturbed")
    run_grid(parse_study(content), out)
    return record_in(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # munged's user cannot enter pytest's folders
    try:
        with slurm(folder) as env:
            yield env
    finally:
        shutil.rmtree(folder)


def record_in(out: Path) -> dict[str, object]:
    return json.loads(next(out.glob("cells/*/record.json")).read_text())  # type: ignore[no-any-return]


def assert_same(record: dict[str, object], whole: dict[str, object]) -> None:
    assert {name: record[name] for name in RESULT} == {name: whole[name] for name in RESULT}
    assert record["status"] == "finished"
    assert int(record["attempts"]) > 1  # type: ignore[call-overload]
    assert int(record["resumed_from"]) > 0  # type: ignore[call-overload]


def command(study: Path, out: Path, *options: object) -> list[str]:
    return [sys.executable, "-m", "optiscale.run", "grid", str(study), "--out", str(out), *map(str, options)]


def environment(cluster: dict[str, str]) -> dict[str, str]:
    """Where the jobs find the network of the tests."""
    return {**cluster, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("stop_before_s", [0, 25], ids=["killed by the time limit", "stopped before it"])
def test_runs_go_on_in_the_next_job(
    content: dict[str, object],
    whole: dict[str, object],
    cluster: dict[str, str],
    tmp_path: Path,
    stop_before_s: int,
) -> None:
    study, jobs, out = tmp_path / "study.yaml", tmp_path / "cluster.yaml", tmp_path / "out"
    study.write_text(yaml.safe_dump(content))
    job = {"walltime": "00:01:00", "memory": "500MB", "queue": "main", "interface": "lo"}
    jobs.write_text(yaml.safe_dump({**job, "stop_before_s": stop_before_s, "log_folder": str(tmp_path)}))
    options = ["--executor", "slurm", "--cluster", jobs, "--workers", 1]
    program = subprocess.run(
        command(study, out, *options), env=environment(cluster), capture_output=True, text=True, timeout=900
    )
    assert program.returncode == 0, program.stderr
    assert_same(record_in(out), whole)
    logs = "".join(path.read_text() for path in tmp_path.glob("*.err"))
    assert ("DUE TO TIME LIMIT" in logs) == (stop_before_s == 0)
    assert ("walltime is near; the worker is sent away" in program.stderr) == (stop_before_s > 0)


def test_a_program_in_a_job_puts_itself_into_the_queue_again(
    content: dict[str, object], whole: dict[str, object], cluster: dict[str, str], tmp_path: Path
) -> None:
    study, out, script = tmp_path / "study.yaml", tmp_path / "out", tmp_path / "job.sh"
    study.write_text(yaml.safe_dump(content))
    head = ["-t 2", "--signal=B:USR1@60", "--requeue", f"-o {tmp_path}/job.log", "--open-mode=append"]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in head), "exec " + " ".join(command(study, out))]
    script.write_text("\n".join(lines) + "\n")
    env = environment(cluster)
    job = subprocess.run(["sbatch", "--parsable", script], env=env, capture_output=True, text=True, check=True)
    number, log = job.stdout.strip(), tmp_path / "job.log"
    wait_until(lambda: log.exists() and "requeued" in log.read_text(), "the signal", 300)
    wait_until(lambda: "PENDING" in ask(env, "squeue", "-h", "-j", number, "-o", "%T"), "the queue", 60)
    assert list(out.glob("cells/*/last.ckpt"))
    ask(env, "scontrol", "update", f"job={number}", "StartTime=now")  # Slurm would let it wait two minutes
    wait_until(lambda: bool(list(out.glob("cells/*/record.json"))), "the end", 400)
    assert_same(record_in(out), whole)
    assert os.environ.get("SLURM_JOB_ID") is None
