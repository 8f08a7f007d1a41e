"""`optiscale status`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from optiscale.config import RESOLVED, load_study
from optiscale.errors import UserError

_PAGE = 160  # characters of a line where there is no terminal
_FAILED = 20  # lines at most; runs.parquet has them all


def run(folder: Path) -> None:
    """Read a results folder; nothing is written, so that a running sweep is not disturbed."""
    if not (folder / RESOLVED).exists():
        raise UserError(f"{folder}: no results folder ({RESOLVED} is missing)")
    from optiscale.sweep import cells_of
    from optiscale.sweep.live import Running, read_live
    from optiscale.sweep.records import records_of
    from optiscale.sweep.view import Board, failed_lines, running_table

    cells = list(cells_of(load_study(folder / RESOLVED)))
    records = records_of(cells, folder)
    live = read_live(folder)
    board = Board()
    for cell in cells:
        board.plan(cell)
    for record in records.values():
        board.add(record)
    console = Console()
    console = console if console.is_terminal else Console(width=_PAGE)
    console.print(board.losses_table(width=console.width))
    if live and live["running"]:
        console.print(running_table([Running(**one) for one in live["running"]]))
    for line in failed_lines(board.failed, rows=_FAILED):
        console.print(line, soft_wrap=True)
    heard = f"heard of {live['age_s']:.0f} s ago, {live['left']}" if live else ""
    now = f"running on {live['host']} (process {live['pid']}), {heard}" if live else "no program runs it"
    counts = f"{len(records)} of {len(cells)} cells have a record, {len(cells) - len(records)} are left"
    console.print(f"{folder}: {counts}; {now}", highlight=False, soft_wrap=True)
