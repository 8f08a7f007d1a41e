"""Progress of a long calculation: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Report:
    """Counts outcomes and tells the user."""

    def __init__(self, console: Console, bar: Progress | None, total: int, deadline: float | None) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("", total=total, failed=0, left="") if bar else None
        self._total = total
        self._deadline = deadline
        self._start = time.time()
        self._counts: Counter[str] = Counter()

    def __call__(self, name: str, outcome: str) -> None:
        """Count one material."""
        self._counts[outcome] += 1
        finished = self._counts.total()
        done, failed, left = self._counts["done"], self._counts["failed"], self._time_left()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=finished, failed=failed, left=left)
        else:
            self.message(f"{name} {outcome}: {finished} of {self._total}, {done} done, {failed} failed, {left}")

    def message(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _time_left(self) -> str:
        """Time to the end, by the rate so far or by the clock, whichever is first."""
        now = time.time()
        # What was found done elsewhere took no time and says nothing about the rate.
        worked = self._counts["done"] + self._counts["failed"]
        rest = self._total - self._counts.total()
        seconds = rest * (now - self._start) / worked if worked else float("inf")
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - now))
        if seconds == float("inf"):
            return "time left unknown"
        return f"{seconds / 3600:.1f} h left" if seconds > 3600 else f"{seconds / 60:.0f} min left"


@contextmanager
def show_progress(total: int, *, deadline: float | None) -> Iterator[Report]:
    """Show the progress of `total` calculations.

    Parameters
    ----------
    total
        Number of calculations.
    deadline
        Time (seconds since the epoch) after which none starts.

    Yields
    ------
    Report
        To be called with the name and the outcome (``"done"``, ``"failed"`` or another word) of each.
    """
    console = Console()
    if not console.is_terminal:
        yield Report(console, None, total, deadline)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bar:
        yield Report(console, bar, total, deadline)
