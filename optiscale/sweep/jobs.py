"""What an executor is given and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optiscale.training import Cell

#: status and message of a run whose process ended before it could write its record
Lost = tuple[str, str]


@dataclass(frozen=True)
class Job:
    """A cell to run, where to, and its estimated seconds."""

    cell: Cell
    folder: Path
    seconds: float


class SweepStopped(Exception):  # noqa: N818  not an error
    """The sweep was asked to stop; runs on their way wrote their checkpoints."""
