"""`optiscale data check`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from optiscale.dataset import OpticalDataset
    from optiscale.dataset.check import Check

_SHOWN = 10
_COLORS = {"error": "red", "outliers": "yellow", "ok": "green", "skipped": "dim"}


def check(source: str, *, out: Path | None) -> None:
    """Check a data set and its cached graphs; exit status 1 if something is an error."""
    from optiscale.dataset import open_source
    from optiscale.dataset.check import check_dataset, has_errors, write_report

    dataset = open_source(source)
    checks = [*check_dataset(dataset, track=_track), *_check_graphs(dataset)]
    _show(dataset, checks)
    if out is not None:
        write_report(out, dataset, checks)
        typer.echo(f"{out}: every finding")
    if has_errors(checks):
        raise typer.Exit(1)


def _check_graphs(dataset: OpticalDataset) -> list[Check]:
    """Verify the checksums of the graphs that lie in the folder."""
    from optiscale.dataset.check import check_files
    from optiscale.graphs.build import GRAPH_ARRAYS
    from optiscale.graphs.store import damaged_graphs

    return [
        check_files(
            f"graphs {folder.name}",
            "every file has the SHA-256 of graphs.json",
            damaged_graphs(folder),
            checked=len(GRAPH_ARRAYS),
        )
        for folder in sorted((dataset.folder / "graphs").glob("[!.]*"))
    ]


def _show(dataset: OpticalDataset, checks: Sequence[Check]) -> None:
    console = Console()
    table = Table("check", "checked", "errors", "outliers", "must hold", box=None, pad_edge=False)
    for check in checks:
        counts = [str(check.checked), str(check.count("error")), str(check.count("outlier"))]
        color = _COLORS[check.status]
        if check.skipped:
            counts = ["skipped", "", ""]
        table.add_row(f"[{color}]{check.name}[/]", *counts, check.skipped or check.rule)
    console.print(
        f"{dataset.folder}: {len(dataset)} materials, data hash {dataset.hash}", highlight=False, soft_wrap=True
    )
    console.print(table, highlight=False)
    for check in checks:
        if check.findings:
            console.print(_findings(check), highlight=False)
    errors, outliers = (sum(check.count(what) for check in checks) for what in ("error", "outlier"))
    console.print(f"{errors} errors, {outliers} outliers", highlight=False)


def _findings(check: Check) -> Table:
    more = len(check.findings) - _SHOWN
    caption = f"and {more} more: --out FILE lists all" if more > 0 else None
    table = Table(
        "id", "", "value", "what", title=check.name, title_justify="left", caption=caption, box=None, pad_edge=False
    )
    for found in check.findings[:_SHOWN]:
        value = "" if found.value is None else f"{found.value:.4g}"
        table.add_row(found.id, found.severity, value, found.note)
    return table


def _track(rows: Iterable[int], total: int, what: str) -> Iterable[int]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(rows, total=total, description=what)
