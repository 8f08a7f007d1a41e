"""The LightningModule of a device that holds the whole data set: many steps in one of Lightning's."""

from __future__ import annotations

import math
from typing import Any, cast

import torch

from optiscale.datamodule.chunks import Chunk, ResidentDataModule
from optiscale.graphs.merged import Shape
from optiscale.training.captured import CapturedRun
from optiscale.training.host import HostRun
from optiscale.training.module import OpticalModule, schedule_factor


class ResidentModule(OpticalModule):
    """A network in training, on a card its steps replayed; results as those of `OpticalModule`, up to rounding.

    Optimization is manual in Lightning's sense: a training step of Lightning is a chunk of batches. Its count of steps
    is kept true, so that the length, the schedule, checkpoints and the recorder go by the same steps.

    Attributes
    ----------
    compile_
        Whether steps and validation are compiled before they are captured; on a card only.
    """

    compile_ = False

    def __init__(self, network: torch.nn.Module, **parts: Any) -> None:
        super().__init__(network, **parts)
        self.automatic_optimization = False
        self._run: CapturedRun | HostRun | None = None
        self._evaluation_room = Shape(0, 0, 0)

    def setup(self, stage: str) -> None:
        """Forget what was captured: Lightning moves the weights between its stages."""
        self._run = None
        if stage == "fit":  # a validation after it leaves the last rate for the record
            self.rate_used = math.nan

    def configure_optimizers(self) -> torch.optim.Optimizer:  # type: ignore[override]
        """AdamW, which keeps state and rate; the run does its steps, `training_step` sets the rate."""
        kind = HostRun if on_host(self.device) else CapturedRun
        return kind.optimizer_of(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Leave the rate to `training_step`."""

    def training_step(self, chunk: Chunk, batch_index: int) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take a step on each batch of a chunk."""
        run, done = self._running(), self.trainer.global_step
        with torch.autocast(self.device.type, enabled=False):  # the step has its own precisions
            for step, (rows, fitting) in enumerate(zip(chunk.rows, chunk.fitting, strict=True), start=done):
                wanted = self._rate(step)
                if wanted != self.rate_used:
                    run.set_rate(wanted)
                    self.rate_used = wanted
                run.step(rows, fitting=fitting)
        self._train_count += chunk.n
        self.graphs_seen += chunk.n
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for count in (steps.total, steps.current):
            count.ready += len(chunk.rows)
            count.completed += len(chunk.rows)

    def on_validation_epoch_start(self) -> None:
        """Start the sums over."""
        run = self._running()
        run.validation_sums.zero_()
        self._val_sums, self._val_count = run.validation_sums, 0

    def validation_step(self, chunk: Chunk, batch_index: int) -> None:  # type: ignore[override]  # noqa: ARG002
        """Add the batches of a chunk to the sums."""
        run = self._running()
        with torch.autocast(self.device.type, enabled=False):
            for rows in chunk.rows:
                run.validate(rows, self._evaluation_room)
        self._val_count += chunk.n

    def take_train_loss(self) -> float:
        """Return the mean training loss since the last call (NaN if there was no step)."""
        mean = float(self._train_sum) / self._train_count if self._train_count else math.nan
        self._train_sum.zero_()
        self._train_count = 0
        return mean

    def _rate(self, step: int) -> float:
        length, data = self.config.length, self._data()
        count = step // data.batches_an_epoch if length.unit == "epochs" else step
        return self.lr * schedule_factor(self.config.schedule, length, self.lr)(count)

    def _running(self) -> CapturedRun | HostRun:
        """Return what does the steps; made anew where it was forgotten."""
        if self._run is None:
            data = self._data()
            graphs = data.hold(self.device)
            optimizers = self.trainer.optimizers
            optimizer = cast(torch.optim.AdamW, optimizers[0]) if optimizers else None
            parts: dict[str, Any] = {"clip": self.config.gradient_clip, "places": (self.components, self.scalars)}
            if on_host(self.device):
                self._run = HostRun(self.network, graphs, optimizer, **parts)
            else:
                room: dict[str, Any] = {"shape": data.room, "batch_size": data.rows_a_batch}
                self._run = CapturedRun(
                    self.network,
                    graphs,
                    optimizer,
                    precision=self.config.precision,
                    compile_=self.compile_,
                    **parts,
                    **room,
                )
            self._run.loss_sum += self._train_sum.to(self.device)
            self._train_sum = self._run.loss_sum
            self._evaluation_room = data.evaluation_room("validation")
        return self._run

    def _data(self) -> ResidentDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ResidentDataModule):
            raise TypeError(f"a resident module needs a ResidentDataModule, not {type(data).__name__}")
        return data


def on_host(device: torch.device) -> bool:
    """Whether a run computes on the processor."""
    return device.type == "cpu"


class CompiledModule(ResidentModule):
    """The same, compiled: quicker steps, after tens of seconds of waiting for the compiler."""

    compile_ = True
