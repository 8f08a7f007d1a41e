"""`optiscale merge`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer


def run(folders: Sequence[Path], *, out: Path) -> None:
    """Join results folders, then fit and draw."""
    from optiscale.cli.report import report_study
    from optiscale.config import RESOLVED
    from optiscale.sweep import join

    joined = join(folders, out)
    made = report_study(out)
    typer.echo(f"{out}: {len(joined.runs)} runs of {len(folders)} folders, {len(made)} files")
    if joined.missing:
        typer.echo(
            f"{len(joined.missing)} cells have no result yet, {joined.missing[0].id} is the first; "
            f"`optiscale grid {out / RESOLVED} --out {out}` runs them"
        )
        raise typer.Exit(1)
