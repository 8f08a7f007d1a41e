"""What networks take on random graphs with the published statistics: a plan before the data are at hand."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import psutil
import torch

from optiscale.config import Study
from optiscale.graphs import CrystalBatch
from optiscale.networks import Prediction, TargetSpec
from optiscale.sweep.cost import Key, Measured, Rates
from optiscale.sweep.plan import PlannedCell
from optiscale.sweep.published import N_VALIDATION, SOURCE, STATISTICS
from optiscale.training import Cell, make_network
from optiscale.training.options import on_gpu
from optiscale.training.record import one_line

_SIZES = (2, 8)
_BYTES_A_PARAMETER = 16  # weight, gradient, and AdamW's two moments


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


def guess(study: Study, cells: Sequence[PlannedCell], targets: Mapping[str, TargetSpec]) -> Measured:
    """Take a few steps with each network on random graphs of two sizes.

    A step costs a constant and a share a crystal, a validation a third of the share. The memory is that of the
    weights, of what AdamW keeps, and of what a step keeps for its gradients. Of networks that fail it says why.
    """
    found: dict[Key, Rates] = {}
    problems: dict[Key, str] = {}
    tried = set()
    for one in cells:
        key = (one.cell.model, one.cell.width)
        if key not in tried and study.models[one.cell.model].baseline is None:
            tried.add(key)
            try:
                found[key] = _rates(study, one.cell, targets[one.cell.model])
            except Exception as error:  # out of memory, or whatever a user's network raises: the others go on
                problems[key] = one_line(error)
    return Measured(found, problems)


def _rates(study: Study, cell: Cell, targets: TargetSpec) -> Rates:
    device = "cuda" if on_gpu(study.models[cell.model].training) else "cpu"
    network = make_network(study, cell, targets).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    batches = [random_batch(size, targets, STATISTICS).to(device) for size in _SIZES]
    (time_few, kept_few), (time_many, kept_many) = (_step(network, optimizer, batch) for batch in batches)
    crystal = max(0.0, (time_many - time_few) / (_SIZES[1] - _SIZES[0]))
    step = max(0.0, time_few - _SIZES[0] * crystal)
    memory_crystal = (kept_many - kept_few) / (_SIZES[1] - _SIZES[0])
    parameters = sum(weight.numel() for weight in network.parameters()) * _BYTES_A_PARAMETER / 2**20
    here = psutil.Process().memory_info().rss / 2**20 if device == "cpu" else 0.0
    return Rates(
        step=step,
        crystal=crystal,
        epoch=0.0,
        validation=step + crystal / 3 * N_VALIDATION,
        begin=0.0,
        memory=here + parameters,
        memory_crystal=memory_crystal,
        source=SOURCE,
    )


def _step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: CrystalBatch) -> tuple[float, float]:
    """Return the seconds of a step, and the MiB that it keeps for its gradients."""
    best = math.inf
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    for _ in range(3):
        start = time.perf_counter()
        optimizer.zero_grad()
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = _loss(network(batch), batch)
        loss.backward()
        optimizer.step()
        if loss.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best, sum(kept.values()) / 2**20


def _loss(prediction: Prediction, batch: CrystalBatch) -> torch.Tensor:
    loss = torch.zeros((), device=batch.edge_length.device)
    if prediction.spectrum is not None and batch.spectrum is not None:
        loss = loss + (prediction.spectrum - batch.spectrum).abs().mean()
    if prediction.scalars is not None and batch.scalars is not None:
        loss = loss + (prediction.scalars - batch.scalars).abs().mean()
    return loss
