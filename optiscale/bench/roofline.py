"""What the hardware allows: floating-point operations of a step, and the rate of matrix products."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.networks.fast import fast_forward

_PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm)


def step_counts(network: nn.Module, graphs: GraphStore, rows: np.ndarray, *, lowered: bool) -> dict[str, float]:
    """Count what a training step must at least compute and move, a crystal.

    Operations are those of the matrix products, for whole graphs and for merged ones. Bytes are those of the merged
    graphs' step if everything between matrix products were done while their operands are read and written: operands
    and results of every product, forward and backward, the spectra, and the optimizer's passes over the weights.

    Parameters
    ----------
    network
        On any device; it stays as it is.
    graphs, rows
        A typical batch.
    lowered
        Whether products are in bfloat16.
    """
    angles = bool(network.needs_angles)
    shapes = copy.deepcopy(network).to("meta")  # counted, not computed
    whole = graphs.batch(rows, angles=angles).to("meta")
    merged = _to_meta(MergedGraphs(graphs, device=torch.device("cpu"), angles=angles).batch(rows))
    counts = {}
    for name, predict in (("whole", lambda: shapes(whole)), ("merged", lambda: fast_forward(shapes, merged))):
        with FlopCounterMode(display=False) as counter, _Traffic(2 if lowered else 4) as traffic:
            prediction = predict()
            total = sum(part.sum() for part in prediction if part is not None)
            torch.as_tensor(total).backward()
        counts[f"{name}_mflop"] = counter.get_total_flops() / len(rows) / 1e6
        counts[f"{name}_products_mbyte"] = traffic.bytes / len(rows) / 1e6
    n_weights = sum(weight.numel() for weight in network.parameters())
    spectra = sum(part.nbytes for part in (whole.spectrum, whole.scalars) if part is not None)
    # AdamW reads weight, gradient and two moments, and writes all but the gradient, in float32
    counts["other_mbyte"] = (spectra + 7 * 4 * n_weights) / len(rows) / 1e6
    return counts


class _Traffic(TorchDispatchMode):
    """Bytes of the operands and results of matrix products.

    Parameters
    ----------
    width
        Bytes a number.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operation(*args, **(kwargs or {}))
        if operation.overloadpacket in _PRODUCTS:
            tensors = [part for part in (*args, out) if isinstance(part, torch.Tensor)]
            self.bytes += self.width * sum(part.numel() for part in tensors)
        return out


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


def copy_rate(device: torch.device) -> float:
    """Measure the rate of a large copy, bytes read and written, TB/s."""
    n = 2**28 if device.type == "cuda" else 2**24
    source, target = (torch.zeros(n, device=device) for _ in range(2))
    repeats = 10
    for run in range(repeats + 3):
        if run == 3:
            _wait(device)
            began = time.perf_counter()
        target.copy_(source)
    _wait(device)
    return 2 * source.nbytes * repeats / (time.perf_counter() - began) / 1e12


def roofline_rate(row: dict[str, Any], *, tflops: float, tbytes: float) -> float:
    """Crystals a second if the merged step did nothing but its operations or its traffic, whichever takes longer."""
    seconds = max(
        row["merged_mflop"] / (tflops * 1e6), (row["merged_products_mbyte"] + row["other_mbyte"]) / (tbytes * 1e6)
    )
    return 1 / seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
