"""A network of a user that raises, takes its process with it (early: already in a measurement), hangs, or is slow."""

from __future__ import annotations

import inspect
import math
import os
import signal
import time
from pathlib import Path

import torch

from optiscale.networks import Prediction, TargetSpec


class Broken(torch.nn.Module):
    """Goes wrong in training, not when it is built."""

    needs_angles = False

    def __init__(self, *, targets: TargetSpec, how: str, once: str | None = None, **_: object) -> None:
        super().__init__()
        self.size = (targets.n_omega, len(targets.components))
        self.how = how
        self.once = None if once is None else Path(once)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: object) -> Prediction:
        if self.how == "die early":
            os.kill(os.getpid(), signal.SIGKILL)
        if _in_training() and not self._was_wrong():
            if self.how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            if self.how == "sleep":
                time.sleep(1e6)
        if self.how == "slow" and self.training and _in_training():
            time.sleep(0.5)
        if self.how in ("raise", "die"):
            raise ValueError("no good")
        n = batch.n_crystals  # type: ignore[attr-defined]
        value = self.weight * (math.nan if self.how == "nan" else 1.0)
        return Prediction(value.expand(n, *self.size), value.expand(n, 1))

    def _was_wrong(self) -> bool:
        """Whether this run went wrong before, if once is enough."""
        if self.once is None:
            return False
        there = self.once.exists()
        self.once.touch()
        return there


def _in_training() -> bool:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "run_cell":
        frame = frame.f_back
    return frame is not None
