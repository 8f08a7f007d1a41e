"""What a row of `runs.parquet` says: what was run, what made it, how it ended."""

from __future__ import annotations

import functools
import math
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from optiscale import __version__
from optiscale.config import Model, Study, Training
from optiscale.training.cell import Cell, cell_hash

if TYPE_CHECKING:
    import torch

    from optiscale.training.recorder import Recorder

RECORD = "record.json"
CURVE = "curve.parquet"
WEIGHTS = "best.safetensors"
CURVE_COLUMNS = ("epoch", "step", "lr", "train_loss", "val_loss", "val_eps_loss", "val_drude_loss")
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
PACKAGES = ("torch", "pytorch-lightning", "torch-geometric", "numpy", "numba")
BASELINE_PACKAGES = ("scikit-learn", "matminer", "numpy")


def identity(study: Study, cell: Cell, *, N: int | None, data_hash: str, git_commit: str) -> dict[str, Any]:
    """Return the part of a row that is known before the run."""
    model = study.models[cell.model]
    unit, every = validation_interval(model.training)
    return {
        "study": study.name,
        "cell": cell.id,
        "model": cell.model,
        "D": cell.D,
        "width": cell.width,
        "N": N,
        "seed": cell.seed,
        "subset_seed": cell.subset_seed,
        "validate_every": f"{every} {unit}" if model.baseline is None else None,
        "versions": versions_of(model),
        "config_hash": cell_hash(study, cell),
        "data_hash": data_hash,
        "git_commit": git_commit,
        "recorded_at": pd.Timestamp.now(tz="UTC").isoformat(timespec="seconds"),
    }


def versions_of(model: Model) -> str:
    """Return the versions of what can change the results of a model, its speed, or both."""
    return _versions(PACKAGES if model.baseline is None else BASELINE_PACKAGES)


@functools.cache
def _versions(names: tuple[str, ...]) -> str:
    packages = {name: version(name) for name in names}
    both = {"optiscale": __version__, **packages, "python": platform.python_version()}
    return " ".join(f"{name}={number}" for name, number in both.items())


def lost_record(
    study: Study, cell: Cell, *, N: int | None, data_hash: str, git_commit: str, status: str, message: str
) -> dict[str, Any]:
    """Return the row of a run whose process ended before it could write one."""
    return {
        **identity(study, cell, N=N, data_hash=data_hash, git_commit=git_commit),
        "val_loss": math.nan,
        "status": status,
        "message": message,
    }


def losses_of(recorder: Recorder) -> dict[str, float | None]:
    """Return L_val, its two parts and where it was reached; NaN where no validation or no such target was."""
    best = recorder.best or {}
    last = recorder.rows[-1] if recorder.rows else {}
    return {
        "val_loss": best.get("val_loss", math.nan),
        "val_eps_loss": best.get("val_eps_loss", math.nan),
        "val_drude_loss": best.get("val_drude_loss", math.nan),
        "best_epoch": best.get("epoch"),
        "best_step": best.get("step"),
        "train_loss": last.get("train_loss", math.nan),
    }


def validation_interval(training: Training) -> tuple[str, int]:
    """Return the unit and number of the validation interval, e.g. ("epochs", 1)."""
    every = training.validate_every
    return ("epochs", every.epochs) if every.epochs is not None else ("steps", every.steps or 1)


def reset_peak_memory(device: torch.device | None) -> None:
    """Start the count of `peak_memory_mb` anew; several runs may share a process."""
    if device is not None and device.type == "cuda":
        import torch

        if torch.cuda.is_initialized():  # else there is nothing to reset, and asking for it is an error
            torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # Linux: the high-water mark becomes the memory in use now


def peak_memory_mb(device: torch.device | None) -> float:
    """Peak memory of a run in MiB: of the card, or of the process (NaN where the system does not say)."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    if not _STATUS.exists():
        return math.nan
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    return int(found.group(1)) / 1024 if found else math.nan


def device_name(device: torch.device) -> str:
    """Name of the card, or "cpu" with its threads."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(torch.get_num_threads())


def cpu_name(threads: int) -> str:
    """Name of the processor in a row, with the threads of the run."""
    return f"cpu, {threads} threads"


def one_line(error: BaseException) -> str:
    """Class and message of an error without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
