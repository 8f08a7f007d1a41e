"""`optiscale status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from optiscale.config import RESOLVED, load_study
from optiscale.errors import UserError

if TYPE_CHECKING:
    from optiscale.training import Cell


def run(folder: Path) -> None:
    """Read a results folder; nothing is written, so that a running sweep is not disturbed."""
    if not (folder / RESOLVED).exists():
        raise UserError(f"{folder}: no results folder ({RESOLVED} is missing)")
    from optiscale.sweep import cells_of
    from optiscale.sweep.live import read_live
    from optiscale.sweep.records import records_of

    study = load_study(folder / RESOLVED)
    cells = list(cells_of(study))
    records = records_of(cells, folder)
    live = read_live(folder)
    running = {run["cell"]: run for run in live["running"]} if live else {}
    console = Console()
    console.print(_table(cells, records, running))
    for run_ in running.values():
        loss = "" if run_["val_loss"] is None else f"  L_val {run_['val_loss']:.4f}"
        _line(console, f"{run_['cell']}: step {run_['step']} of {run_['steps']}{loss}  on {run_['worker']}")
    for cell, record in records.items():
        if record["status"] != "finished":
            _line(console, f"{cell.id}: {record['status']}: {record['message']}")
    left = sum(cell not in records for cell in cells)
    heard = f"heard of {live['age_s']:.0f} s ago, {live['left']}" if live else ""
    now = f"running on {live['host']} (process {live['pid']}), {heard}" if live else "no program runs it"
    _line(console, f"{folder}: {len(records)} of {len(cells)} cells have a record, {left} are left; {now}")


def _table(cells: list[Cell], records: dict[Cell, dict[str, Any]], running: dict[str, Any]) -> Table:
    """Return a row for each model, width and D."""
    table = Table("model", "width", "D", "runs", "finished", "not finished", "running", "lowest L_val", box=None)
    groups: dict[tuple[str, int | None, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.width, cell.D), []).append(cell)
    for (model, width, D), group in groups.items():
        ended = [records[cell] for cell in group if cell in records]
        losses = [record["val_loss"] for record in ended if record["status"] == "finished"]
        table.add_row(
            model,
            "" if width is None else str(width),
            f"{D:,}",
            str(len(group)),
            str(len(losses)),
            str(len(ended) - len(losses)),
            str(sum(cell.id in running for cell in group)),
            f"{min(losses):.4f}" if losses else "",
        )
    return table


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
