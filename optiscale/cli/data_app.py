"""The commands on data sets and their options: `optiscale data …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="Compute, pack and build data sets.")

Folder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder of the data set.", show_default=False)
]
DataSource = Annotated[str, typer.Argument(metavar="[SOURCE]", help="dft-shelf, or the folder of a data set.")]


@data_app.command("compute")
def data_compute(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the records.")] = Path("records"),
    engine: Annotated[str, typer.Option(help="The engine; gpaw is the one there is.")] = "gpaw",
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default.")] = None,
    hours: Annotated[float | None, typer.Option(help="Begin no material after this time.")] = None,
    limit: Annotated[int | None, typer.Option(help="Compute at most so many materials.")] = None,
    python: Annotated[str | None, typer.Option(help="Interpreter that has GPAW.")] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Compute records of DIR with too coarse a mesh again.")
    ] = False,
) -> None:
    """Compute spectra of the plan's materials that neither DIR nor the embedded shelf has; resumable."""
    from optiscale.cli.data import compute

    compute(out, engine=engine, workers=workers, hours=hours, limit=limit, python=python, refine=refine)


@data_app.command("pack")
def data_pack(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="Folders of records.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The packed shelf, a Parquet file.")],
) -> None:
    """Pack records, with what the shelf FILE holds already, into one Parquet file."""
    from optiscale.cli.data import pack

    pack(records, out=out)


@data_app.command("build")
def data_build(
    source: Annotated[str, typer.Option(help="dft-shelf, the path of a packed shelf, or tight-binding.")] = "dft-shelf",
    out: Folder = None,
    n: Annotated[int | None, typer.Option("--n", help="Tight binding: materials wanted.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Tight binding: of the draws.")] = 0,
    sites: Annotated[
        str | None,
        typer.Option(help="Tight binding: atoms a cell, such as 4 or 2-5; as published without.", show_default=False),
    ] = None,
    strain: Annotated[float, typer.Option(help="Tight binding: spread of a strain that breaks symmetry.")] = 0.0,
    rattle: Annotated[float, typer.Option(help="Tight binding: spread of displacements, Å.")] = 0.0,
    device: Annotated[str, typer.Option(help="Tight binding: cpu or cuda.")] = "cpu",
    workers: Annotated[int | None, typer.Option(help="Tight binding: processes; one a core by default.")] = None,
) -> None:
    """Build the cached data set of a source."""
    if source == "tight-binding":
        from optiscale.cli.data_tight_binding import run

        run(n=n, seed=seed, sites=sites, strain=strain, rattle=rattle, device=device, workers=workers, out=out)
        return
    if n is not None:
        from optiscale.errors import UserError

        raise UserError(f"--n is for --source tight-binding; --source {source} has the materials it has")
    from optiscale.cli.data import build

    build(source, out=out)


@data_app.command("check")
def data_check(
    source: DataSource = "dft-shelf",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Report with every finding, JSON.", show_default=False)
    ] = None,
) -> None:
    """Check files and physics of a data set: status 1 if something cannot be."""
    from optiscale.cli.data_check import check

    check(source, out=out)


@data_app.command("info")
def data_info(
    source: DataSource = "dft-shelf",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the pictures.", show_default=False)
    ] = None,
) -> None:
    """Show what a data set holds: counts, ranges, split, elements, sites; with --out as pictures too."""
    from optiscale.cli.data_info import info

    info(source, out=out)


@data_app.command("import")
def data_import(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[PATH]",
            help="The published files; matminer:NAME, such as matminer:dielectric_constant; or the folder that the "
            "options are relative to.",
        ),
    ] = Path(),
    structures: Annotated[
        Path | None,
        typer.Option(help="Own crystals: extxyz, ASE database, CIF folder, pymatgen JSON.", show_default=False),
    ] = None,
    spectra: Annotated[
        list[Path] | None,
        typer.Option(help="Own spectra: CSV, Parquet or NPZ; once a component where each has its file."),
    ] = None,
    scalar: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=UNIT", help="A scalar target; NAME=UNIT:nonnegative if it is never below 0."),
    ] = None,
    scalars: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet with id and the scalars; without it, fields of the structures."),
    ] = None,
    energy_unit: Annotated[str, typer.Option(metavar="UNIT", help="Of the spectra: eV, cm-1 or nm.")] = "eV",
    energy: Annotated[
        str | None,
        typer.Option(metavar="START:STOP:N", help="Interpolate to this grid (eV).", show_default=False),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what is no use, and list it.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the data set; data/NAME by default.")
    ] = None,
) -> None:
    """Import the published data set or your own; an interrupted import goes on."""
    from optiscale.cli.data_import import run_import

    run_import(
        path,
        structures=structures,
        spectra=spectra or [],
        scalars=scalars,
        targets=scalar or [],
        energy=energy,
        energy_unit=energy_unit,
        out=out,
        skip_bad=skip_bad,
    )


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="optimetal, the published data set.")],
    raw: Annotated[bool, typer.Option("--raw", help="The calculations of each direction, not the averages.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the data set; data/NAME by default.")
    ] = None,
) -> None:
    """Download the published data set by DOI into DIR-files, checked, and import it into DIR; resumable."""
    from optiscale.cli.data_import import run_fetch

    run_fetch(name, raw=raw, out=out)
