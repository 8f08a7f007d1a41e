"""A study on two machines that share a folder, and on what is left of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import (
    Program,
    assert_few_repeats,
    assert_same_results,
    faulty_study,
    records_in,
    study_file,
    undisturbed,
    wait_for,
)
from machines import Machine, two_machines

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset

PYTHON = (sys.executable, "-m")


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    with two_machines() as both:
        yield both


def start_worker(machine: Machine, scheduler: str, folder: Path) -> None:
    options = ("--nthreads", "1", "--no-dashboard", "--host", machine.address, "--local-directory", folder)
    log = folder / f"worker-{machine.name}-{machine.address}.log"
    machine.start(*PYTHON, "distributed.cli.dask_worker", scheduler, *options, log=log)


def begun_by(machine: Machine, out: Path) -> bool:
    """Whether a run that has no record yet was begun there."""
    theirs = {process.pid for process in machine.processes()}
    lines = [line for path in out.glob("cells/*/attempts.jsonl") for line in path.read_text().splitlines()]
    return any(json.loads(line)["pid"] in theirs for line in lines)


@pytest.mark.slow
def test_two_machines_make_a_study_and_one_is_enough_when_the_other_dies(
    machines: tuple[Machine, Machine], dataset: OpticalDataset, tmp_path: Path
) -> None:
    one, two = machines
    content = faulty_study(dataset.folder)
    whole = undisturbed(content, tmp_path / "undisturbed")
    place = tmp_path / "scheduler.json"
    options = ("--host", one.address, "--port", "0", "--no-dashboard", "--scheduler-file", place)
    one.start(*PYTHON, "distributed.cli.dask_scheduler", *options, log=tmp_path / "scheduler.log")
    wait_for(lambda: place.exists() and bool(place.read_text().strip()), "the scheduler")
    scheduler = json.loads(place.read_text())["address"]
    assert one.address in scheduler
    start_worker(one, scheduler, tmp_path)
    for _ in range(2):
        start_worker(two, scheduler, tmp_path)

    study, out = study_file(content, tmp_path / "both")
    program = Program(study, out, "--executor", scheduler, first=one.first)
    assert program.wait() == 0, program.log.read_text()
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 0)
    assert {record["host"] for record in records_in(out).values()} >= {two.name}

    study, out = study_file(content, tmp_path / "killed")
    program = Program(study, out, "--executor", scheduler, first=one.first)
    wait_for(lambda: begun_by(two, out) or not program.alive(), "a run on the second machine")
    assert program.alive(), "the study is over too soon for the test"
    two.kill()
    assert program.wait() == 0, program.log.read_text()
    assert_same_results(out, whole, parse_study(content))
    assert assert_few_repeats(out, 2) >= 1, "what was cut began again on the first machine"
