"""What a running sweep tells other programs: one small file, rewritten every few seconds."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import psutil

from optiscale.io import read_json, write_json

#: in the results folder, while a program runs the study
LIVE = "running.json"
_EVERY_S = 2.0


@dataclass
class Running:
    """A run on its way; `left_s` is the time that it will still take, if that is known."""

    cell: str
    worker: str
    steps: int
    step: int = 0
    val_loss: float | None = None
    left_s: float | None = None


class LiveFile:
    """The file of one program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = -_EVERY_S

    @property
    def is_due(self) -> bool:
        """Whether the last time was some seconds ago."""
        return time.monotonic() - self._written >= _EVERY_S

    def write(self, running: Sequence[Running], *, done: int, runs: int, left: str) -> None:
        """Write it anew; a full disk is no reason to stop."""
        self._written = time.monotonic()
        content = {
            "host": platform.node(),
            "pid": os.getpid(),
            "began": psutil.Process().create_time(),
            "done": done,
            "runs": runs,
            "left": left,
            "running": [asdict(run) for run in running],
        }
        with contextlib.suppress(OSError):
            write_json(self.path, content)

    def remove(self) -> None:
        """Say that the program has ended."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def read_live(out: Path) -> dict[str, Any] | None:
    """Return what a program says that runs a study now, and the age of that in seconds, or None if none does.

    A program that was killed leaves its file; where it ran on this machine, the file counts for nothing then. The time
    a process began tells it from a later one of the same number.
    """
    try:
        age = max(0.0, time.time() - (out / LIVE).stat().st_mtime)
        content: dict[str, Any] = {**read_json(out / LIVE), "age_s": age}
    except (FileNotFoundError, JSONDecodeError):
        return None
    if content["host"] != platform.node():
        return content
    try:
        alive = abs(psutil.Process(content["pid"]).create_time() - content["began"]) < 1.0
    except psutil.NoSuchProcess:
        return None
    return content if alive else None
