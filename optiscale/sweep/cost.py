"""What a cell will cost, from a short measurement of its network on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from optiscale.baselines.cost import measure_baseline
from optiscale.config import Study
from optiscale.datamodule import batches_an_epoch
from optiscale.graphs import CrystalBatch
from optiscale.networks import Prediction, TargetSpec
from optiscale.sweep.plan import PlannedCell
from optiscale.training import Cell, make_network
from optiscale.training.cell import baseline_config

#: published statistics of a crystal (arXiv:2602.05702), used where no data set is at hand
PUBLISHED_STATISTICS = {"atoms": 5.9, "edges": 185.0, "angles": 644.0}
_SIZES = (2, 8)


def random_batch(n_crystals: int, targets: TargetSpec, statistics: dict[str, float], *, seed: int = 0) -> CrystalBatch:
    """Make a batch of random graphs with the given mean number of atoms, edges and angles a crystal."""
    generator = torch.Generator().manual_seed(seed)
    atoms, edges, angles = (max(1, round(n_crystals * statistics[name])) for name in ("atoms", "edges", "angles"))
    crystal = torch.sort(torch.arange(atoms) % n_crystals).values
    source = torch.sort(torch.arange(edges) % atoms).values
    spectrum = torch.rand(n_crystals, targets.n_omega, len(targets.components), generator=generator)
    return CrystalBatch(
        atomic_number=torch.randint(11, 80, (atoms,), generator=generator),
        crystal=crystal,
        edge_index=torch.stack([source, source[torch.randperm(edges, generator=generator)]]),
        edge_length=torch.rand(edges, generator=generator) * 3 + 2,
        angle_index=torch.randint(0, edges, (2, angles), generator=generator),
        angle_cos=torch.rand(angles, generator=generator) * 2 - 1,
        n_crystals=n_crystals,
        spectrum=spectrum if targets.components else None,
        scalars=torch.rand(n_crystals, len(targets.scalars), generator=generator) if targets.scalars else None,
    )


def estimate_seconds(
    study: Study,
    cells: Sequence[PlannedCell],
    targets: dict[str, TargetSpec],
    statistics: dict[str, float],
    *,
    n_validation: int,
) -> list[float]:
    """Estimate the wall time of each cell.

    Each network takes a few training steps on random graphs of two sizes; a step costs a constant and a share a
    crystal, a validation a third of the share. Each baseline is fitted to random numbers. The
    estimate leaves out what runs beside this program.

    Parameters
    ----------
    study, cells
        What to run.
    targets
        Of each model.
    statistics
        Mean atoms, edges and angles a crystal.
    n_validation
        Materials in the validation part.

    Returns
    -------
    list of float
        Seconds, one a cell, for one worker; NaN for a network that fails.
    """
    if study.sweep.threads is not None:
        torch.set_num_threads(study.sweep.threads)
    costs: dict[tuple[str, int | None], Callable[[Cell], float]] = {}
    seconds = []
    for planned in cells:
        key = (planned.cell.model, planned.cell.width)
        if key not in costs:
            costs[key] = _cost(study, planned.cell, targets[planned.cell.model], statistics, n_validation)
        seconds.append(costs[key](planned.cell))
    return seconds


def _cost(
    study: Study, cell: Cell, targets: TargetSpec, statistics: dict[str, float], n_validation: int
) -> Callable[[Cell], float]:
    """Measure the model of a cell; what is returned tells the seconds of a cell of this model and width."""
    if study.models[cell.model].baseline is None:
        constant, share = _measure(study, cell, targets, statistics)
        return lambda cell: _cell_seconds(study, cell, constant, share, n_validation)
    config = baseline_config(study, cell)
    rates = measure_baseline(
        config,
        n_values=targets.n_omega * len(targets.components),
        n_scalars=len(targets.scalars),
        threads=torch.get_num_threads(),
    )
    return lambda cell: rates.estimate(config, D=cell.D, n_validation=n_validation)


def _cell_seconds(study: Study, cell: Cell, constant: float, share: float, n_validation: int) -> float:
    training = study.models[cell.model].training
    batches = batches_an_epoch(cell.D, training.batch_size)
    steps = training.length.steps or training.length.total * batches
    every = training.validate_every
    interval = every.steps if every.steps is not None else (every.epochs or 1) * batches
    train = steps * (constant + share * min(cell.D, training.batch_size))
    return train + steps / interval * (constant + share / 3 * n_validation)


def _measure(study: Study, cell: Cell, targets: TargetSpec, statistics: dict[str, float]) -> tuple[float, float]:
    """Return seconds a step and seconds a crystal of training; NaN if the network fails."""
    device = "cuda" if study.models[cell.model].training.device != "cpu" and torch.cuda.is_available() else "cpu"
    try:
        network = make_network(study, cell, targets).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        batches = [random_batch(size, targets, statistics).to(device) for size in _SIZES]
        times = [_step_seconds(network, optimizer, batch) for batch in batches]
    except Exception:  # out of memory, or whatever a user's network raises: its runs will say it, the others go on
        return math.nan, math.nan
    share = max(0.0, (times[1] - times[0]) / (_SIZES[1] - _SIZES[0]))
    return max(0.0, times[0] - _SIZES[0] * share), share


def _step_seconds(network: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: CrystalBatch) -> float:
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        optimizer.zero_grad()
        prediction: Prediction = network(batch)
        loss = torch.zeros((), device=batch.edge_length.device)
        if prediction.spectrum is not None and batch.spectrum is not None:
            loss = loss + (prediction.spectrum - batch.spectrum).abs().mean()
        if prediction.scalars is not None and batch.scalars is not None:
            loss = loss + (prediction.scalars - batch.scalars).abs().mean()
        loss.backward()
        optimizer.step()
        if loss.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
