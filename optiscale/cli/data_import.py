"""`optiscale data import` and `optiscale data fetch`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from optiscale.errors import UserError

if TYPE_CHECKING:
    from optiscale.dataset.importers.build import ImportSource, Outcome
    from optiscale.dataset.importers.fetch import Report

#: where data sets are written by default, as the studies in experiments/ name them
DATA = Path("data")
PUBLISHED = "optimetal"
#: before the name of a data set of matminer
MATMINER = "matminer:"
#: of what was skipped, printed at the end
SHOWN = 10
#: a line in a log each so many materials
LOG_EVERY = 10_000


def run_import(
    path: Path,
    *,
    structures: Path | None,
    spectra: Sequence[Path],
    scalars: Path | None,
    targets: Sequence[str],
    energy: str | None,
    energy_unit: str,
    out: Path | None,
    skip_bad: bool,
) -> None:
    """Import the published layout at `path`, a set of matminer, or one's own files relative to `path`."""
    folder = out or DATA / _name(structures if structures is not None else path)
    if str(path).startswith(MATMINER):
        given: dict[str, object] = {
            "--structures": structures,
            "--spectra": spectra,
            "--scalars": scalars,
            "--energy": energy,
        }
        if named := [option for option, value in given.items() if value]:
            raise UserError(f"{named[0]} is for files of your own; {path} needs none")
        from optiscale.dataset.importers.matminer_sets import MatminerSet
        from optiscale.dataset.importers.own import parse_scalar

        source: ImportSource = MatminerSet(
            str(path).removeprefix(MATMINER), scalars=[parse_scalar(text) for text in targets]
        )
    elif structures is not None:
        from optiscale.dataset.importers.own import OwnData, parse_scalar

        source = OwnData(
            path / structures,
            [path / file for file in spectra],
            scalars=path / scalars if scalars else None,
            targets=[parse_scalar(text) for text in targets],
            unit=energy_unit,
            energy=energy,
            name=folder.name,
            skip_bad=skip_bad,
        )
    else:
        given = {"--spectra": spectra, "--scalars": scalars, "--scalar": targets, "--energy": energy}
        if named := [option for option, value in given.items() if value]:
            raise UserError(f"{named[0]} is for files of your own; name their --structures, too")
        from optiscale.dataset.importers.recognise import recognise

        source = recognise(path, name=folder.name, skip_bad=skip_bad)
    _import(source, folder, skip_bad=skip_bad)


def run_fetch(name: str, *, raw: bool, out: Path | None) -> None:
    """Download the published data set, unpack and import it."""
    from dataclasses import replace

    from optiscale.dataset.importers.fetch import PREPROCESSED, RAW, fetch, published_folder
    from optiscale.dataset.importers.recognise import recognise
    from optiscale.dataset.schema import MANIFEST

    if name != PUBLISHED:
        raise UserError(f"fetch {name}: unknown; {PUBLISHED} is the data set there is")
    folder = out or DATA / (f"{PUBLISHED}-raw" if raw else PUBLISHED)
    if (folder / MANIFEST).exists():
        typer.echo(f"{folder}: is there already; remove it to fetch it again")
        return
    files = folder.with_name(f"{folder.name}-files")
    with _download_bars() as report:
        fetched = fetch(RAW if raw else PREPROCESSED, files, report=report)
    typer.echo(f"{files}: {len(fetched)} files, checked; the data set does not need them once it is made")
    path = published_folder(files)
    typer.echo(f"now: optiscale data import {path} --out {folder}")
    source = recognise(path, name=folder.name)
    source.info = replace(source.info, provenance={**source.info.provenance, "fetched": fetched})
    _import(source, folder, skip_bad=False)


@contextmanager
def _download_bars() -> Iterator[Report]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
                if not console.is_terminal:
                    console.print(f"fetching {name}, {total / 1e6:.1f} MB", highlight=False)
            progress.update(tasks[name], completed=done)

        yield report


def _import(source: ImportSource, folder: Path, *, skip_bad: bool) -> None:
    from optiscale.dataset.importers.build import SKIPPED, import_source

    try:
        imported = import_source(source, folder, skip_bad=skip_bad, track=_track)
    except KeyboardInterrupt:
        typer.echo(f"{folder}: interrupted; the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    for item, reason in imported.skipped[:SHOWN]:
        typer.echo(f"skipped {item}: {reason}")
    if imported.skipped:
        rest = f", the first {SHOWN} above" if len(imported.skipped) > SHOWN else ""
        typer.echo(f"{len(imported.skipped)} skipped{rest}; all with reasons in {folder / SKIPPED}")
    dataset = imported.dataset
    typer.echo(f"{dataset.folder}: {len(dataset)} materials, data hash {dataset.hash}")


def _track(outcomes: Iterable[Outcome], start: int, total: int) -> Iterator[Outcome]:
    console = Console(stderr=True)
    if start:
        console.print(f"going on after {start} of {total}", highlight=False)
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, completed=start)
        for done, outcome in enumerate(outcomes, start=start + 1):
            yield outcome
            progress.update(task, completed=done)
            if not console.is_terminal and done % LOG_EVERY == 0:
                console.print(f"{done} of {total} imported", highlight=False)


def _name(path: Path) -> str:
    """Return the name of a data set, from that of what is imported."""
    return path.resolve().name.removeprefix(MATMINER).split(".")[0]
