"""Processes of this machine that run networks beside this one: workers, and short fits before them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

#: environment of a process: the cores it may use
CORES = "OPTISCALE_CORES"
_KEEP_MEMORY = str(2**30)
#: of Dask
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a killed worker is a lost run; we say how often to try again
    "distributed.scheduler.worker-ttl": None,  # measured with a clock that may be set; processes tell their end
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.admin.tick.limit": "1h",  # torch holds the interpreter for longer than Dask likes
    # Dask makes malloc give memory back at once, torch asks for it again in the next step: a third of the time
    # would go into page faults
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEEP_MEMORY,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEEP_MEMORY,
    "distributed.nanny.pre-spawn-environ.PYTHONHASHSEED": "6640",  # Dask's own, for processes that it did not start
}
_PRELOAD = ["optiscale.sweep.worker", "optiscale.training.loggers", "optiscale.training.assemble"]


def worker_context() -> ForkServerContext:
    """Return what starts processes as workers are started, with their environment.

    They are forked from a process that has imported everything: one import of torch, whatever their number, and the
    next one stands at once where one was killed.
    """
    import dask
    import distributed  # noqa: F401  has the defaults of the settings

    with dask.config.set(SETTINGS):
        for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items():
            os.environ.setdefault(name, str(value))  # as Dask's nannies do, who may come too late for the first process
    context = get_context("forkserver")  # the one that Dask takes
    context.set_forkserver_preload(_PRELOAD)
    return context


def pins(place: int, workers: int) -> dict[str, str]:
    """Return the environment that pins a worker to its GPU, shared with others where there are more workers, and cores.

    Parameters
    ----------
    place, workers
        Which worker of how many on this machine.
    """
    import torch

    environment = {}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    share = len(cores) // workers
    if share:
        environment[CORES] = ",".join(str(core) for core in cores[place * share : (place + 1) * share])
    gpus = torch.cuda.device_count()
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(gpu) for gpu in range(gpus))
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place % gpus]
    return environment


def pin() -> None:
    """Stay on the cores that the environment names."""
    if cores := os.environ.get(CORES):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: a terminal sends it to all of them, and only this one is to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread; a notebook or a server sets its own
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
