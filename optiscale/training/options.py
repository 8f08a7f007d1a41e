"""What a caller may ask of a run, and how it is kept safe; without torch, so that those who only plan need none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optiscale.config import Training

if TYPE_CHECKING:
    import pytorch_lightning as pl

#: name of a run's checkpoint in its folder
CHECKPOINT = "last.ckpt"
#: torch_geometric's layers; ours on merged graphs, with all data on the device and many steps at once (on a card
#: captured); these compiled
Way = Literal["plain", "resident", "compiled"]


class RunStopped(Exception):  # noqa: N818  not an error
    """A run was asked to stop; its checkpoint is on disk."""


@dataclass(frozen=True)
class Safety:
    """How a run is kept safe; none of it changes the result.

    Attributes
    ----------
    checkpoint
        The file to write.
    every_s
        Seconds between checkpoints; a shorter run writes none.
    at_end
        Whether the end of the training is worth a checkpoint, too.
    stop
        Asked before every step of Lightning, which may be many of ours; the reason to stop, or None. The checkpoint is
        written first.
    beat
        Called as often, with the number of steps done.
    """

    checkpoint: Path
    every_s: float
    at_end: bool = False
    stop: Callable[[], str | None] = lambda: None
    beat: Callable[[int], None] = lambda step: None  # noqa: ARG005


@dataclass(frozen=True)
class RunOptions:
    """What a caller may add to a run without changing its result.

    Attributes
    ----------
    git_commit
        Of the code, for the record.
    threads
        Torch threads, or None for torch's choice.
    report
        Called with the step and the validation loss after every validation.
    callbacks, logger
        More of Lightning's, for `optiscale train`.
    resume_from
        A checkpoint of this cell, or None.
    safety
        Checkpoints, stop on request, signs of life; or None.
    micro_batch
        Crystals that pass the network at a time, or None for the whole batch (see `OpticalModule`).
    provenance
        More fields for the record.
    way
        How to compute; None leaves it to `way_of`.
    """

    git_commit: str = "unknown"
    threads: int | None = None
    report: Callable[[int, float], None] | None = None
    callbacks: Sequence[pl.Callback] = ()
    logger: Any = False
    resume_from: Path | None = None
    safety: Safety | None = None
    micro_batch: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    way: Way | None = None


def on_gpu(training: Training) -> bool:
    """Whether a run takes a CUDA device."""
    if training.device != "auto":
        return training.device == "cuda"
    import torch

    return torch.cuda.is_available()
