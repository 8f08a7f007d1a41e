from __future__ import annotations

import os
import re
from pathlib import Path

import dask_jobqueue
import pytest
import requests
import yaml
from faults import Program, faulty_study, study_file, wait_for

from optiscale.config import Cluster, load_cluster
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import Executor
from optiscale.sweep.executors import BATCH, job_options, open_client, pins

JOB = {"walltime": "02:00:00", "memory": "16GB", "cores": 4, "gpus": 1, "queue": "fast", "account": "me"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "field walltime is missing"),
        ({**JOB, "walltime": "2h"}, "walltime: string should match pattern"),
        ({**JOB, "memory": 16}, "memory: input should be a valid string"),
        ({**JOB, "gpus": 2}, "gpus: a job runs one run on one GPU; write 1, and ask for more jobs with --workers"),
        ({**JOB, "partition": "fast"}, "unknown field partition; "),
        ({**JOB, "modul": []}, "unknown field modul; did you mean 'modules'?"),
        ({**JOB, "walltime": "00:01:00", "stop_before_s": 60}, "60 s are no less than the walltime 00:01:00"),
        ([], "holds no fields; a cluster needs walltime and memory"),
    ],
)
def test_a_cluster_file_is_read_strictly(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as error:
        load_cluster(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"where": "slurn"}, "--executor slurn: give one of inline, local, slurm, lsf, pbs, or tcp://host:port"),
        ({"where": "slurm"}, "--executor slurm: say what a job asks for with --cluster FILE"),
        ({"where": "local", "cluster": Cluster(**JOB)}, "--cluster: of use with --executor slurm, lsf, pbs only"),
        ({"where": "inline", "workers": 2}, "--executor inline: runs one cell at a time; give --workers 1"),
        ({"where": "inline", "dashboard": True}, "--dashboard: Dask's, and --executor inline has no Dask; give"),
    ],
)
def test_an_executor_that_cannot_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        Executor(**options)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_no_scheduler_and_no_batch_system_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("optiscale.sweep.executors.ANSWER_S", 1.0)
    with pytest.raises(UserError, match="bsub is not on this machine"), open_client(Executor("lsf", 1, Cluster(**JOB))):
        pass
    with pytest.raises(UserError, match=r"no Dask scheduler answers there"), open_client(Executor("tcp://127.0.0.1:9")):
        pass


@pytest.mark.parametrize(
    ("system", "lines"),
    [
        ("slurm", ["-p fast", "-A me", "-t 02:00:00", "--cpus-per-task=4", "--mem=15G", "--gres=gpu:1"]),
        ("lsf", ["-q fast", "-P me", "-W 02:00", "-n 4", '-gpu "num=1"']),
        ("pbs", ["-q fast", "-A me", "-l walltime=02:00:00", "-l select=1:ncpus=4:mem=16gb:ngpus=1"]),
    ],
)
def test_a_job_asks_for_what_the_file_says(system: str, lines: list[str]) -> None:
    cluster = Cluster(**JOB, modules=["cuda/12"], setup=["source env/bin/activate"], directives=["--exclusive"])  # type: ignore[arg-type]
    job = getattr(dask_jobqueue, BATCH[system]).job_cls
    script = job(scheduler="tcp://login:1234", name="w", **job_options(system, cluster)).job_script()
    for line in [*lines, "--exclusive"]:
        assert any(row.startswith("#") and row.replace('"me"', "me").endswith(line) for row in script.splitlines()), (
            line
        )
    assert script.index("module load cuda/12") < script.index("source env/bin/activate") < script.index("dask_worker")
    assert "--nthreads 1" in script
    assert "OPTISCALE_STOP_AT=$(( $(cut -d. -f1 /proc/uptime) + 7080 ))" in script
    assert "--lifetime 7170s" in script


@pytest.mark.parametrize(("gpus", "visible", "expected"), [(2, None, "0101"), (2, "5,7", "5757"), (0, None, "")])
def test_workers_share_gpus_in_turn_and_have_their_own_cores(
    monkeypatch: pytest.MonkeyPatch, gpus: int, visible: str | None, expected: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 4, 5, 6, 7, 8, 9, 10, 11})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    of_all = [pins(place, 4) for place in range(4)]
    assert [pin["OPTISCALE_CORES"] for pin in of_all] == ["3,4", "5,6", "7,8", "9,10"]
    assert "".join(pin.get("CUDA_VISIBLE_DEVICES", "") for pin in of_all) == expected
    assert "OPTISCALE_CORES" not in pins(0, 20), "more workers than cores: the system shares them out"


def test_the_dashboard_is_refused_where_bokeh_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"bokeh is not installed; pip install 'optiscale\[dashboard\]', or leave it out"
    ):
        Executor("local", dashboard=True)


def test_the_dashboard_answers_while_a_study_runs(dataset: OpticalDataset, tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    study, out = study_file(faulty_study(dataset.folder, workers=1), tmp_path / "study")
    program = Program(study, out, "--executor", "local", "--dashboard")
    try:
        wait_for(lambda: "dashboard:" in program.log.read_text() or not program.alive(), "its address")
        found = re.search(r"Dask's dashboard: (http://127\.0\.0\.1:\d+/status)", program.log.read_text())
        assert found, program.log.read_text()
        for page in ("status", "workers", "tasks"):
            answer = requests.get(found[1].replace("status", page), timeout=60)
            assert answer.status_code == 200
            assert "bokeh" in answer.text, page
    finally:
        program.kill()
