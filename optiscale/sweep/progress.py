"""The view of a running sweep: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from optiscale.io import read_json
from optiscale.sweep.live import LiveFile, Running
from optiscale.training.record import RECORD

if TYPE_CHECKING:
    from optiscale.sweep.jobs import Job


class SweepProgress:
    """Runs done, running and left, their losses, and the time left.

    The time left weighs every run with its estimated seconds, and the estimate with what the finished part took.

    Parameters
    ----------
    jobs
        The runs to come.
    done
        How many runs of the study were finished before.
    steps
        Training steps of each cell.
    live
        File for `optiscale status`, rewritten every few seconds; or None.
    """

    def __init__(self, jobs: Sequence[Job], *, done: int, steps: dict[str, int], live: Path | None = None) -> None:
        self.console = Console(stderr=True)
        self.weights = {job.cell.id: max(job.seconds, 1e-3) for job in jobs}
        self.steps = steps
        self.fractions: dict[str, float] = {}
        self.runs_done, self.runs = done, done + len(jobs)
        self.began = time.monotonic()
        self._live = None if live is None else LiveFile(live)
        self._running: dict[str, Running] = {}
        self._lock = Lock()  # events of a cluster come on a thread of their own
        self._bars: dict[str, TaskID] = {}
        self.begun: set[str] = set()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> SweepProgress:
        self._progress.start()
        self._total = self._progress.add_task(
            "study", total=sum(self.weights.values()), note=f"{self.runs_done}/{self.runs} runs, starting", left=""
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()
        if self._live is not None:
            self._live.remove()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Let time pass: the file for `optiscale status` is written anew now and then."""
        if self._live is not None and self._live.is_due:
            with self._lock:
                self._live.write(list(self._running.values()), done=self.runs_done, runs=self.runs, left=self._left())

    def started(self, cell: str, step: int, worker: str) -> None:
        """Show a run that has begun, and how far it is."""
        with self._lock:
            if cell in self.weights and self.fractions.get(cell) != 1.0:
                run = self._running.setdefault(cell, Running(cell, worker, self.steps[cell]))
                run.step, run.worker = max(step, run.step), worker
            if not self.begun:
                self.began = time.monotonic()  # the time left is that of training, not of starting workers
            self.begun.add(cell)
            if cell in self.weights and cell not in self._bars and self.fractions.get(cell) != 1.0:
                self._bars[cell] = self._progress.add_task(cell, total=self.steps[cell], note="", left="")

    def step(self, cell: str, step: int, val_loss: float) -> None:
        """Show how far a run is and its last validation loss."""
        with self._lock:
            if cell in self._running:
                self._running[cell].step, self._running[cell].val_loss = step, val_loss
            if cell in self._bars:
                self._progress.update(self._bars[cell], completed=step, note=f"L_val {val_loss:.4f}")
                self.fractions[cell] = min(1.0, step / self.steps[cell])
                self._show_total()

    def finished(self, job: Job) -> None:
        """Show the result of a run, from its record."""
        record = read_json(job.folder / RECORD)
        cell = job.cell.id
        with self._lock:
            self.fractions[cell] = 1.0
            self.runs_done += 1
            self._running.pop(cell, None)
            if cell in self._bars:
                self._progress.remove_task(self._bars.pop(cell))
            self.weights.setdefault(cell, 0.0)
            note = self._show_total()
            ended = f"L_val {record['val_loss']:.4f}" if record["status"] == "finished" else _problem(record)
            seconds = f"{record['wall_s']:.1f} s" if "wall_s" in record else ""
            self.say(f"{note}  {cell}  {ended}  {seconds}  {self._left()}")

    def _show_total(self) -> str:
        note = f"{self.runs_done}/{self.runs} runs"
        self._progress.update(self._total, completed=self._completed(), note=note, left=self._left())
        return note

    def _completed(self) -> float:
        return sum(self.weights[cell] * fraction for cell, fraction in self.fractions.items())

    def _left(self) -> str:
        completed, total = max(self._completed(), 1e-9), sum(self.weights.values())
        seconds = (time.monotonic() - self.began) * max(0.0, total - completed) / completed
        return f"left {int(seconds // 60)}:{int(seconds % 60):02d}"


def _problem(record: dict[str, str]) -> str:
    return f"{record['status']}: {record['message']}"


def track_rows(what: str) -> Callable[[Iterable[int], int], Iterable[int]]:
    """Return a wrapper that shows a bar over rows of a data set."""

    def track(rows: Iterable[int], total: int) -> Iterable[int]:
        console = Console(stderr=True)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress:
            yield from progress.track(rows, total=total, description=what)

    return track
