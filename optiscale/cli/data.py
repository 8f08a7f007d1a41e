"""`optiscale data …`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from optiscale.errors import UserError


def compute(
    out: Path,
    *,
    engine: str,
    workers: int | None,
    hours: float | None,
    limit: int | None,
    python: str | None,
    refine: bool,
) -> None:
    """Compute what neither the folder nor the embedded shelf has, or refine what the folder has."""
    from optiscale.dataset.shelf import shelf_ids
    from optiscale.spectra.compute import compute_shelf

    compute_shelf(
        out,
        engine=engine,
        workers=workers or os.cpu_count() or 1,
        hours=hours,
        limit=limit,
        python=python,
        exclude=shelf_ids(),
        refine=refine,
    )


def pack(folders: Sequence[Path], *, out: Path) -> None:
    """Pack records into a shelf; what the shelf holds already stays."""
    from optiscale.dataset.shelf import pack_shelf, read_shelf
    from optiscale.spectra.records import read_record

    records = {record.id: record for record in (read_shelf(out) if out.exists() else [])}
    before = len(records)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of records; name the --out of `optiscale data compute`")
        records.update({record.id: record for record in map(read_record, sorted(folder.glob("*.npz")))})
    if not records:
        raise UserError(f"{', '.join(map(str, folders))}: no records (*.npz) here; compute some first")
    pack_shelf(list(records.values()), out)
    typer.echo(f"{out}: {len(records)} materials ({len(records) - before} new), {out.stat().st_size / 2**20:.1f} MiB")


def build(source: str, *, out: Path | None) -> None:
    """Build the data set of a source."""
    from optiscale.dataset import open_source
    from optiscale.dataset.shelf import build_shelf
    from optiscale.dataset.source import EMBEDDED

    if source == EMBEDDED and out is None:
        dataset = open_source(source)
    else:
        shelf = None if source == EMBEDDED else Path(source)
        if shelf is not None and not shelf.is_file():
            raise UserError(f"--source {source}: no such file; give dft-shelf or the path of a packed shelf (.parquet)")
        if out is None:
            raise UserError(f"--source {source}: name the folder of the data set with --out")
        dataset = build_shelf(out, shelf)
    typer.echo(f"{dataset.folder}: {len(dataset)} materials, data hash {dataset.hash}")
