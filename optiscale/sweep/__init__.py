"""Sweeps: plan, run what is missing, merge."""

from optiscale.sweep.estimate import costs_of
from optiscale.sweep.executors import Executor
from optiscale.sweep.grid import GridResult, run_grid
from optiscale.sweep.jobs import SweepStopped
from optiscale.sweep.join import Joined, join
from optiscale.sweep.plan import PlannedCell, cells_of, plan

__all__ = [
    "Executor",
    "GridResult",
    "Joined",
    "PlannedCell",
    "SweepStopped",
    "cells_of",
    "costs_of",
    "join",
    "plan",
    "run_grid",
]
