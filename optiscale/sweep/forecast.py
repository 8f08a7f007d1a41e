"""The plan of a study with its estimated time, with or without its data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from optiscale.config import Study
from optiscale.dataset import EnergyGrid, Manifest, OpticalDataset, Scalar, open_source
from optiscale.errors import UserError
from optiscale.sweep.cost import PUBLISHED_STATISTICS, estimate_seconds
from optiscale.sweep.grid import estimates
from optiscale.sweep.plan import check_data, plan
from optiscale.training import target_spec

#: the published data set's targets (arXiv:2602.05702), for a plan made before the data are at hand
PUBLISHED_MANIFEST = Manifest(
    schema_version=1,
    name="published",
    source="",
    n_materials=201_361,
    energy=EnergyGrid(start=0.0, stop=20.0, n=2001),
    components=("re", "im"),
    scalars=(Scalar(name="omega_D", unit="eV"),),
    provenance={},
    identity="",
    files={},
)
PUBLISHED_VALIDATION = 20_179


@dataclass(frozen=True)
class PlanRow:
    """Cells that differ in their seeds only."""

    model: str
    width: int | None
    N: int
    D: int
    runs: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The plan of a study.

    Attributes
    ----------
    rows
        One a model, width and D.
    cells
        Number of runs.
    total
        Estimated seconds of all runs on one worker.
    notes
        What the user should know, one line each.
    """

    rows: tuple[PlanRow, ...]
    cells: int
    total: float
    notes: tuple[str, ...]


def forecast(study: Study) -> Forecast:
    """Plan a study and estimate its time; trains nothing.

    Raises
    ------
    UserError
        If the study cannot run on its data set.
    """
    dataset = _dataset(study)
    manifest = dataset.manifest if dataset is not None else PUBLISHED_MANIFEST
    cells = plan(study, manifest)
    notes: tuple[str, ...] = ()
    if dataset is not None:
        check_data(study, dataset, [planned.cell for planned in cells])
        seconds = estimates(study, cells, dataset)
    else:
        targets = {name: target_spec(model, manifest) for name, model in study.models.items()}
        seconds = estimate_seconds(study, cells, targets, PUBLISHED_STATISTICS, n_validation=PUBLISHED_VALIDATION)
        notes = (
            f"data.source: no data set at {study.data.source!r}; the plan assumes the published statistics "
            "(201,361 materials, 5.9 atoms, 185 edges, 644 angles a crystal)",
        )
    groups = [(planned.cell.model, planned.cell.width, planned.N, planned.cell.D) for planned in cells]
    counts = Counter(groups)
    each = dict(zip(groups, seconds, strict=True))
    rows = tuple(PlanRow(*group, runs=counts[group], seconds=each[group]) for group in counts)
    return Forecast(rows, len(cells), sum(seconds), notes)


def _dataset(study: Study) -> OpticalDataset | None:
    try:
        return open_source(study.data.source)
    except UserError:
        return None
