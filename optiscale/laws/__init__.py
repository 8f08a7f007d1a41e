"""Scaling laws for any table of losses: read it, average the seeds, fit, hold out, choose, say how sure it is.

>>> from optiscale.laws import average_seeds, fit_study, load_published
>>> fits = fit_study(average_seeds(load_published()))

Needs none of our training: the rest of OptiScale is never imported here.
"""

from __future__ import annotations

from optiscale.laws import catalogue  # registers the laws
from optiscale.laws.breaks import Break, how_broken
from optiscale.laws.choice import Choice
from optiscale.laws.choosing import choose, choose_many
from optiscale.laws.extrapolation import Holdout, rolling_origin
from optiscale.laws.fit import FitOptions, fit_law, fit_many
from optiscale.laws.losses import average_seeds, read_losses, read_table
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.published import fit_published
from optiscale.laws.reference import load_published, load_published_tables
from optiscale.laws.registry import LAWS, Law, get_law, register
from optiscale.laws.report import write_tables
from optiscale.laws.result import LawFit
from optiscale.laws.study import Series, StudyFits, fit_study
from optiscale.laws.uncertainty import Interval, bootstrap, profile

__all__ = [
    "LAWS",
    "Break",
    "Choice",
    "FitOptions",
    "Holdout",
    "Interval",
    "Law",
    "LawFit",
    "Noise",
    "Points",
    "Series",
    "StudyFits",
    "average_seeds",
    "bootstrap",
    "catalogue",
    "choose",
    "choose_many",
    "estimate_noise",
    "fit_law",
    "fit_many",
    "fit_published",
    "fit_study",
    "get_law",
    "how_broken",
    "load_published",
    "load_published_tables",
    "profile",
    "read_losses",
    "read_table",
    "register",
    "rolling_origin",
    "write_tables",
]
