"""The LightningModule: published loss, optimizer and schedule, exact validation loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from optiscale.config.study import Length, Schedule, Training
from optiscale.errors import UserError
from optiscale.graphs import CrystalBatch
from optiscale.networks import Prediction
from optiscale.training.losses import batch_losses
from optiscale.training.micro import split_batch


def schedule_factor(schedule: Schedule, length: Length, lr: float) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the epoch or step.

    Linear from `start_lr` to `lr` over the warm-up, then 0.5 (1 + cos(pi t / t_max)) with t counted from the end of
    the warm-up (Großmann et al., arXiv:2602.05702: 5 warm-up epochs, T_max 500).
    """
    start = schedule.start_lr / lr
    t_max = schedule.t_max or length.total

    def factor(count: int) -> float:
        if count < schedule.warmup:
            return start + (1 - start) * count / schedule.warmup
        return 0.5 * (1 + math.cos(math.pi * min(count - schedule.warmup, t_max) / t_max))

    return factor


class OpticalModule(pl.LightningModule):
    """A network in training.

    Loss = MAE(eps_inter over all values) + MAE(omega_D) (arXiv:2602.05702); of a data set with other scalar targets,
    the sum of their MAEs, each in its own unit. `val/loss`, `val/eps_loss` and `val/drude_loss` (all
    scalar targets) are exact means over the validation part, summed in float64, whatever the batch size; NaN where
    there is no such target.

    Parameters
    ----------
    network
        Maps a `CrystalBatch` to a `Prediction`.
    training
        Length, schedule.
    lr, weight_decay
        Of AdamW, at this width.
    components, scalars
        Places in the data set of what the network predicts.
    fingerprint
        Of config and data; a checkpoint goes on only where it is the same.
    micro_batch
        Crystals that pass the network at a time, or None for the whole batch; the gradient is that of the whole batch,
        but for batch norm, which sees a part at a time.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        training: Training,
        lr: float,
        weight_decay: float,
        components: list[int],
        scalars: list[int],
        fingerprint: str = "",
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = training
        self.lr = lr
        self.weight_decay = weight_decay
        self.components = components
        self.scalars = scalars
        self.fingerprint = fingerprint
        self.micro_batch = micro_batch
        self.graphs_seen = 0
        self.rate_used = math.nan
        self._train_sum = torch.zeros((), dtype=torch.float64)
        self._train_count = 0
        self._val_sums = torch.zeros(2, dtype=torch.float64)
        self._val_count = 0

    def forward(self, batch: CrystalBatch) -> Prediction:
        """Predict spectra and scalars."""
        prediction: Prediction = self.network(batch)
        return prediction

    def training_step(self, batch: CrystalBatch, batch_index: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """Return the mean loss of a batch; of its last part, if it is cut, after the gradients of those before."""
        *before, last = self._parts(batch)
        if self.micro_batch is not None:
            self.zero_grad()
        for part in before:
            self._part_loss(part, batch.n_crystals).backward()  # no precision of ours scales the loss
        return self._part_loss(last, batch.n_crystals)

    def _parts(self, batch: CrystalBatch) -> Sequence[CrystalBatch]:
        return split_batch(batch, self.micro_batch)

    def _part_loss(self, part: CrystalBatch, whole: int) -> Tensor:
        """Return the share of a part in the mean loss of a batch of `whole` crystals."""
        spectrum_loss, scalar_loss = self._losses(part)
        loss = spectrum_loss.mean() + scalar_loss.mean()
        n = part.n_crystals
        self._train_sum = self._train_sum.to(loss.device) + loss.detach().double() * n
        self._train_count += n
        self.graphs_seen += n
        return loss if n == whole else loss * (n / whole)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002
        """Start the gradients over; those of the parts of a batch are to be added."""
        if self.micro_batch is None:
            optimizer.zero_grad()

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:  # noqa: ARG002
        """Remember the rate that the coming step uses."""
        self.rate_used = float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        """Start the sums over."""
        self._val_sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._val_count = 0

    def validation_step(self, batch: CrystalBatch, batch_index: int) -> None:  # noqa: ARG002
        """Add a batch to the sums."""
        for part in self._parts(batch):
            losses = torch.stack(self._losses(part))  # (2, B)
            self._val_sums += losses.double().sum(dim=1)
            self._val_count += part.n_crystals

    def on_validation_epoch_end(self) -> None:
        """Log the exact means over the validation part."""
        eps, drude = (self._val_sums / self._val_count).tolist()
        parts = {
            "val/eps_loss": eps if self.components else math.nan,
            "val/drude_loss": drude if self.scalars else math.nan,
        }
        values = {"val/loss": eps + drude, **parts}
        # Lightning keeps float32: the callback metrics are for its callbacks, the record takes `validation`
        self.log_dict(values, batch_size=self._val_count)
        self.validation = values

    @property
    def validated(self) -> int:
        """Crystals that the last validation saw."""
        return self._val_count

    def take_train_loss(self) -> float:
        """Return the mean training loss since the last call (NaN if there was no step)."""
        mean = float(self._train_sum) / self._train_count if self._train_count else math.nan
        self._train_sum, self._train_count = torch.zeros((), dtype=torch.float64), 0
        return mean

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002  the norm, as published
    ) -> None:
        """Clip the norm of the gradients.

        Lightning's own clipping refuses a fused optimizer under mixed precision, for fear of scaled gradients; bf16
        needs no scaling.
        """
        parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
        if gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is counted between validations, and what this run is."""
        checkpoint["optiscale"] = {
            "fingerprint": self.fingerprint,
            "micro_batch": self.micro_batch,
            "graphs_seen": self.graphs_seen,
            "train_sum": float(self._train_sum),
            "train_count": self._train_count,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting.

        Raises
        ------
        UserError
            If the checkpoint is of another config or another data set.
        """
        counts = checkpoint["optiscale"]
        if counts["fingerprint"] != self.fingerprint:
            raise UserError(
                f"checkpoint of {counts['fingerprint']}, this run has {self.fingerprint}; run without --resume"
            )
        self.graphs_seen = counts["graphs_seen"]
        self._train_sum = torch.tensor(counts["train_sum"], dtype=torch.float64)
        self._train_count = counts["train_count"]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine, stepped every epoch or every step as the length is counted."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)
        factor = schedule_factor(self.config.schedule, self.config.length, self.lr)
        interval = "epoch" if self.config.length.unit == "epochs" else "step"
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def _losses(self, batch: CrystalBatch) -> tuple[Tensor, Tensor]:
        return batch_losses(self(batch), batch, components=self.components, scalars=self.scalars)
