"""What the hardware allows: floating-point operations of a step, and the rate of matrix products."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.networks.fast import fast_forward


def step_flops(network: nn.Module, graphs: GraphStore, rows: np.ndarray) -> dict[str, float]:
    """Count the operations of the matrix products of a training step, a crystal: whole graphs, and merged ones.

    Parameters
    ----------
    network
        On any device; it stays as it is.
    graphs, rows
        A typical batch.
    """
    angles = bool(network.needs_angles)
    shapes = copy.deepcopy(network).to("meta")  # counted, not computed
    whole = graphs.batch(rows, angles=angles).to("meta")
    merged = _to_meta(MergedGraphs(graphs, device=torch.device("cpu"), angles=angles).batch(rows))
    counts = {}
    for name, predict in (("whole", lambda: shapes(whole)), ("merged", lambda: fast_forward(shapes, merged))):
        with FlopCounterMode(display=False) as counter:
            prediction = predict()
            total = sum(part.sum() for part in prediction if part is not None)
            torch.as_tensor(total).backward()
        counts[f"{name}_mflop"] = counter.get_total_flops() / len(rows) / 1e6
    return counts


def _to_meta(value: Any) -> Any:
    """Return tensors without content, in the same (nested) named tuple."""
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    return type(value)(*(_to_meta(part) for part in value)) if isinstance(value, tuple) else value


def matrix_rate(device: torch.device, precision: str) -> float:
    """Measure the rate of one large matrix product on random numbers, TFLOP/s."""
    n = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    first, second = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    repeats = 10
    for run in range(repeats + 3):
        if run == 3:
            _wait(device)
            began = time.perf_counter()
        first @ second
    _wait(device)
    return 2 * n**3 * repeats / (time.perf_counter() - began) / 1e12


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
