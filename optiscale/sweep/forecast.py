"""The plan of a study with its estimated time, with or without its data set."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from optiscale.config import Study
from optiscale.dataset import EnergyGrid, Manifest, OpticalDataset, Scalar, open_source
from optiscale.dataset.schema import SCHEMA_VERSION
from optiscale.dataset.source import EMBEDDED
from optiscale.sweep.changes import check_unchanged
from optiscale.sweep.cost import PUBLISHED_STATISTICS, estimate_seconds
from optiscale.sweep.grid import estimates
from optiscale.sweep.plan import check_data, plan
from optiscale.sweep.records import DONE, records_of
from optiscale.training import Cell, target_spec

#: the published data set's targets (arXiv:2602.05702), for a plan made before the data are at hand
PUBLISHED_MANIFEST = Manifest(
    schema_version=SCHEMA_VERSION,
    name="published",
    source="",
    seed=None,
    n_materials=201_361,
    n_atoms=0,
    energy=EnergyGrid(start=0.0, stop=20.0, n=2001),
    components=("re", "im"),
    scalars=(Scalar(name="omega_D", unit="eV"),),
    units={},
    provenance={},
    build_key={},
    versions={},
    content={},
    files={},
)
PUBLISHED_VALIDATION = 20_179


@dataclass(frozen=True)
class PlanRow:
    """Cells that differ in their seeds only; `seconds` a run, NaN for a network that fails."""

    model: str
    width: int | None
    N: int
    D: int
    runs: int
    done: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The plan of a study.

    Attributes
    ----------
    rows
        One a model, width and D.
    cells, left
        Number of runs, and of those without a result.
    total
        Estimated seconds of the runs left on one worker.
    notes
        What the user should know, one line each.
    """

    rows: tuple[PlanRow, ...]
    cells: int
    left: int
    total: float
    notes: tuple[str, ...]


def forecast(study: Study, out: Path) -> Forecast:
    """Plan a study and estimate its time; trains nothing.

    Parameters
    ----------
    study
        The study.
    out
        Folder of its results, as far as there are any.

    Raises
    ------
    UserError
        If the study cannot run on its data set.
    """
    dataset = _dataset(study)
    manifest = dataset.manifest if dataset is not None else PUBLISHED_MANIFEST
    cells = plan(study, manifest)
    notes: tuple[str, ...] = ()
    done: set[Cell] = set()
    if dataset is not None:
        check_data(study, dataset, [planned.cell for planned in cells])
        seconds = estimates(study, cells, dataset)
        records = records_of([planned.cell for planned in cells], out)
        check_unchanged(study, records, out, dataset.hash)
        done = {cell for cell, record in records.items() if record["status"] in DONE}
    else:
        targets = {name: target_spec(model, manifest) for name, model in study.models.items()}
        seconds = estimate_seconds(study, cells, targets, PUBLISHED_STATISTICS, n_validation=PUBLISHED_VALIDATION)
        notes = (
            f"data.source: no data set at {study.data.source!r}; the plan assumes the published statistics "
            "(201,361 materials, 5.9 atoms, 185 edges, 644 angles a crystal)",
        )
    groups = [(planned.cell.model, planned.cell.width, planned.N, planned.cell.D) for planned in cells]
    runs = Counter(groups)
    finished = Counter(group for group, planned in zip(groups, cells, strict=True) if planned.cell in done)
    each = dict(zip(groups, seconds, strict=True))
    rows = tuple(PlanRow(*group, runs=runs[group], done=finished[group], seconds=each[group]) for group in runs)
    known = [row.seconds * (row.runs - row.done) for row in rows if not math.isnan(row.seconds)]
    if len(known) < len(rows):
        notes += ("a network failed in the measurement (? in the table); its runs will fail too, and say why",)
    return Forecast(rows, len(cells), len(cells) - len(done), sum(known), notes)


def _dataset(study: Study) -> OpticalDataset | None:
    """Open the data set, or return None if there is nothing at all at its place yet."""
    source = study.data.source
    return open_source(source) if source == EMBEDDED or Path(source).exists() else None
