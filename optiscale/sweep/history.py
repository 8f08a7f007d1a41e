"""What earlier runs took: the first thing a plan asks."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pandas as pd

from optiscale.config import RESOLVED, Study, load_study
from optiscale.errors import UserError
from optiscale.io import value_hash
from optiscale.sweep.cost import Cost, Rates, Work, work_of
from optiscale.sweep.records import read_record
from optiscale.sweep.slowdown import assumed, cards_of
from optiscale.training import Cell
from optiscale.training.cell import baseline_config, network_config
from optiscale.training.options import on_gpu
from optiscale.training.record import RECORD, cpu_name, versions_of

#: how far beyond the batches of earlier runs their times are trusted
_BEYOND = 1.5
_COLUMNS = ["model", "width", "D", "seed", "subset_seed", "status", "wall_s", "validation_s", "peak_memory_mb"]
_COLUMNS += ["micro_batch", "resumed_from", "at_once", "device", "host", "versions", "data_hash"]


@dataclass(frozen=True)
class Sample:
    """A run that finished; seconds and MiB; `at_once` runs were on its machine, if that is known."""

    D: int
    work: Work
    wall_s: float
    validation_s: float
    memory_mb: float
    at_once: int | None = None

    def slowed(self, factor: float) -> Sample:
        """Return the run as it would be among more or fewer others."""
        return replace(self, wall_s=self.wall_s * factor, validation_s=self.validation_s * factor)


class History:
    """Runs that say what the runs to come will take.

    They count where the network or baseline, its batch and precision, the targets, the graphs, the data set and its
    split, the versions and the device are the same. On a CPU the runs of this machine come before those of others.
    Runs among as many others as there will be come first. The others are slowed down or sped up by what runs of the
    same cells with both numbers tell, else by assumption.

    Parameters
    ----------
    study
        The runs to come.
    data_hash
        Of their data set.
    threads
        Torch threads of a run.
    at_once
        Runs to come side by side on a machine.
    """

    def __init__(self, study: Study, data_hash: str, *, threads: int, at_once: int = 1) -> None:
        self.study = study
        self.data_hash = data_hash
        self.threads = threads
        self.at_once = at_once
        self._samples: dict[str, list[Sample]] = {}
        self._elsewhere: dict[str, list[Sample]] = {}

    def add(self, study: Study, records: Iterable[Mapping[str, Any]]) -> None:
        """Take in the records of a study."""
        places: dict[tuple[str, int | None], tuple[str, str, str]] = {}
        for record in records:
            cell = Cell(*(_or_none(record[name]) for name in ("model", "width", "D", "seed", "subset_seed")))
            if cell.model not in study.models or not _is_plain(record):
                continue
            key = (cell.model, cell.width)
            if key not in places:
                places[key] = (speed_hash(study, cell), self._device(study, cell), self._versions(study, cell))
            place, device, versions = places[key]
            if (record["data_hash"], record["device"], record["versions"]) != (self.data_hash, device, versions):
                continue
            here = device != self._cpu or record["host"] == platform.node()
            wall_s, validation_s, memory_mb = (
                _number(record.get(name)) for name in ("wall_s", "validation_s", "peak_memory_mb")
            )
            work, at_once = work_of(study, cell), _or_none(record.get("at_once"))
            sample = Sample(cell.D, work, wall_s, validation_s, memory_mb, at_once)
            (self._samples if here else self._elsewhere).setdefault(place, []).append(sample)

    def costs(self, cells: Sequence[Cell]) -> dict[Cell, Cost]:
        """Return what cells take, as far as earlier runs tell it."""
        found: dict[Cell, Cost] = {}
        groups: dict[tuple[str, int | None, int], Cost | None] = {}
        for cell in cells:
            group = (cell.model, cell.width, cell.D)
            if group not in groups:
                place = speed_hash(self.study, cell)
                samples = self._samples.get(place) or self._elsewhere.get(place, [])
                groups[group] = self._cost(cell, samples)
            if (cost := groups[group]) is not None:
                found[cell] = cost
        return found

    def _cost(self, cell: Cell, samples: Sequence[Sample]) -> Cost | None:
        alike = [one for one in samples if one.at_once in (None, self.at_once)]
        if (cost := self._told(cell, alike)) is not None:
            return cost
        others = [one for one in samples if one not in alike]
        cards = cards_of(self.study.models[cell.model])
        slowed = [one.slowed(self._slowdown(one.at_once or 1, cards)) for one in others]
        cost = self._told(cell, slowed)
        counts = ", ".join(str(count) for count in sorted({one.at_once or 1 for one in others}))
        return None if cost is None else replace(cost, source=f"{cost.source} ({counts} at once)")

    def _slowdown(self, before: int, cards: int) -> float:
        """Return how many times as long a run takes as among as many as before; of the same cells, or assumed."""
        times: dict[tuple[str, int, Work], dict[int, list[float]]] = {}
        for place, samples in self._samples.items():
            for one in samples:
                times.setdefault((place, one.D, one.work), {}).setdefault(one.at_once or 0, []).append(one.wall_s)
        both = [of for of in times.values() if before in of and self.at_once in of]
        if both:
            return median(mean(of[self.at_once]) / mean(of[before]) for of in both)
        now, then = (assumed(count, threads=self.threads, cards=cards) for count in (self.at_once, before))
        return now / then

    def _told(self, cell: Cell, samples: Sequence[Sample]) -> Cost | None:
        work = work_of(self.study, cell)
        same = [sample for sample in samples if sample.D == cell.D and sample.work == work]
        if same:
            seconds = float(np.mean([sample.wall_s for sample in same]))
            return Cost(seconds, max(sample.memory_mb for sample in same), "records")
        if not samples or self.study.models[cell.model].baseline is not None:
            return None  # what a baseline takes does not follow from its steps
        batches = [sample.work.batch for sample in samples]
        if not min(batches) / _BEYOND <= work.batch <= max(batches) * _BEYOND:
            return None
        return rates_of(samples).cost(work)

    @property
    def _cpu(self) -> str:
        return cpu_name(self.threads)

    def _device(self, study: Study, cell: Cell) -> str:
        model = study.models[cell.model]
        if model.baseline is not None or not on_gpu(model.training):
            return self._cpu
        import torch

        return torch.cuda.get_device_name()

    def _versions(self, study: Study, cell: Cell) -> str:
        return versions_of(study.models[cell.model])


def rates_of(samples: Sequence[Sample]) -> Rates:
    """Fit what a step, a crystal, an epoch and a validation take to runs of a network: least squares of the ratios."""
    from scipy.optimize import nnls

    rows, times = [], []
    for sample in samples:
        work = sample.work
        rows.append([work.steps, work.steps * work.batch, work.epochs, work.validations])
        times.append(sample.wall_s)
        if math.isfinite(sample.validation_s):
            rows.append([0.0, 0.0, 0.0, work.validations])
            times.append(sample.validation_s)
    weight = 1 / np.maximum(np.array(times), 1e-9)
    step, crystal, epoch, validation = nnls(np.array(rows) * weight[:, None], np.ones(len(times)))[0]
    return Rates(
        step=step,
        crystal=crystal,
        epoch=epoch,
        validation=validation,
        begin=0.0,
        memory=max(sample.memory_mb for sample in samples),
        memory_crystal=0.0,
        source="records of other D",
    )


def speed_hash(study: Study, cell: Cell) -> str:
    """Return a hash of what decides how long a step of a cell takes, its D apart."""
    model = study.models[cell.model]
    if model.baseline is not None:
        what = [baseline_config(study, cell).model_dump(mode="json")]
    else:
        training = model.training.model_dump(mode="json", include={"batch_size", "precision", "path"})
        what = [network_config(study, cell).model_dump(mode="json"), training, study.graph.model_dump(mode="json")]
    return value_hash([*what, model.components, model.scalars, study.data.split.model_dump(mode="json")])


def records_in(folder: Path) -> tuple[Study, list[dict[str, Any]]]:
    """Read the study of a results folder and its rows, from `runs.parquet` or, without it, from its cells.

    Raises
    ------
    UserError
        If it is no results folder.
    """
    if not (folder / RESOLVED).exists():
        raise UserError(f"{folder}: no results folder ({RESOLVED} is missing); name one with --like")
    table = folder / "runs.parquet"
    if table.exists():
        rows = pd.read_parquet(table).reindex(columns=_COLUMNS).to_dict("records")
        return load_study(folder / RESOLVED), [{str(name): value for name, value in row.items()} for row in rows]
    found = (read_record(path.parent) for path in sorted((folder / "cells").glob(f"*/{RECORD}")))
    return load_study(folder / RESOLVED), [record for record in found if record is not None]


def _is_plain(record: Mapping[str, Any]) -> bool:
    """Whether a run took what such a run takes: it finished, in one go and with whole batches."""
    return (
        record["status"] == "finished"
        and _or_none(record.get("micro_batch")) is None
        and _or_none(record.get("resumed_from")) is None
        and math.isfinite(_number(record.get("wall_s")))
    )


def _or_none(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _number(value: Any) -> float:
    value = _or_none(value)
    return math.nan if value is None else float(value)
