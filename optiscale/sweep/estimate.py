"""What each cell of a study will cost: from earlier runs, else from a short measurement, else from a guess."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from optiscale.baselines import magpie_features
from optiscale.baselines.cost import BaselineRates, measure_baseline, memory_mb
from optiscale.config import Study
from optiscale.datamodule import rows_of
from optiscale.dataset import OpticalDataset
from optiscale.networks import TargetSpec
from optiscale.sweep.cost import MEASURED, Cost, Key, Measured, failed, work_of
from optiscale.sweep.history import History
from optiscale.sweep.plan import PlannedCell, has_networks
from optiscale.sweep.progress import track_rows
from optiscale.sweep.published import MANIFEST, N_VALIDATION, SOURCE
from optiscale.sweep.slowdown import assumed, cards_of
from optiscale.training import Cell, target_spec
from optiscale.training.baseline import torch_threads
from optiscale.training.cell import baseline_config

#: seconds that the measurement may take: of a plan that somebody waits for, and of an order and a time left
PLAN_S, RUN_S = 120.0, 5.0


def prepare(study: Study, cells: Sequence[Cell], dataset: OpticalDataset) -> None:
    """Build the graphs and the features that cells need, with a bar, unless they are cached."""
    if has_networks(study, cells):
        from optiscale.graphs import GraphStore

        cutoffs = {"cutoff": study.graph.cutoff, "angle_cutoff": study.graph.angle_cutoff}
        GraphStore.open(dataset, **cutoffs, track=track_rows("graphs"))
    if not all(has_networks(study, [cell]) for cell in cells):
        magpie_features(dataset, track=track_rows("features (of 500 compositions)"))


def costs_of(
    study: Study,
    cells: Sequence[PlannedCell],
    dataset: OpticalDataset,
    *,
    history: History | None = None,
    limit_s: float = RUN_S,
    at_once: int = 1,
) -> list[Cost]:
    """Estimate what each cell takes on one worker of this machine; builds the graphs and features they need.

    Parameters
    ----------
    study, cells
        What to run.
    dataset
        The data set.
    history
        Earlier runs.
    limit_s
        Seconds that measuring the networks may take.
    at_once
        Runs side by side on the machine: as many networks are measured at once.

    Returns
    -------
    list of Cost
        One a cell.
    """
    prepare(study, [one.cell for one in cells], dataset)
    known = {} if history is None else history.costs([one.cell for one in cells])
    unknown = [one for one in cells if one.cell not in known]
    if not unknown:
        return [known[one.cell] for one in cells]
    n_validation = len(rows_of(dataset, study.data)["validation"])
    networks = [one for one in unknown if study.models[one.cell.model].baseline is None]
    measured = _measured(study, networks, dataset, n_validation, limit_s, at_once) if networks else Measured({}, {})
    targets = {name: target_spec(model, dataset.manifest) for name, model in study.models.items()}
    known |= _costs(study, unknown, targets, measured, n_validation=n_validation, source=MEASURED, at_once=at_once)
    return [known[one.cell] for one in cells]


def _measured(
    study: Study, cells: Sequence[PlannedCell], dataset: OpticalDataset, n_validation: int, limit_s: float, at_once: int
) -> Measured:
    """Measure networks in this process, or, as many at once as there will be, in others."""
    limits: dict[str, Any] = {"n_validation": n_validation, "limit_s": limit_s}
    if at_once > 1:
        from optiscale.sweep.together import calibrate_together

        return calibrate_together(study, cells, **limits, threads=threads_of(study), at_once=at_once)
    import torch

    from optiscale.sweep.calibrate import calibrate

    torch.set_num_threads(threads_of(study))
    return calibrate(study, cells, dataset, **limits)


def costs_without_data(study: Study, cells: Sequence[PlannedCell], *, at_once: int = 1) -> list[Cost]:
    """Estimate what each cell takes on a data set with the published statistics; beside others by assumption."""
    import torch

    from optiscale.sweep.guess import guess

    torch.set_num_threads(threads_of(study))
    targets = {name: target_spec(model, MANIFEST) for name, model in study.models.items()}
    found = guess(study, cells, targets)
    costs = _costs(study, cells, targets, found, n_validation=N_VALIDATION, source=SOURCE, at_once=at_once)
    return [costs[one.cell] for one in cells]


def _costs(
    study: Study,
    cells: Sequence[PlannedCell],
    targets: Mapping[str, TargetSpec],
    measured: Measured,
    *,
    n_validation: int,
    source: str,
    at_once: int,
) -> dict[Cell, Cost]:
    baselines: dict[str, BaselineRates] = {}
    groups: dict[tuple[Key, int], Cost] = {}
    costs = {}
    for cell in (one.cell for one in cells):
        key = (cell.model, cell.width)
        if (key, cell.D) not in groups:
            if study.models[cell.model].baseline is None:
                cost = _network(study, cell, measured, at_once)
            else:
                cost = _baseline(study, cell, targets[cell.model], baselines, n_validation, source)
                cost = replace(cost, seconds=cost.seconds * assumed(at_once, threads=threads_of(study)))
            groups[key, cell.D] = cost
        costs[cell] = groups[key, cell.D]
    return costs


def _network(study: Study, cell: Cell, measured: Measured, at_once: int) -> Cost:
    key = (cell.model, cell.width)
    problem = measured.problems.get(key, "")
    if key not in measured.rates:
        return failed(problem)
    cost = replace(measured.rates[key].cost(work_of(study, cell)), problem=problem)
    if measured.rates[key].source != SOURCE:
        return cost  # beside the others
    cards = cards_of(study.models[cell.model])
    return replace(cost, seconds=cost.seconds * assumed(at_once, threads=threads_of(study), cards=cards))


def _baseline(
    study: Study,
    cell: Cell,
    targets: TargetSpec,
    measured: dict[str, BaselineRates],
    n_validation: int,
    source: str,
) -> Cost:
    """Estimate a baseline from fits to random numbers; its memory is counted."""
    config = baseline_config(study, cell)
    sizes = {"n_values": targets.n_omega * len(targets.components), "n_scalars": len(targets.scalars)}
    if cell.model not in measured:  # the rates are those of a tree
        measured[cell.model] = measure_baseline(config, **sizes, threads=threads_of(study))
    here = psutil.Process().memory_info().rss / 2**20
    seconds = measured[cell.model].estimate(config, D=cell.D, n_validation=n_validation)
    return Cost(seconds, here + memory_mb(config, D=cell.D, **sizes), source)


def threads_of(study: Study) -> int:
    """Return the torch threads of a run: the study's, else torch's own in this process, else those of a worker."""
    if study.sweep.threads is not None:
        return study.sweep.threads
    return torch_threads() if study.sweep.workers == 1 else int(os.environ.get("OMP_NUM_THREADS", "1"))
