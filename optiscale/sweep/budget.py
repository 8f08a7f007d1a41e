"""A time budget: as a user writes it, and kept while runs go on."""

from __future__ import annotations

import re
import time

from optiscale.errors import UserError
from optiscale.sweep.jobs import Job

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """Read a length of time.

    Parameters
    ----------
    text
        A positive number and its unit: ``30s``, ``90min``, ``2h``, ``1.5d``.

    Raises
    ------
    UserError
        If it is none.
    """
    found = re.fullmatch(rf"\s*(\d+(?:\.\d*)?|\.\d+)\s*({'|'.join(_UNITS)})\s*", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise UserError(f"--budget {text}: no length of time; write a number and s, min, h or d, such as 90min or 2h")
    return seconds


class Deadline:
    """Says whether a run still ends in time, by what the runs before it took.

    Parameters
    ----------
    budget_s
        Seconds from now.
    """

    def __init__(self, budget_s: float) -> None:
        self._end = time.monotonic() + budget_s
        self._estimated = self._measured = 0.0
        self.refused: set[str] = set()

    @property
    def left(self) -> float:
        """Seconds until it."""
        return max(0.0, self._end - time.monotonic())

    def ended(self, job: Job, seconds: float) -> None:
        """Learn what a run took."""
        self._estimated += job.seconds
        self._measured += seconds

    def allows(self, job: Job) -> bool:
        """Whether a run would end in time if it began now; the first ones are trusted to take what was estimated."""
        pace = self._measured / self._estimated if self._estimated else 1.0
        if job.seconds * pace <= self.left:
            return True
        self.refused.add(job.cell.id)
        return False
