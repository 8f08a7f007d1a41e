"""Training as a study does it, everything included: Lightning, the gather, the update, validation, the record."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from optiscale.bench.rates import Rates
from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.training.assemble import assemble
from optiscale.training.cell import Cell
from optiscale.training.options import RunOptions, Way, on_gpu


@dataclass
class _Clock(pl.Callback):
    """When epochs and validations began and ended."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    _began: float = 0.0

    def _now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        self._began = self._now()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        now = self._now()
        self.train.append(now - self._began)
        self._began = now

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        self.validation.append(self._now() - self._began)
        self.losses.append(pl_module.validation["val/loss"])


@dataclass(frozen=True)
class WholeRun:
    """What a run showed.

    Attributes
    ----------
    rates
        Medians over the epochs after the first two.
    first_s
        The first epoch with its validation: compiling, capturing.
    losses
        Validation loss of every epoch.
    """

    rates: Rates
    first_s: float
    losses: list[float]


def whole_run(study: Study, cell: Cell, dataset: OpticalDataset, *, way: Way | None = None) -> WholeRun:
    """Train a cell and time its epochs; at least four, validated after each.

    Parameters
    ----------
    study, cell, dataset
        What to train.
    way
        How; None takes the quickest for long runs.
    """
    clock = _Clock()
    way = way or ("compiled" if on_gpu(study.models[cell.model].training) else "resident")
    run = assemble(study, cell, dataset, RunOptions(callbacks=(clock,), way=way))
    run.trainer.fit(run.module, datamodule=run.data)
    train, validation = (statistics.median(times[2:]) for times in (clock.train, clock.validation))
    rates = Rates(train=cell.D / train, validation=len(run.data.rows["validation"]) / validation)
    return WholeRun(rates=rates, first_s=clock.train[0] + clock.validation[0], losses=clock.losses)


def bench_study(
    folder: Path, *, epochs: int, batch_size: int, precision: str, path: str, device: str
) -> dict[str, Any]:
    """Return the content of a study file with the published networks and optimizers."""
    network = {"2B-TC": ("OptiMetal2B", "TC"), "2B-CGC": ("OptiMetal2B", "CGC"), "3B-TC": ("OptiMetal3B", "TC")}
    return {
        "name": "bench",
        "data": {"source": str(folder), "split": {"train": 0.45, "validation": 0.5, "test": 0.05}},
        "training": {
            "length": {"epochs": epochs},
            "batch_size": batch_size,
            "schedule": {"warmup": 1},
            "precision": precision,
            "path": path,
            "device": device,
        },
        "models": {
            name: {"network": {"type": kind, "message": message}, "optimizer": {"lr": 1e-3}}
            for name, (kind, message) in network.items()
        },
        "grid": [{"model": "2B-TC", "widths": [16], "data_sizes": [2], "seeds": [1]}],
    }
