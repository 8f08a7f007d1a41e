"""What a sweep looks like on a terminal: how far it is, what runs, what failed, the losses so far.

`optiscale grid` redraws it while it runs, `optiscale status` prints it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optiscale.sweep.live import Running
from optiscale.training import Cell

#: model and width (or trees)
Network = tuple[str, int | None]
_MANY = 10_000  # rows where there is no end to the page
_LOSS_WIDTH = 14  # of a column such as "0.1234 (1/2)"
_NUMBERS_WIDTH = 20  # of width and N


class Board:
    """The state of a study: what is planned, how it ended, and the losses.

    Attributes
    ----------
    planned
        Number of runs by network and D.
    losses
        L_val of the finished runs by network and D.
    failed
        Why a run has no loss, by cell.
    runs, ended
        How many runs there are, and how many have a record.
    """

    def __init__(self) -> None:
        self.planned: dict[Network, Counter[int]] = {}
        self.losses: dict[Network, dict[int, list[float]]] = {}
        self.failed: dict[str, str] = {}
        self.runs = self.ended = 0
        self._N: dict[Network, int] = {}
        self._last: dict[Network, int] = {}  # when a network last had news, counted in records
        self._lowest: tuple[float, str] | None = None

    def plan(self, cell: Cell) -> None:
        """Add a run of the study."""
        self.runs += 1
        self.planned.setdefault((cell.model, cell.width), Counter())[cell.D] += 1

    def add(self, record: Mapping[str, Any]) -> None:
        """Add how a run ended."""
        self.ended += 1
        network = (record["model"], record["width"])
        self._last[network] = self.ended
        if record["N"] is not None:
            self._N[network] = record["N"]
        if record["status"] != "finished":
            self.failed[record["cell"]] = f"{record['status']}: {record['message']}"
            return
        loss = float(record["val_loss"])
        self.losses.setdefault(network, {}).setdefault(record["D"], []).append(loss)
        if self._lowest is None or loss < self._lowest[0]:
            self._lowest = loss, record["cell"]

    def losses_table(self, *, width: int, rows: int = _MANY) -> RenderableType:
        """Return mean losses over the seeds, a row a network and a column a D.

        Where not all fit, the networks with the latest news are shown, and data sizes from the smallest to the largest.

        Parameters
        ----------
        width
            Of the page, in characters.
        rows
            Networks at most.
        """
        latest = sorted(self.planned, key=lambda network: -self._last.get(network, 0))[: max(1, rows)]
        networks = [network for network in self.planned if network in latest]
        sizes = sorted({D for planned in self.planned.values() for D in planned})
        names_width = max(len(model) for model, _ in networks) + _NUMBERS_WIDTH
        shown = _spread(sizes, max(2, (width - names_width) // _LOSS_WIDTH))
        table = Table("model", box=None, pad_edge=False)
        for name in ("width", "N", *(f"D = {D:,}" for D in shown)):
            table.add_column(name, justify="right", no_wrap=True)
        for network in networks:
            N = self._N.get(network)
            names = (network[0], "" if network[1] is None else str(network[1]), "" if N is None else f"{N:,}")
            table.add_row(*names, *(self._loss(network, D) for D in shown))
        notes = []
        if len(networks) < len(self.planned):
            notes.append(f"{len(self.planned) - len(networks)} more networks")
        if len(shown) < len(sizes):
            notes.append(f"{len(sizes) - len(shown)} more data sizes")
        if self._lowest is not None:
            notes.append(f"lowest L_val {self._lowest[0]:.4f}: {self._lowest[1]}")
        notes.append("in the table: means over the runs finished (of those planned)")
        return Group(table, Text("; ".join(notes), style="dim", no_wrap=True, overflow="ellipsis"))

    def _loss(self, network: Network, D: int) -> str:
        planned = self.planned[network][D]
        losses = self.losses.get(network, {}).get(D, [])
        if not planned:
            return ""
        mean = f"{sum(losses) / len(losses):.4f}" if losses else ""
        return mean if len(losses) == planned else f"{mean} ({len(losses)}/{planned})".strip()


def running_table(running: Sequence[Running], *, rows: int = _MANY) -> RenderableType:
    """Return what runs now: cell, worker, step, last L_val, time left."""
    table = Table("running", "worker", box=None, pad_edge=False)
    for name in ("step", "last L_val", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in running[:rows]:
        loss = "" if run.val_loss is None else f"{run.val_loss:.4f}"
        left = "" if run.left_s is None else clock(run.left_s)
        table.add_row(run.cell, run.worker.removeprefix("tcp://"), f"{run.step} of {run.steps}", loss, left)
    if len(running) > rows:
        table.add_row(f"and {len(running) - rows} more", "", "", "", "")
    return table


def failed_lines(failed: Mapping[str, str], *, rows: int = _MANY) -> list[Text]:
    """Return a line for each run without a loss, the latest ones where there are too many."""
    lines = [f"{cell}: {why}" for cell, why in list(failed.items())[-rows:]]
    hidden = len(failed) - len(lines)
    before = [f"{hidden} more without a loss"] if hidden else []
    return [Text(line, style="red", no_wrap=True, overflow="ellipsis") for line in (*before, *lines)]


def whole_view(
    board: Board, running: Sequence[Running], *, share: float, left: str, width: int, height: int
) -> RenderableType:
    """Return the view of a running sweep, no higher than the terminal.

    Parameters
    ----------
    board, running
        What to show.
    share
        Of the work that is done, 0 to 1.
    left
        The time left, in words.
    width, height
        Of the terminal, in characters.
    """
    head = Table.grid(padding=(0, 1))
    head.add_column(width=max(4, min(24, width - 64)))
    head.add_column(no_wrap=True)
    head.add_column(no_wrap=True)
    counts = f"{board.ended} of {board.runs} runs, {len(running)} running, {len(board.failed)} failed"
    head.add_row(ProgressBar(total=1.0, completed=share), counts, left)
    of_running = min(len(running), max(2, height // 3))
    of_failed = min(len(board.failed), max(1, height // 8))
    parts: list[RenderableType] = [head]
    if running:
        parts.append(running_table(running, rows=of_running))
    parts.extend(failed_lines(board.failed, rows=of_failed))
    rest = height - of_running - of_failed - 7  # the head, the heads and notes of tables, and a free line
    return Group(*parts, board.losses_table(width=width, rows=max(1, rest)))


def clock(seconds: float) -> str:
    """Return h:mm:ss, or m:ss below an hour; days stand in front."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{hours // 24} d {hours % 24} h"


def _spread(values: Sequence[int], most: int) -> Sequence[int]:
    """Return at most so many of the values, from the first to the last."""
    if len(values) <= most:
        return values
    places: Iterable[int] = (round(place * (len(values) - 1) / (most - 1)) for place in range(most))
    return [values[place] for place in places]
