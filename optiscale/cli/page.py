"""`optiscale report`."""

from __future__ import annotations

from pathlib import Path

import typer

#: the page in a results folder
PAGE = "report.html"


def run(source: Path, *, out: Path | None) -> None:
    """Write the page of a results folder or of a table of losses, and say where."""
    page = make_page(source, out=out)
    typer.echo(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser, it needs no network")


def make_page(source: Path, *, out: Path | None = None) -> Path:
    """Write the page: into the results folder, or beside the table, unless told where."""
    from optiscale.report import read_evidence, write_page

    beside = source / PAGE if source.is_dir() else source.with_suffix(".html")
    return write_page(read_evidence(source), out or beside)
