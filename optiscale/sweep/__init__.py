"""Sweeps: plan, run what is missing, merge."""

from optiscale.sweep.grid import GridResult, estimates, run_grid
from optiscale.sweep.plan import PlannedCell, cells_of, plan

__all__ = ["GridResult", "PlannedCell", "cells_of", "estimates", "plan", "run_grid"]
