"""`optiscale data info`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from optiscale.dataset import OpticalDataset

_BAR = 40


def info(source: str, *, out: Path | None) -> None:
    """Show what a data set holds, in the terminal and as pictures."""
    from optiscale.dataset import open_source

    dataset = open_source(source)
    volume = np.abs(np.linalg.det(dataset.lattice)) / dataset.n_sites
    console = Console()
    console.print(_summary(dataset), highlight=False)
    console.print(_ranges(dataset, volume), highlight=False)
    console.print(_sites(dataset), highlight=False)
    counts = element_counts(dataset)
    cells = [f"{symbol} {count}" for symbol, count in counts.most_common()]
    console.print(f"materials by element ({len(counts)} elements)", highlight=False)
    console.print(Columns(cells, equal=True, padding=(0, 2)), highlight=False)
    if out is not None:
        for path in _draw(dataset, volume, counts, out):
            typer.echo(str(path))


def element_counts(dataset: OpticalDataset) -> Counter[str]:
    """Count the materials that contain each element."""
    from ase.data import chemical_symbols

    row = np.repeat(np.arange(len(dataset)), dataset.n_sites)
    pairs = np.unique(np.stack([row, dataset.atomic_number.astype(np.int64)]), axis=1)
    numbers, counts = np.unique(pairs[1], return_counts=True)
    return Counter({chemical_symbols[number]: int(count) for number, count in zip(numbers, counts, strict=True)})


def _summary(dataset: OpticalDataset) -> Table:
    manifest, materials = dataset.manifest, dataset.materials
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("folder", str(dataset.folder))
    table.add_row("set", f"{manifest.name}: {manifest.source}")
    table.add_row("data hash", f"{dataset.hash} (schema version {manifest.schema_version})")
    table.add_row("materials", f"{len(dataset)}, {materials['reduced_formula'].nunique()} compositions")
    skipped = manifest.provenance.get("skipped", [])
    if skipped:
        table.add_row("skipped", f"{len(skipped)}, such as {skipped[0]['item']}: {skipped[0]['reason']}")
    coarse = int(materials["provenance"].str.contains('"coarse_mesh": true', regex=False).sum())
    if coarse:
        table.add_row("coarse k mesh", f"{coarse} materials, flagged in their provenance")
    split = materials["split"]
    parts = ", ".join(f"{part} {count}" for part, count in split.value_counts().items())
    table.add_row("split", parts or "none of its own; a study makes one by composition")
    energy = manifest.energy
    grid = f"{energy.n} energies from {energy.start:g} to {energy.stop:g} eV" if energy else "none"
    table.add_row("spectra", f"{', '.join(manifest.components)} at {grid}" if energy else grid)
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    for folder in sorted((dataset.folder / "graphs").glob("[!.]*/graphs.json")):
        table.add_row("graphs", _graphs(folder))
    return table


def _graphs(path: Path) -> str:
    from optiscale.io import read_json

    content = read_json(path)
    return f"{path.parent.name}: cutoffs {content['cutoff']:g} and {content['angle_cutoff']:g} Å"


def _ranges(dataset: OpticalDataset, volume: np.ndarray) -> Table:
    table = Table("", "least", "median", "most", box=None, pad_edge=False)
    scalars = dataset.manifest.scalars
    columns = {f"{scalar.name} ({scalar.unit})": dataset.scalars[:, place] for place, scalar in enumerate(scalars)}
    for name, values in {**columns, "volume an atom (Å³)": volume, "sites a cell": dataset.n_sites}.items():
        table.add_row(name, *(f"{value:.4g}" for value in np.nanquantile(values.astype(float), [0, 0.5, 1])))
    return table


def _sites(dataset: OpticalDataset) -> Table:
    table = Table("sites", "materials", "", box=None, pad_edge=False)
    numbers, counts = np.unique(dataset.n_sites, return_counts=True)
    for number, count in zip(numbers, counts, strict=True):
        table.add_row(str(number), str(count), "█" * max(1, round(_BAR * count / counts.max())))
    return table


def _draw(dataset: OpticalDataset, volume: np.ndarray, counts: Counter[str], out: Path) -> list[Path]:
    from optiscale.figures.dataset import figure_dataset
    from optiscale.figures.elements import figure_elements
    from optiscale.figures.gallery import gallery_of
    from optiscale.figures.style import save_figure

    scalars = {scalar.name: scalar.unit for scalar in dataset.manifest.scalars}
    overview = figure_dataset(dataset.materials, volume, scalars=scalars)
    written = [*save_figure(overview, out, "dataset"), *save_figure(figure_elements(counts), out, "elements")]
    if dataset.manifest.components:
        written += save_figure(gallery_of(dataset), out, "spectra")
    return written
