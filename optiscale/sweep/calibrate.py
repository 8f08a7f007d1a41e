"""What networks take on this machine, from short fits to the data set, on the way that the runs will take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import pytorch_lightning as pl
import torch

from optiscale.config import Study
from optiscale.config.study import Length, Schedule, ValidateEvery
from optiscale.dataset import OpticalDataset
from optiscale.sweep.cost import Key, Rates, work_of
from optiscale.sweep.plan import PlannedCell
from optiscale.training import Cell, RunOptions
from optiscale.training.assemble import Run, assemble
from optiscale.training.options import on_gpu
from optiscale.training.record import peak_memory_mb, reset_peak_memory
from optiscale.training.run import quiet_lightning

_SMALL = 8  # crystals of the first fit of a network
_EPOCH = 3  # batches an epoch of a short fit
_WARM_UP = 2  # steps that are not counted, or the first third
_STEPS = 100
_FIT_S = 3.0


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


def calibrate(
    study: Study, cells: Sequence[PlannedCell], dataset: OpticalDataset, *, n_validation: int, limit_s: float
) -> dict[Key, Rates]:
    """Fit each network for some steps with small batches and with the study's, and take the time.

    Narrow networks come first. Where the time is too short for the next one, what it takes is extrapolated from
    the batches and widths before.

    Parameters
    ----------
    study, cells
        The networks of these cells are measured.
    dataset
        Batches come from it.
    n_validation
        Materials in the validation part.
    limit_s
        Seconds for all; a step that has begun is not cut short.

    Returns
    -------
    dict
        Rates of each model and width; without those that fail.
    """
    sizes = {(one.cell.model, one.cell.width): one.N for one in cells}
    keys = sorted(sizes, key=lambda key: sizes[key])
    groups = {key: [one.cell for one in cells if key == (one.cell.model, one.cell.width)] for key in keys}
    largest = {key: max(group, key=lambda cell: cell.D) for key, group in groups.items()}
    rows = {key: max(work_of(study, cell).largest for cell in group) for key, group in groups.items()}
    clock = _Clock(limit_s, fits=2 * len(keys))
    _probe(study, largest[keys[0]], dataset, 2, n_validation, seconds=0.0)  # the first fit of a process is slow
    probes: dict[Key, list[Probe]] = {}
    failed = set()
    for key in keys:
        before = [probes[other][0].spent * max(1.0, sizes[key] / sizes[other]) for other in probes if probes[other]]
        if not before or clock.allows(min(before)):  # one at least: the others follow from it
            batch = rows[key] if on_gpu(study.models[key[0]].training) else max(2, min(_SMALL, rows[key] // 4))
            probe = _probe(study, largest[key], dataset, batch, n_validation, clock.share)
            if probe is None:
                failed.add(key)
            else:
                probes[key] = [probe]
    for key in [key for key in keys if key in probes and rows[key] > probes[key][0].batch]:
        if clock.allows(probes[key][0].spent * rows[key] / probes[key][0].batch / 2):
            probe = _probe(study, largest[key], dataset, rows[key], n_validation, clock.share)
            probes[key] += [probe] if probe is not None else []
    # a card takes about as long for few crystals as for many: the launches of its kernels count
    on_card = {name for name, model in study.models.items() if on_gpu(model.training)}
    rates = {key: _rates(found, grows=key[0] not in on_card) for key, found in probes.items()}
    return rates | _extrapolated(rates, {key: sizes[key] for key in keys if key not in failed})


class _Clock:
    """Shares a time out among fits."""

    def __init__(self, limit_s: float, *, fits: int) -> None:
        self.end = time.monotonic() + limit_s
        self.share = min(_FIT_S, limit_s / fits)

    def allows(self, seconds: float) -> bool:
        """Whether there is time for something that takes so long."""
        return time.monotonic() + seconds < self.end


def _rates(probes: Sequence[Probe], *, grows: bool) -> Rates:
    """Join what was measured with one or two sizes of the batch; `grows` says what one size alone does not tell."""
    epochs = [probe.across - probe.step for probe in probes if math.isfinite(probe.across - probe.step)]
    epoch = max(0.0, statistics.mean(epochs)) if epochs else 0.0
    small, large = probes[0], probes[-1]
    times = [probe.step if math.isfinite(probe.step) else max(0.0, probe.across - epoch) for probe in (small, large)]
    crystal, memory = (times[0] / small.batch if grows else 0.0), 0.0
    if large.batch > small.batch:
        crystal = max(0.0, (times[1] - times[0]) / (large.batch - small.batch))
        memory = max(0.0, (large.memory - small.memory) / (large.batch - small.batch))
    return Rates(
        step=max(0.0, times[1] - large.batch * crystal),
        crystal=crystal,
        epoch=epoch,
        validation=large.validation,
        begin=min(probe.begin for probe in probes),
        memory=large.memory - large.batch * memory,
        memory_crystal=memory,
        source="measured",
    )


def _extrapolated(rates: Mapping[Key, Rates], sizes: Mapping[Key, int]) -> dict[Key, Rates]:
    """Return rates of networks that there was no time for, from the largest measured one, of their model if any."""
    found = {}
    for key, N in sizes.items():
        if key not in rates and rates:
            nearest = max(rates, key=lambda other: (other[0] == key[0], sizes[other]))
            width = "" if nearest[1] is None else f" width {nearest[1]}"
            found[key] = rates[nearest].scaled(N / sizes[nearest], f"extrapolated from {nearest[0]}{width}")
    return found


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


def _probe(
    study: Study, cell: Cell, dataset: OpticalDataset, batch: int, n_validation: int, seconds: float
) -> Probe | None:
    """Fit the network of a cell for a short time; None if it fails, as its runs will."""
    watch = _Stopwatch(seconds)
    began = time.perf_counter()
    try:
        with quiet_lightning():
            short = _short(study, cell, batch)
            if not on_gpu(study.models[cell.model].training):  # there the whole subset is on the card, in any case
                D = min(cell.D, _EPOCH * batch)
                cell = replace(cell, D=max(batch, D - D % batch))
            run = assemble(short, cell, dataset, RunOptions(callbacks=[watch]))
            memory = _fit(run)
    except Exception:  # whatever a user's network raises, or no memory: its runs will say it, the others go on
        return None
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


def _short(study: Study, cell: Cell, batch: int) -> Study:
    """Return the study with batches of a size, and no validation before the end of the training.

    Its length stays: on it depends the way that a run takes.
    """
    steps = work_of(study, cell).steps
    training = study.models[cell.model].training.model_copy(
        update={
            "length": Length(steps=steps),
            "schedule": Schedule(warmup=0),
            "validate_every": ValidateEvery(steps=steps),
            "batch_size": batch,
        }
    )
    changed = study.models[cell.model].model_copy(update={"training": training})
    return study.model_copy(update={"models": {**study.models, cell.model: changed}})
