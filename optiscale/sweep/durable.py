"""One cell on a worker: run once, from its last checkpoint, whoever else may be at it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.sweep.records import DONE, read_record
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.cell import fingerprint
from optiscale.training.options import CHECKPOINT, RunStopped, Safety

LOCK = ".lock"
#: a line for each time a run was begun; gone when its record is there
ATTEMPTS = "attempts.jsonl"


@dataclass(frozen=True)
class Signs:
    """How a worker hears and is heard.

    Attributes
    ----------
    stop
        Asked before every step; the reason to stop, or None.
    beat
        Called with the step, before every one.
    report
        Called with the step and the validation loss.
    """

    stop: Callable[[], str | None]
    beat: Callable[[int], None]
    report: Callable[[int, float], None]


def run_durably(
    study: Study,
    cell: Cell,
    dataset: OpticalDataset,
    folder: Path,
    *,
    git_commit: str,
    signs: Signs,
    at_once: int = 1,
) -> None:
    """Run a cell, unless it has its result, and leave exactly one record.

    A worker that lost its scheduler may still be at the cell: the folder is locked, the lock dies with its holder, and
    who comes second finds the record. `at_once` tells how many runs there are on this machine, for the record.

    Raises
    ------
    RunStopped
        If it was asked to stop; the checkpoint is there.
    OSError
        If a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, signs):
        record = read_record(folder)
        if record is not None and record["status"] in DONE:
            return
        step = _step_of_checkpoint(study, cell, dataset, folder / CHECKPOINT)
        options = RunOptions(
            git_commit=git_commit,
            threads=study.sweep.threads,
            report=signs.report,
            resume_from=None if step is None else folder / CHECKPOINT,
            safety=Safety(folder / CHECKPOINT, study.sweep.checkpoint_s, stop=signs.stop, beat=signs.beat),
            provenance={
                "host": platform.node(),
                "resumed_from": step,
                "attempts": _begin(folder, step),
                "at_once": at_once,
            },
        )
        record = run_cell(study, cell, dataset, folder, options)
        if record["status"] in DONE:
            for name in (CHECKPOINT, ATTEMPTS, LOCK):
                (folder / name).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, signs: Signs) -> Iterator[None]:
    """Wait for the folder of a cell; give signs of life and listen meanwhile."""
    lock = FileLock(folder / LOCK)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            signs.beat(0)
            if (reason := signs.stop()) is not None:
                raise RunStopped(reason) from None
    try:
        yield
    finally:
        lock.release()


def _step_of_checkpoint(study: Study, cell: Cell, dataset: OpticalDataset, path: Path) -> int | None:
    """Return the step of a whole checkpoint of this very run; any other is of no use and is removed."""
    if not path.exists():
        return None
    from optiscale.training.guard import read_own_part

    own = read_own_part(path)
    if own is not None and own["fingerprint"] == fingerprint(study, cell, dataset.hash):
        return int(own["step"])
    path.unlink()
    return None


def _begin(folder: Path, step: int | None) -> int:
    """Note that a run begins, and return how often it has begun."""
    attempt = {"host": platform.node(), "pid": os.getpid(), "from_step": step or 0}
    with (folder / ATTEMPTS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(attempt) + "\n")
    return attempts_of(folder)


def attempts_of(folder: Path) -> int:
    """Return how often a run without a result has begun."""
    path = folder / ATTEMPTS
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
