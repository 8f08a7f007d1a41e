"""What networks take where as many runs as there will be go on at once: each process measures, and the means count.

Runs on one machine share its caches, its memory bandwidth and its cards, and slow each other down.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Any

from optiscale.config import Study, parse_study
from optiscale.dataset import open_source
from optiscale.sweep.calibrate import calibrate, mean_of
from optiscale.sweep.cost import Measured
from optiscale.sweep.jobs import SweepStopped
from optiscale.sweep.own import import_all, modules_of
from optiscale.sweep.plan import PlannedCell
from optiscale.sweep.processes import no_interrupts, pin, pins, worker_context
from optiscale.sweep.stopping import stop_requested

_START_S = 120.0  # for all to stand ready
_TICK_S = 0.2


def calibrate_together(
    study: Study,
    cells: Sequence[PlannedCell],
    *,
    n_validation: int,
    limit_s: float,
    threads: int,
    at_once: int,
) -> Measured:
    """Measure in as many processes as there will be runs at once, placed as these will be.

    Parameters
    ----------
    study, cells, n_validation, limit_s
        As of :func:`optiscale.sweep.calibrate.calibrate`.
    threads
        Of torch, in each process.
    at_once
        Processes.

    Returns
    -------
    Measured
        The means over the processes. If one was killed, as for lack of memory, those of the others.

    Raises
    ------
    SweepStopped
        If the program was asked to stop.
    UserError
        If the networks have parts that other processes do not see.
    """
    modules = modules_of(study)
    context = worker_context()
    largest = {(one.cell.model, one.cell.width, one.cell.D): one for one in cells}  # seeds take the same
    barrier = context.Barrier(at_once)
    ways: dict[Connection, Any] = {}
    try:
        with no_interrupts():
            for place in range(at_once):
                mine, theirs = context.Pipe(duplex=False)
                parts = (modules, study.resolved(), list(largest.values()), n_validation, limit_s, threads)
                process = context.Process(
                    target=_measure, args=(theirs, barrier, pins(place, at_once), *parts), daemon=True
                )
                process.start()
                theirs.close()
                ways[mine] = process
        found = _collected(list(ways), barrier)
    finally:
        for process in ways.values():
            process.kill()
            process.join()
    if len(found) < at_once:
        print(
            f"{at_once - len(found)} of {at_once} short fits at once were killed (often for lack of memory): the runs "
            "may be, too; fewer --workers need less",
            file=sys.stderr,
        )
    if not found:
        return Measured({}, {(one.cell.model, one.cell.width): "the process was killed" for one in cells})
    return mean_of(found)


def _collected(ways: Sequence[Connection], barrier: Barrier) -> list[Measured]:
    """Wait for what each process says; one that was killed says nothing, and the others do not wait for it."""
    left, found = list(ways), []
    while left:
        if (reason := stop_requested()) is not None:
            raise SweepStopped(reason)
        ready = wait(left, timeout=_TICK_S)
        for way in [one for one in left if one in ready]:
            left.remove(way)
            try:
                found.append(way.recv())
            except EOFError:
                barrier.abort()
    return found


def _measure(
    way: Connection,
    barrier: Barrier,
    environment: dict[str, str],
    modules: Sequence[str],
    content: dict[str, Any],
    cells: Sequence[PlannedCell],
    n_validation: int,
    limit_s: float,
    threads: int,
) -> None:
    """Measure, in a process of its own."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program answers
    os.environ.update(environment)
    pin()
    torch.set_num_threads(threads)
    import_all(modules)
    study = parse_study(content)
    dataset = open_source(study.data.source)
    with contextlib.suppress(BrokenBarrierError):  # one did not come: the others measure all the same
        barrier.wait(_START_S)
    way.send(calibrate(study, cells, dataset, n_validation=n_validation, limit_s=limit_s))
    way.close()
