"""How long workers take for runs that are handed out in an order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class Schedule:
    """Workers that each take the next run when they are free.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        self._free = [0.0] * workers  # a heap of the times when each worker is free

    def ends(self, seconds: Iterable[float]) -> float:
        """Return when the last of more runs would end, in seconds; they are not added."""
        free, last = list(self._free), 0.0
        for each in seconds:
            last = max(last, _take(free, each))
        return last

    def add(self, seconds: Iterable[float]) -> None:
        """Add runs."""
        for each in seconds:
            _take(self._free, each)

    @property
    def end(self) -> float:
        """When the last run ends."""
        return max(self._free)


def _take(free: list[float], seconds: float) -> float:
    end = free[0] + seconds
    heapq.heapreplace(free, end)
    return end


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Return when the last run ends if each worker takes the next in order as soon as it is free.

    Parameters
    ----------
    seconds
        Of each run, in order.
    workers
        How many.
    """
    schedule = Schedule(workers)
    schedule.add(seconds)
    return schedule.end
