"""The plain path: torch_geometric's DataLoader over Data objects, eager layers, automatic mixed precision.

This is how the published code trains (arXiv:2602.05702); it stays here to be measured against.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from optiscale.bench.rates import Rates
from optiscale.graphs import CrystalBatch, GraphStore
from optiscale.training.losses import batch_losses


class CrystalData(Data):
    """One crystal as torch_geometric holds it."""

    def __inc__(self, key: str, value: Any, *args: Any, **parts: Any) -> Any:
        """Count angles by edges where crystals are joined."""
        return self.edge_index.shape[1] if key == "angle_index" else super().__inc__(key, value, *args, **parts)


def crystal_data(graphs: GraphStore, row: int, *, angles: bool) -> CrystalData:
    """Return one crystal."""
    batch = graphs.batch(np.array([row]), angles=angles)
    return CrystalData(
        atomic_number=batch.atomic_number,
        edge_index=batch.edge_index,
        edge_length=batch.edge_length,
        angle_index=batch.angle_index,
        angle_cos=batch.angle_cos,
        spectrum=batch.spectrum,
        scalars=batch.scalars,
        num_nodes=len(batch.atomic_number),
    )


def plain_rates(
    network: nn.Module,
    graphs: GraphStore,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    *,
    batch_size: int,
    steps: int,
    device: torch.device,
    lowered: bool,
    lr: float = 1e-4,
) -> Rates:
    """Train and validate with the plain path for a while.

    Parameters
    ----------
    network
        Any of `optiscale.networks`.
    graphs
        Where the crystals come from.
    train_rows, validation_rows
        Rows of the data set.
    batch_size
        Of both.
    steps
        To time, after a warm-up of a fifth of them.
    device
        Where to compute.
    lowered
        Whether to cast to bfloat16 (automatic mixed precision).
    lr
        Of AdamW.
    """
    angles = bool(network.needs_angles)
    train, validation = (
        [crystal_data(graphs, int(row), angles=angles) for row in rows] for rows in (train_rows, validation_rows)
    )
    network = network.to(device)
    step = plain_step(network, device, lowered=lowered, lr=lr)
    loader = DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True)
    rate = _timed(loader, step, steps, device)
    network.eval()
    with torch.no_grad():
        loader = DataLoader(validation, batch_size=batch_size)
        validated = _timed(
            loader, lambda data: _losses(network, data.to(device), lowered=lowered).sum(), max(2, steps // 2), device
        )
    network.train()
    return Rates(train=rate, validation=validated)


def plain_step(network: nn.Module, device: torch.device, *, lowered: bool, lr: float = 1e-4) -> Callable[[Any], None]:
    """Return the plain path's training step on a batch of a `DataLoader`."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)

    def step(data: Any) -> None:
        optimizer.zero_grad()
        _losses(network, data.to(device), lowered=lowered).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 100.0)
        optimizer.step()

    return step


def _losses(network: nn.Module, data: Any, *, lowered: bool) -> torch.Tensor:
    batch = _joined(data)
    with torch.autocast(batch.edge_length.device.type, dtype=torch.bfloat16, enabled=lowered):
        spectrum, scalars = batch_losses(network(batch), batch, components=[0, 1], scalars=[0])
    return spectrum + scalars


def _timed(loader: DataLoader, work: Any, steps: int, device: torch.device) -> float:
    """Crystals a second."""
    seen, done, began, warm = 0, 0, 0.0, max(1, steps // 5)
    while done < steps + warm:
        for data in loader:
            if done == warm:
                _wait(device)
                began, seen = time.perf_counter(), 0
            work(data)
            seen += int(data.num_graphs)
            done += 1
            if done == steps + warm:
                break
    _wait(device)
    return seen / (time.perf_counter() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _joined(data: Any) -> CrystalBatch:
    return CrystalBatch(
        atomic_number=data.atomic_number,
        crystal=data.batch,
        edge_index=data.edge_index,
        edge_length=data.edge_length,
        angle_index=data.angle_index,
        angle_cos=data.angle_cos,
        n_crystals=data.num_graphs,
        spectrum=data.spectrum,
        scalars=data.scalars,
    )
