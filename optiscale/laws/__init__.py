"""Scaling laws for any table of losses: read it, average the seeds, fit, compare, write tables.

>>> from optiscale.laws import average_seeds, fit_study, load_published
>>> fits = fit_study(average_seeds(load_published()))

Needs none of our training: the rest of OptiScale is never imported here.
"""

from __future__ import annotations

from optiscale.laws import catalogue as _catalogue  # registers the laws
from optiscale.laws.fit import FitOptions, fit_law
from optiscale.laws.losses import average_seeds, read_losses
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.published import fit_published
from optiscale.laws.reference import load_published, load_published_tables
from optiscale.laws.registry import LAWS, Law, get_law, register
from optiscale.laws.report import write_tables
from optiscale.laws.result import LawFit
from optiscale.laws.study import Series, StudyFits, fit_study

__all__ = [
    "LAWS",
    "FitOptions",
    "Law",
    "LawFit",
    "Noise",
    "Points",
    "Series",
    "StudyFits",
    "average_seeds",
    "estimate_noise",
    "fit_law",
    "fit_published",
    "fit_study",
    "get_law",
    "load_published",
    "load_published_tables",
    "read_losses",
    "register",
    "write_tables",
]
