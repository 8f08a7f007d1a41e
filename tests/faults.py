"""Small studies that lose workers, schedulers and whole programs to SIGKILL, and what must be left of them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml
from small import study_content

from optiscale.config import Study, parse_study
from optiscale.sweep import cells_of, run_grid

#: `optiscale` but for the figures at the end of a grid, nearly without its measurement, and with little patience
_COMMAND = """
from optiscale.cli import grid
from optiscale.sweep import executors, queue
from optiscale.run import main
grid._finish = lambda *_: None
queue.RUN_S = 0.0
executors.ANSWER_S = 3.0
if __name__ == "__main__":
    main()
"""
#: what a record says of the result; the rest is of time and place
RESULT = (
    *("study", "cell", "model", "message_passing", "D", "width", "N", "seed", "subset_seed", "lr"),
    *("val_loss", "val_eps_loss", "val_drude_loss", "train_loss", "best_epoch", "best_step", "epochs", "steps"),
    *("validate_every", "config_hash", "data_hash", "micro_batch", "status", "message"),
)
PATIENCE_S = 1800.0


def faulty_study(source: Path | str, *, steps: int = 200, **sweep: object) -> dict[str, object]:
    """A study of six runs, each of a second or so, with checkpoints every tenth of it."""
    content = study_content(source)
    content["training"] |= {"length": {"steps": steps}, "validate_every": {"steps": 45}}  # type: ignore[operator]
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [8, 11], "seeds": [1, 2, 3]}]
    content["sweep"] = {"workers": 2, "threads": 1, "retries": 30, "checkpoint_s": 0.1, **sweep}
    return content


def records_in(out: Path) -> dict[str, dict[str, Any]]:
    """The records of a results folder."""
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("cells/*/record.json")}


def undisturbed(content: dict[str, object], out: Path) -> Path:
    """Run a study in this process."""
    alone = {**content, "sweep": {"threads": 1}}
    run_grid(parse_study(alone), out)
    return out


def assert_same_results(out: Path, whole: Path, study: Study) -> None:
    """Every cell has one record, equal to the undisturbed run's, and nothing half-done is left."""
    found, expected = records_in(out), records_in(whole)
    assert found.keys() == expected.keys() == {cell.id for cell in cells_of(study)}
    for cell, record in expected.items():
        assert {name: found[cell][name] for name in RESULT} == {name: record[name] for name in RESULT}, cell
        names = {path.name for path in (out / "cells" / cell).iterdir() if not path.name.endswith(".tmp")}
        assert names == {"record.json", "curve.parquet"}, cell
    for name in ("runs.parquet", "curves.parquet"):
        one, two = (pd.read_parquet(folder / name) for folder in (out, whole))
        columns = [column for column in (RESULT if name == "runs.parquet" else one.columns) if column in one]
        pd.testing.assert_frame_equal(one[columns], two[columns])


class Program:
    """`optiscale grid` in a process of its own; `first` stands before its command."""

    def __init__(
        self,
        study: Path,
        out: Path,
        *options: object,
        env: dict[str, str] | None = None,
        first: Sequence[str] = (),
    ) -> None:
        command = [*first, sys.executable, "-c", _COMMAND, "grid", study, "--out", out, *options]
        self.log = out.with_name(f"{out.name}.log")
        self.stream = self.log.open("a")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=self.stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.stream.close()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def workers(self) -> list[psutil.Process]:
        """The processes that run cells: what the fork server started, one level below the program's own children."""
        try:
            servers = psutil.Process(self.process.pid).children()
            return [worker for server in servers for worker in server.children()]
        except psutil.NoSuchProcess:
            return []


@dataclass
class Tally:
    """What the faults of a study cost."""

    kills: int = 0
    lost: int = 0
    repeated: int = 0
    studies: int = 0
    seconds: list[float] = field(default_factory=list)


def begun(out: Path) -> int:
    """How many runs have begun and have no record yet, counting every time they began."""
    return sum(len(path.read_text().splitlines()) for path in out.glob("cells/*/attempts.jsonl"))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait, but not forever."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def wait_for_a_run(out: Path, program: Program, chance: random.Random) -> None:
    """Wait until a run is on its way, and then some random part of its time."""
    wait_for(lambda: begun(out) > 0 or not program.alive(), f"a run in {out}")
    time.sleep(chance.uniform(0, 0.5))


