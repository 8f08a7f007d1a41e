"""The measurement: every network and width, plain path and ours, in one program and on one device."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optiscale.bench.data import bench_dataset
from optiscale.bench.plain import plain_rates
from optiscale.bench.roofline import copy_rate, matrix_rate, step_counts
from optiscale.bench.whole import bench_study, whole_run
from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.graphs import GraphStore
from optiscale.training.cell import Cell, make_network, target_spec
from optiscale.training.record import device_name

PUBLISHED_BATCH = 256
_PLAIN_STEPS = 24


def measure(
    folder: Path,
    cases: Sequence[tuple[str, int]],
    *,
    n: int,
    batch_size: int,
    precision: str,
    device: str,
    rattle: float,
    epochs: int,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure rates and return everything that describes them.

    Parameters
    ----------
    folder
        For the data set; kept.
    cases
        Model ("2B-TC", "2B-CGC" or "3B-TC") and width.
    n
        Crystals of the data set.
    batch_size, precision, device
        Of both paths.
    rattle
        Random displacements, Å: crystals without symmetry.
    epochs
        To train with our path; the first two are left out.
    report
        Called with each row as it is done.
    """
    dataset = bench_dataset(folder / f"{n}_{rattle}", n, rattle=rattle)
    graphs = GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0)
    target = torch.device(device)
    rows: list[dict[str, Any]] = []
    order = np.random.default_rng(0).permutation(n)
    for model, width in cases:
        study = _study(dataset, epochs=epochs, batch_size=batch_size, precision=precision, path="auto", device=device)
        ours = whole_run(study, Cell(model, width, _largest_subset(n, batch_size), 1, 0), dataset)
        torch.manual_seed(0)
        network = make_network(study, Cell(model, width, 2, 1, 0), target_spec(study.models[model], dataset.manifest))
        counts = step_counts(network, graphs, order[:batch_size], lowered=precision == "bf16-mixed")
        plain = plain_rates(
            network,
            graphs,
            order[: min(n // 2, 6 * batch_size)],
            order[n // 2 : n // 2 + 2 * batch_size],
            batch_size=batch_size,
            steps=_PLAIN_STEPS,
            device=target,
            lowered=precision == "bf16-mixed",
        )
        row = {
            "model": model,
            "width": width,
            "fast_train": ours.rates.train,
            "fast_validation": ours.rates.validation,
            "plain_train": plain.train,
            "plain_validation": plain.validation,
            "first_s": ours.first_s,
            "losses": ours.losses,
            **counts,
        }
        rows.append(row)
        report(row)
    merged = {what: float(getattr(graphs, f"merged_{what}_offset")[-1] / n) for what in ("atom", "edge", "angle")}
    return {
        "device": device_name(target),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("torch", "pytorch-lightning", "torch-geometric", "numpy", "numba")
        },
        "n": n,
        "batch_size": batch_size,
        "precision": precision,
        "rattle": rattle,
        "whole_graph": graphs.statistics(),
        "merged_graph": merged,
        "matrix_tflops": matrix_rate(target, precision),
        "copy_tbytes": copy_rate(target),
        "rows": rows,
    }


def compile_cases(
    folder: Path,
    cases: Sequence[tuple[str, int]],
    *,
    n: int,
    batch_size: int,
    precision: str,
    rattle: float,
    side_by_side: int,
) -> None:
    """Compile every case in a program of its own, several at a time; compiled code stays in torch's cache."""
    dataset = bench_dataset(folder / f"{n}_{rattle}", n, rattle=rattle)
    GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0)
    waiting = list(cases)
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < side_by_side:
            model, width = waiting.pop(0)
            parts = (str(dataset.folder), model, width, n, batch_size, precision)
            program = f"from optiscale.bench.measure import compile_one; compile_one{parts!r}"
            command = [sys.executable, "-W", "ignore", "-c", program]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        running[0].wait()
        running = [process for process in running if process.poll() is None]


def compile_one(folder: str, model: str, width: int, n: int, batch_size: int, precision: str) -> None:
    """Compile one case on the CUDA device; `compile_cases` calls this in a program of its own."""
    dataset = OpticalDataset(folder)
    study = _study(dataset, epochs=4, batch_size=batch_size, precision=precision, path="auto", device="cuda")
    whole_run(study, Cell(model, width, _largest_subset(n, batch_size), 1, 0), dataset)


def _study(dataset: OpticalDataset, *, epochs: int, batch_size: int, precision: str, path: str, device: str) -> Study:
    content = bench_study(
        dataset.folder, epochs=epochs, batch_size=batch_size, precision=precision, path=path, device=device
    )
    return Study.model_validate(content)


def _largest_subset(n: int, batch_size: int) -> int:
    return max(2, int(0.42 * n) // batch_size * batch_size)
