"""A network of a user that raises, or takes its process with it."""

from __future__ import annotations

import os
import signal

import torch


class Broken(torch.nn.Module):
    """Goes wrong in training, not when it is built."""

    needs_angles = False

    def __init__(self, *, how: str, **_: object) -> None:
        super().__init__()
        self.how = how
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: object) -> None:
        if self.how == "die" and _in_training():
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("no good")


def _in_training() -> bool:
    import inspect

    return any(frame.function == "run_cell" for frame in inspect.stack())
