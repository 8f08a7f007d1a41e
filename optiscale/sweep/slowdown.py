"""How much longer a run takes beside others on the same machine, where no measurement says it."""

from __future__ import annotations

import os

from optiscale.config import Model
from optiscale.training.options import on_gpu

#: as two runs on two cores do (benchmarks/sweep_workers.py): they share caches and memory bandwidth
SHARED = 1.15


def assumed(at_once: int, *, threads: int, cards: int = 0) -> float:
    """Return how many times as long a run takes as alone.

    Parameters
    ----------
    at_once
        Runs on the machine at once.
    threads
        Of each run.
    cards
        That they share, if they run on cards. Those of one card are thought to take turns: that is the most it may be.
    """
    if at_once == 1:
        return 1.0
    if cards:
        return float(-(-at_once // cards))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return SHARED * max(1.0, at_once * threads / cores)


def cards_of(model: Model) -> int:
    """Return how many cards of this machine the runs of a model share; none where they run on its processor."""
    if model.baseline is not None or not on_gpu(model.training):
        return 0
    import torch

    return max(1, torch.cuda.device_count())
