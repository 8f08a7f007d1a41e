"""A short fit of a network on the data and the way of its runs, with the time of each part."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import pytorch_lightning as pl
import torch

from optiscale.config import Study
from optiscale.config.study import Length, Schedule, ValidateEvery
from optiscale.dataset import OpticalDataset
from optiscale.sweep.cost import work_of
from optiscale.training import Cell, RunOptions
from optiscale.training.assemble import Run, assemble
from optiscale.training.options import on_gpu
from optiscale.training.record import one_line, peak_memory_mb, reset_peak_memory
from optiscale.training.run import quiet_lightning

_EPOCH = 25  # batches an epoch of a short fit: more than Lightning leaves to a processor at once
_WARM_UP = 2  # steps that are not counted, or the first third
_STEPS = 100


class ProbeError(Exception):
    """A short fit failed, for a reason in one line."""


@dataclass(frozen=True)
class Probe:
    """What a short fit took; seconds and MiB.

    Attributes
    ----------
    batch
        Crystals in a step.
    step
        A step; NaN where each was an epoch.
    across
        A step and the end of an epoch; NaN where there was none.
    validation
        Of the whole part.
    begin
        Before the first step.
    memory
        The peak.
    spent
        Altogether.
    """

    batch: int
    step: float
    across: float
    validation: float
    begin: float
    memory: float
    spent: float


class _Mark(NamedTuple):
    """When a step of Lightning began: on some ways it is many of ours."""

    time: float
    done: int
    place: int
    validations: int


class _Stopwatch(pl.Callback):
    """Notes when each step begins, and ends the fit."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.marks: list[_Mark] = []
        self.validated: list[float] = []
        self._began = 0.0

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        batch: object,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Note the time, the steps done and the place in the epoch."""
        self.marks.append(_Mark(_now(trainer), trainer.global_step, batch_idx, len(self.validated)))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:  # noqa: ARG002
        """End the fit after enough steps, or enough time."""
        if len(self.marks) > _WARM_UP + 1:
            late = _now(trainer) - self.marks[0].time > self.seconds
            trainer.should_stop = late or trainer.global_step >= _STEPS

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock of the validation."""
        self._began = _now(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Note what a validation took."""
        self.validated.append(_now(trainer) - self._began)

    def between(self, *, within: bool) -> float:
        """Return the median seconds of a step within an epoch, or of one that begins another; NaN if there is none."""
        times = [
            (then.time - now.time) / (then.done - now.done)
            for now, then in pairwise(self.marks[max(_WARM_UP, len(self.marks) // 3) :])
            if (then.place > 0) == within and then.validations == now.validations
        ]
        return statistics.median(times) if times else math.nan

    def before(self, began: float) -> float:
        """Return the seconds from a moment to the first step, and what the first steps take above the later ones."""
        steps = [self.between(within=True), self.between(within=False), 0.0]
        first = self.marks[min(_WARM_UP, len(self.marks) - 1)]
        return max(0.0, first.time - began - first.done * next(each for each in steps if math.isfinite(each)))


def _now(trainer: pl.Trainer) -> float:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def probe(study: Study, cell: Cell, dataset: OpticalDataset, batch: int, n_validation: int, seconds: float) -> Probe:
    """Fit the network of a cell for a short time.

    Parameters
    ----------
    study, cell
        The network, and the most materials that it may see.
    dataset
        Batches come from it.
    batch
        Crystals in a step.
    n_validation
        Materials in the validation part.
    seconds
        After which the fit is ended; a step that has begun is not cut short.

    Raises
    ------
    ProbeError
        If it fails, as the runs of the network will.
    """
    watch = _Stopwatch(seconds)
    began = time.perf_counter()
    try:
        with quiet_lightning():
            steps = work_of(study, cell).steps
            if not on_gpu(study.models[cell.model].training):  # there the whole subset is on the card, in any case
                D = min(cell.D, _EPOCH * batch)
                cell = replace(cell, D=max(batch, D - D % batch))
            run = assemble(_short(study, cell, batch, steps), cell, dataset, RunOptions(callbacks=[watch]))
            memory = _fit(run)
    except Exception as error:  # whatever a user's network raises, or no memory: the others go on
        raise ProbeError(one_line(error)) from error
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return Probe(
        batch=batch,
        step=watch.between(within=True),
        across=watch.between(within=False),
        validation=watch.validated[-1] * n_validation / run.module.validated,
        begin=watch.before(began),
        memory=memory,
        spent=time.perf_counter() - began,
    )


def _fit(run: Run) -> float:
    """Fit until the stopwatch ends it, with one batch of validation, and return the peak of the memory."""
    device = run.trainer.strategy.root_device
    run.trainer.limit_val_batches = 1
    reset_peak_memory(device)
    run.trainer.fit(run.module, datamodule=run.data, weights_only=True)
    return peak_memory_mb(device)


def _short(study: Study, cell: Cell, batch: int, steps: int) -> Study:
    """Return the study with batches of a size, and no validation before the end of the training.

    Its length stays, in the unit that it has: on them depend the way that a run takes and what the end of an epoch is.
    """
    training = study.models[cell.model].training
    if training.length.unit == "epochs":
        epochs = max(1, round(steps / -(-cell.D // batch)))
        length, every = Length(epochs=epochs), ValidateEvery(epochs=epochs)
    else:
        length, every = Length(steps=steps), ValidateEvery(steps=steps)
    training = training.model_copy(
        update={
            "length": length,
            "schedule": Schedule(warmup=0),
            "validate_every": every,
            "batch_size": batch,
        }
    )
    changed = study.models[cell.model].model_copy(update={"training": training})
    return study.model_copy(update={"models": {**study.models, cell.model: changed}})
