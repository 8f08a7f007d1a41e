"""What networks take on this machine, from short fits to the data set, on the way that the runs will take."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.sweep.cost import MEASURED, Key, Measured, Rates, work_of
from optiscale.sweep.plan import PlannedCell
from optiscale.sweep.probe import Probe, ProbeError, probe
from optiscale.training.options import on_gpu

_NUMBERS = ("step", "crystal", "epoch", "validation", "begin", "memory", "memory_crystal")
_SMALL = 8  # crystals of the first fit of a network
_FIT_S = 3.0


def calibrate(
    study: Study, cells: Sequence[PlannedCell], dataset: OpticalDataset, *, n_validation: int, limit_s: float
) -> Measured:
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
    Measured
        Rates of each model and width, and what went wrong.
    """
    sizes = {(one.cell.model, one.cell.width): one.N for one in cells}
    keys = sorted(sizes, key=lambda key: sizes[key])
    groups = {key: [one.cell for one in cells if key == (one.cell.model, one.cell.width)] for key in keys}
    largest = {key: max(group, key=lambda cell: cell.D) for key, group in groups.items()}
    rows = {key: max(work_of(study, cell).largest for cell in group) for key, group in groups.items()}
    clock = _Clock(limit_s, fits=2 * len(keys))
    probes: dict[Key, list[Probe]] = {}
    problems: dict[Key, str] = {}
    with contextlib.suppress(ProbeError):  # the first fit of a process is slow; if it fails, so does its network below
        probe(study, largest[keys[0]], dataset, 2, n_validation, seconds=0.0)
    for key in keys:
        before = [probes[other][0].spent * max(1.0, sizes[key] / sizes[other]) for other in probes if probes[other]]
        if not before or clock.allows(min(before)):  # one at least: the others follow from it
            batch = rows[key] if on_gpu(study.models[key[0]].training) else max(2, min(_SMALL, rows[key] // 4))
            try:
                probes[key] = [probe(study, largest[key], dataset, batch, n_validation, clock.share)]
            except ProbeError as error:
                problems[key] = str(error)
    for key in [key for key in keys if key in probes and rows[key] > probes[key][0].batch]:
        if clock.allows(probes[key][0].spent * rows[key] / probes[key][0].batch / 2):
            try:
                probes[key].append(probe(study, largest[key], dataset, rows[key], n_validation, clock.share))
            except ProbeError as error:  # no room for whole batches: the small one tells what it can
                problems[key] = str(error)
    # a card takes about as long for few crystals as for many: the launches of its kernels count
    on_card = {name for name, model in study.models.items() if on_gpu(model.training)}
    rates = {key: _rates(found, grows=key[0] not in on_card) for key, found in probes.items()}
    left = {key: sizes[key] for key in keys if key not in problems}
    return Measured(rates | _extrapolated(rates, left), problems)


def mean_of(measured: Sequence[Measured]) -> Measured:
    """Return the means of what several processes measured at the same time.

    Of each network those count that measured it themselves, if any did: one of them may have had less time. A network
    that failed in one of them failed.
    """
    problems = {key: why for one in measured for key, why in one.problems.items()}
    failed = {key for one in measured for key in one.problems if key not in one.rates}
    rates = {}
    for key in dict.fromkeys(key for one in measured for key in one.rates if key not in failed):
        found = [one.rates[key] for one in measured if key in one.rates]
        found = [each for each in found if each.source == MEASURED] or found
        means = {name: statistics.mean(getattr(each, name) for each in found) for name in _NUMBERS}
        rates[key] = replace(found[0], **means)
    return Measured(rates, problems)


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
        source=MEASURED,
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
