"""Runs that follow from results: plan, run, fit, and again, until an answer is known well enough."""

from optiscale.adaptive.goal import Goal, read_goal
from optiscale.adaptive.network import Candidate
from optiscale.adaptive.search import Finding, search
from optiscale.adaptive.until import run_until

__all__ = ["Candidate", "Finding", "Goal", "read_goal", "run_until", "search"]
