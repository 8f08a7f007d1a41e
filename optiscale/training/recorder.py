"""The learning curve, the best epoch, and the check that the loss is still a number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from optiscale.training.module import OpticalModule


class DivergedError(Exception):
    """The loss is not finite any more."""


class Recorder(pl.Callback):
    """Keeps a row for every validation and the weights of the best one.

    L_val is the lowest validation loss, whatever its margin over the one before (the published protocol moved only on
    an improvement of more than 1e-3, so its losses lie up to 1e-3 above the minimum).

    Parameters
    ----------
    keep_weights
        Whether to hold a copy of the best weights.
    steps_an_epoch
        Of training.
    report
        Called with the step and the last validation loss.
    """

    def __init__(
        self, *, keep_weights: bool, steps_an_epoch: int, report: Callable[[int, float], None] | None = None
    ) -> None:
        self.keep_weights = keep_weights
        self.steps_an_epoch = steps_an_epoch
        self.report = report
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.best_weights: dict[str, torch.Tensor] = {}
        self._began = time.perf_counter()
        self._before = 0.0
        self.validation_s = 0.0
        self._validation_began = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds of training and validation, those before a resume included."""
        return self._before + time.perf_counter() - self._began

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._began = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock of the validations."""
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row.

        Raises
        ------
        DivergedError
            If the validation or the training loss is not finite.
        """
        if trainer.sanity_checking or not isinstance(pl_module, OpticalModule):
            return
        self.validation_s += time.perf_counter() - self._validation_began
        losses = pl_module.validation
        row = {
            # counted from the steps: Lightning's own count is one ahead after some resumes
            "epoch": max(0, trainer.global_step - 1) // self.steps_an_epoch,
            "step": trainer.global_step,
            "lr": pl_module.rate_used,
            "train_loss": pl_module.take_train_loss(),
            "val_loss": losses["val/loss"],
            "val_eps_loss": losses["val/eps_loss"],
            "val_drude_loss": losses["val/drude_loss"],
        }
        self.rows.append(row)
        if not math.isfinite(row["val_loss"]) or not math.isfinite(row["train_loss"]):
            raise DivergedError(
                f"the loss is not finite at step {row['step']} (train {row['train_loss']}, "
                f"validation {row['val_loss']}); lower the learning rate"
            )
        if self.best is None or row["val_loss"] < self.best["val_loss"]:
            self.best = row
            if self.keep_weights:
                state = pl_module.network.state_dict()
                self.best_weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        if self.report is not None:
            self.report(trainer.global_step, row["val_loss"])

    def is_current(self, step: int) -> bool:
        """Whether the state after `step` has been validated."""
        return bool(self.rows) and self.rows[-1]["step"] == step

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to end as an undisturbed one."""
        return {
            "rows": self.rows,
            "best": self.best,
            "best_weights": self.best_weights,
            "elapsed": self.elapsed,
            "validation_s": self.validation_s,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows = state_dict["rows"]
        self.best = state_dict["best"]
        self.best_weights = state_dict["best_weights"]
        self._before = state_dict["elapsed"]
        self.validation_s = state_dict.get("validation_s", 0.0)  # checkpoints of older versions lack it