def kill_workers(program: Program, out: Path, chance: random.Random, kills: int) -> int:
    """Kill workers of a running program; returns how many."""
    killed = 0
    while program.alive() and killed < kills:
        wait_for_a_run(out, program, chance)
        workers = program.workers()
        if workers and program.alive():
            victim = chance.choice(workers)
            victim.kill()
            killed += 1
            wait_for(lambda: not victim.is_running() or victim.status() == "zombie", "its end")  # noqa: B023
    return killed


def lose_workers(study: Path, out: Path, chance: random.Random, kills: int) -> int:
    """Run a study to its end while workers are killed."""
    program = Program(study, out)
    killed = kill_workers(program, out, chance, kills)
    assert program.wait() == 0, program.log.read_text()
    return killed


def lose_programs(study: Path, out: Path, chance: random.Random, kills: int) -> int:
    """Kill the whole program again and again, then let it finish."""
    killed = 0
    while killed < kills and kill_program(study, out, chance):
        killed += 1
    assert Program(study, out).wait() == 0
    return killed


def kill_program(study: Path, out: Path, chance: random.Random, workers: int = 0) -> int:
    """Start a program, kill some of its workers and then itself; returns the number of kills."""
    program = Program(study, out)
    killed = kill_workers(program, out, chance, workers)
    wait_for_a_run(out, program, chance)
    if program.alive():
        program.kill()
        killed += 1
    return killed


def lose_schedulers(study: Path, out: Path, chance: random.Random, kills: int) -> int:
    """Kill the scheduler under the program again and again, then let both run to the end."""
    killed = 0
    while killed < kills and kill_scheduler(study, out, chance):
        killed += 1
    with dask_cluster(out.parent) as (address, _, _):
        program = Program(study, out, "--executor", address)
        assert program.wait() == 0, program.log.read_text()
    return killed


def kill_scheduler(study: Path, out: Path, chance: random.Random, workers: int = 2) -> int:
    """Kill the scheduler under a program, which says so and ends; the workers end, too."""
    with dask_cluster(out.parent, workers=workers) as (address, scheduler, started):
        program = Program(study, out, "--executor", address)
        wait_for_a_run(out, program, chance)
        if not program.alive():
            return 0
        scheduler.kill()
        assert program.wait() == 2, program.log.read_text()
        assert "scheduler is gone" in program.log.read_text()
        for worker in started:
            worker.wait(PATIENCE_S)
    return 1


@contextmanager
def dask_cluster(
    folder: Path, *, workers: int = 2, first: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[bytes], list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and workers as processes of their own, as on several machines.

    `first` stands before the command of the first worker.
    """
    place = folder / f"scheduler-{time.monotonic_ns()}.json"
    common: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
    scheduler = subprocess.Popen([*python, "distributed.cli.dask_scheduler", *options], **common)
    wait_for(place.exists, "the scheduler")
    work = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
    places = ["--local-directory", str(folder), "--scheduler-file", str(place), "--host", "127.0.0.1"]
    before = [first, *([()] * (workers - 1))]
    started = [subprocess.Popen([*words, *python, *work, *places], **common) for words in before]
    try:
        wait_for(lambda: bool(place.read_text().strip()), "its address")
        yield json.loads(place.read_text())["address"], scheduler, started
    finally:
        for process in (*started, scheduler):
            process.terminate()
        for process in (*started, scheduler):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


KINDS = {"worker": lose_workers, "scheduler": lose_schedulers, "program": lose_programs}


def survive(kind: str, kills: int, content: dict[str, object], whole: Path, folder: Path, *, seed: int = 0) -> Tally:
    """Kill what `kind` says at random times, in as many studies as it takes; each must end as if nothing was."""
    chance, tally = random.Random(seed), Tally()
    while tally.kills < kills:
        tally.studies += 1
        study, out = study_file(content, folder / f"{kind}{tally.studies}")
        begin = time.perf_counter()
        killed = KINDS[kind](study, out, chance, min(kills - tally.kills, 5))
        tally.seconds.append(time.perf_counter() - begin)
        tally.lost += len(records_in(whole).keys() - records_in(out).keys())
        assert_same_results(out, whole, parse_study(content))
        tally.kills += killed
        tally.repeated += assert_few_repeats(out, killed if kind == "worker" else 2 * killed)
    return tally


def study_file(content: dict[str, object], folder: Path) -> tuple[Path, Path]:
    """Write a study file; return it and the folder for its results."""
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder / "study.yaml", folder / "out"


def assert_few_repeats(out: Path, in_flight: int) -> int:
    """Only what was on its way is run again; returns how many runs were."""
    repeated = sum(record["attempts"] - 1 for record in records_in(out).values())
    assert repeated <= in_flight
    return repeated
