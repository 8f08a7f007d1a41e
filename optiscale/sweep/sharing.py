"""Several runs on one GPU at the same time, by NVIDIA's Multi-Process Service (MPS) where the machine has it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CONTROL = "nvidia-cuda-mps-control"
PIPES = "CUDA_MPS_PIPE_DIRECTORY"
_ANSWER_S = 60.0
_LOG = logging.getLogger(__name__)


@contextmanager
def shared_gpus(workers: int) -> Iterator[dict[str, str]]:
    """Let workers that share a GPU compute on it at once, and give them the environment that they need for it.

    Without the service the processes of one GPU take turns, and small networks leave most of it idle
    (`benchmarks/side_by_side.py`). A service that the user has started is left alone.

    Parameters
    ----------
    workers
        Processes on this machine; with no more of them than GPUs nothing is started.

    Yields
    ------
    dict
        Environment of the workers; empty where there is nothing to share, or no service.
    """
    control = shutil.which(CONTROL)
    if control is None or PIPES in os.environ or not _share(workers):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="optiscale-mps-", ignore_cleanup_errors=True) as folder:
        environment = {PIPES: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        if not _started(control, environment):
            _LOG.warning("%s does not work on this machine: runs that share a GPU take turns", CONTROL)
            yield {}
            return
        try:
            yield environment
        finally:
            _tell(control, environment, "quit")


def _share(workers: int) -> bool:
    import torch

    return 0 < torch.cuda.device_count() < workers


def _started(control: str, environment: dict[str, str]) -> bool:
    """Start the service, and see whether a program finds a GPU through it."""
    # of all GPUs: workers name theirs by the numbers of this machine
    if not _succeeds([control, "-d"], {**environment, "CUDA_VISIBLE_DEVICES": ""}):
        return False
    if _succeeds([sys.executable, "-c", "import torch; torch.zeros(1, device='cuda')"], environment):
        return True
    _tell(control, environment, "quit")
    return False


def _tell(control: str, environment: dict[str, str], command: str) -> None:
    _succeeds([control], environment, command)


def _succeeds(command: list[str], environment: dict[str, str], text: str = "") -> bool:
    try:
        done = subprocess.run(
            command,
            env={name: value for name, value in {**os.environ, **environment}.items() if value},
            input=f"{text}\n",
            text=True,
            stdout=subprocess.DEVNULL,  # a service that goes into the background would keep a pipe open
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
