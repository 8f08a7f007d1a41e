"""What keeps a run safe: checkpoints between steps, a stop on request, signs of life."""

from __future__ import annotations

import io
import logging
import pickle
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from optiscale.io import atomic_save
from optiscale.training.options import RunStopped, Safety

_LOG = logging.getLogger(__name__)


class Guard(pl.Callback):
    """Does what `Safety` says, before each training step.

    Between two steps all of a run's state is weights, optimizer, schedule, counts and random numbers: the order of the
    data follows from seed and step (`optiscale.datamodule`). Lightning's own counts stand half-way into the next step
    where a callback can save, and a run resumed from them validates a step late, so they are put back to the step that
    is done.
    """

    def __init__(self, safety: Safety | None) -> None:
        self.safety = safety
        self._saved = time.monotonic()
        self._random: dict[str, Any] | None = None
        self._between_steps = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock of the checkpoints."""
        self._saved = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object) -> None:  # noqa: ARG002
        """Save if it is time, stop if asked.

        Raises
        ------
        RunStopped
            After the checkpoint was written.
        """
        if self._random is not None:
            _set_random_state(self._random)
            self._random = None
        if self.safety is None:
            return
        self.safety.beat(trainer.global_step)
        reason = self.safety.stop()
        if reason is not None or time.monotonic() - self._saved >= self.safety.every_s:
            self._between_steps = True
            self._save(trainer, self.safety.checkpoint)
            self._between_steps = False
        if reason is not None:
            raise RunStopped(reason)

    def on_validation_batch_start(self, trainer: pl.Trainer, *args: object) -> None:  # noqa: ARG002
        """Give a sign of life: a validation may take long."""
        if self.safety is not None:
            self.safety.beat(trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Save the end, if that is wanted."""
        if self.safety is not None and self.safety.at_end:
            self._save(trainer, self.safety.checkpoint)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Put Lightning's counts to the step that is done."""
        if not self._between_steps:
            return
        loop = checkpoint["loops"]["fit_loop"]
        batches, progress = loop["epoch_loop.batch_progress"], loop["epoch_progress"]
        batches["is_last_batch"] = False
        for count in (batches["total"], batches["current"]):
            count.update(dict.fromkeys(("ready", "started", "processed"), count["completed"]))
        for count in (progress["total"], progress["current"]):
            count.update(ready=count["started"], processed=count["started"] - 1, completed=count["started"] - 1)

    def state_dict(self) -> dict[str, Any]:
        """Random numbers, for networks that draw some."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the random numbers for the first step: making the loaders draws from them."""
        self._random = state_dict

    def _save(self, trainer: pl.Trainer, checkpoint: Path) -> None:
        try:
            trainer.save_checkpoint(checkpoint)
        except OSError as error:  # a full disk costs the safety, not the run
            _LOG.warning("%s: no checkpoint written (%s); the run goes on", checkpoint, error)
        self._saved = time.monotonic()


class AtomicCheckpoints(CheckpointIO):
    """Checkpoints that are whole or not there, and are read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write a file that replaces the one before at once."""
        buffer = io.BytesIO()  # torch would turn a full disk into an error of its own
        torch.save(checkpoint, buffer)
        atomic_save(Path(path), lambda stream: stream.write(buffer.getbuffer()))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:  # noqa: ARG002
        """Read tensors and numbers."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file, if it is there."""
        Path(path).unlink(missing_ok=True)


def read_own_part(checkpoint: Path) -> dict[str, Any] | None:
    """Return what the module keeps in a checkpoint, and its `step`, or None if the file is damaged.

    A file cut short has lost the directory at its end, so that it is never taken for a whole one.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        own = {**content["optiscale"], "step": content["global_step"]}
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
        return None
    return own


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
