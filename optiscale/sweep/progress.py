"""The view of a running sweep: redrawn on a terminal, plain lines in a log."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from optiscale.io import read_json
from optiscale.sweep.live import LiveFile, Running
from optiscale.sweep.view import Board, clock, whole_view
from optiscale.training import Cell
from optiscale.training.record import RECORD

if TYPE_CHECKING:
    from optiscale.sweep.jobs import Job

#: seconds without a line after which a log gets one
_SILENCE_S = 300.0
_REDRAWN_A_SECOND = 1.0  # a table costs some milliseconds, which runs in this process would lack


@dataclasses.dataclass
class _Watched:
    """A run on its way, and where it stood when its training began here."""

    run: Running
    since: float
    from_step: int
    heard: int = 0

    def seen(self) -> Running:
        """Return the run with its time left, by the pace of its steps here."""
        done = self.run.step - self.from_step
        if not done:
            return self.run
        left = (time.monotonic() - self.since) * (self.run.steps - self.run.step) / done
        return dataclasses.replace(self.run, left_s=left)


class SweepProgress:
    """Runs done, running and left, their losses, and the time left.

    The time left weighs every run with its estimated seconds, and the estimate with what the finished part took.

    Parameters
    ----------
    jobs
        The runs to come.
    before
        Records of the runs that were done before.
    steps
        Training steps of each cell.
    live
        File for `optiscale status`, rewritten every few seconds; or None.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        before: Sequence[Mapping[str, Any]] = (),
        steps: dict[str, int],
        live: Path | None = None,
    ) -> None:
        self.console = Console(stderr=True)
        self.weights = {job.cell.id: max(job.seconds, 1e-3) for job in jobs}
        self.steps = steps
        self.board = Board()
        for record in before:
            self.board.plan(Cell(*(record[name] for name in ("model", "width", "D", "seed", "subset_seed"))))
            self.board.add(record)
        for job in jobs:
            self.board.plan(job.cell)
        self.begun: set[str] = set()
        self._began = self._spoke = time.monotonic()
        self._file = None if live is None else LiveFile(live)
        self._watched: dict[str, _Watched] = {}
        self._fractions: dict[str, float] = {}  # of the runs on their way
        self._elsewhere: dict[str, float] = {}  # what of these was done before, and took no time here
        self._total = sum(self.weights.values())
        self._ended: set[str] = set()
        self._ended_weight = self._ended_elsewhere = 0.0  # added up, so that ten thousand runs need no sum at each
        self._lock = Lock()  # events of a cluster come on a thread of their own, and so does the redrawing
        self._screen = Live(
            get_renderable=self._view,
            console=self.console,
            refresh_per_second=_REDRAWN_A_SECOND,
            transient=False,
        )

    def __enter__(self) -> SweepProgress:
        if self.console.is_terminal:
            self._screen.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_terminal:
            self._screen.stop()
        if self._file is not None:
            self._file.remove()

    def say(self, line: str) -> None:
        """Print a line, above the view on a terminal."""
        self._spoke = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def tick(self) -> None:
        """Let time pass: the file for `optiscale status` is written anew now and then, and no log stays silent."""
        if self._file is not None and self._file.is_due:
            with self._lock:
                running = self._running()
                self._file.write(running, done=self.board.ended, runs=self.board.runs, left=self._left())
        if not self.console.is_terminal and time.monotonic() - self._spoke >= _SILENCE_S:
            with self._lock:
                running, counts = self._running(), self._counts()
            each = (f"{run.cell} step {run.step} of {run.steps}" for run in running[:4])
            self.say(f"{counts}  {len(running)} running: {', '.join(each)}{', …' if len(running) > 4 else ''}")

    def started(self, cell: str, step: int, worker: str) -> None:
        """Show a run that has begun, and how far it is."""
        with self._lock:
            if cell not in self.weights or cell in self._ended:
                return
            if not self.begun:
                self._began = time.monotonic()  # the time left is that of training, not of starting workers
            self.begun.add(cell)
            watched = self._watched.get(cell)
            if watched is None:
                watched = self._watched[cell] = _Watched(
                    Running(cell, worker, self.steps[cell], step), time.monotonic(), step
                )
            elif watched.heard == 1 and step > 0:  # it was given to a worker, and goes on from a checkpoint
                watched.since, watched.from_step = time.monotonic(), step
            watched.heard += 1
            self._elsewhere[cell] = self._fraction(cell, watched.from_step)
            watched.run.step, watched.run.worker = max(step, watched.run.step), worker
            self._fractions[cell] = self._fraction(cell, watched.run.step)

    def step(self, cell: str, step: int, val_loss: float) -> None:
        """Show how far a run is and its last validation loss."""
        with self._lock:
            if cell in self._watched:
                self._watched[cell].run.step, self._watched[cell].run.val_loss = step, val_loss
                self._fractions[cell] = self._fraction(cell, step)

    def dropped(self, cell: str) -> None:
        """Show that a run is on its way no more; it may begin again."""
        with self._lock:
            self._watched.pop(cell, None)
            self._fractions.pop(cell, None)

    def finished(self, job: Job) -> None:
        """Show the result of a run, from its record; on a terminal only what is wrong with it has a line."""
        record = read_json(job.folder / RECORD)
        cell = job.cell.id
        with self._lock:
            self._watched.pop(cell, None)
            self._end(cell)
            self.board.add(record)
            counts, left = self._counts(), self._left()
        if record["status"] != "finished":
            self.say(f"{counts}  {cell}  {self.board.failed[cell]}  {left}")
        elif not self.console.is_terminal:
            seconds = f"{record['wall_s']:.1f} s" if "wall_s" in record else ""
            self.say(f"{counts}  {cell}  L_val {record['val_loss']:.4f}  {seconds}  {left}")

    def _counts(self) -> str:
        return f"{self.board.ended}/{self.board.runs} runs"

    def _running(self) -> list[Running]:
        return [watched.seen() for watched in self._watched.values()]

    def _fraction(self, cell: str, step: int) -> float:
        return min(1.0, step / self.steps[cell])

    def _end(self, cell: str) -> None:
        """Count a run as done."""
        self._fractions.pop(cell, None)
        elsewhere = self._elsewhere.pop(cell, 0.0)
        if cell in self.weights and cell not in self._ended:
            self._ended.add(cell)
            self._ended_weight += self.weights[cell]
            self._ended_elsewhere += self.weights[cell] * elsewhere

    def _completed(self) -> float:
        """Return the weight of what is done, parts of runs included."""
        return self._ended_weight + sum(self.weights[cell] * done for cell, done in self._fractions.items())

    def _left(self) -> str:
        completed = self._completed()
        elsewhere = sum(self.weights[cell] * self._elsewhere.get(cell, 0.0) for cell in self._fractions)
        here = completed - self._ended_elsewhere - elsewhere
        if here <= 0:
            return "starting"
        seconds = (time.monotonic() - self._began) * (self._total - completed) / here
        return f"left {clock(seconds)}"

    def _view(self) -> RenderableType:
        """Return what the terminal shows now."""
        size = self.console.size
        with self._lock:
            return whole_view(
                self.board,
                self._running(),
                share=self._completed() / max(self._total, 1e-9),
                left=self._left(),
                width=size.width,
                height=size.height,
            )


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
