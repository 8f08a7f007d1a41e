"""TensorBoard and Weights & Biases: the points of the learning curve, as they come, in a folder of each cell."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytorch_lightning as pl

from optiscale.config import Study
from optiscale.errors import UserError
from optiscale.networks import count_parameters
from optiscale.training.cell import Cell
from optiscale.training.module import OpticalModule
from optiscale.training.recorder import Recorder

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

TENSORBOARD, WANDB = "tensorboard", "wandb"
#: columns of the curve under the names that they have in Lightning
METRICS = {
    "val_loss": "val/loss",
    "val_eps_loss": "val/eps_loss",
    "val_drude_loss": "val/drude_loss",
    "train_loss": "train/loss",
    "lr": "lr",
    "epoch": "epoch",
}


def check_loggers(study: Study, *, verify: bool = False) -> None:
    """Refuse loggers that are not installed or would ask for a password in the middle of a sweep.

    Parameters
    ----------
    study
        Its loggers.
    verify
        Whether W&B's server is asked about the key: once, before a sweep. A run does not depend on its answer.

    Raises
    ------
    UserError
        With the remedy.
    """
    for name in study.sweep.loggers:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"sweep.loggers: {name} is not installed; pip install 'optiscale[{name}]', or leave it out")
    if WANDB in study.sweep.loggers:
        import wandb

        if wandb.setup().settings.mode != "online":
            return
        remedy = "`wandb login`, or set WANDB_MODE=offline"
        try:
            known = wandb.login(prompt=False, verify=verify)
        except wandb.Error as error:
            raise UserError(f"sweep.loggers: wandb: {' '.join(str(error).split())}; {remedy}") from error
        if not known:
            raise UserError(f"sweep.loggers: wandb is not logged in; {remedy}")


@dataclass(frozen=True)
class _Log:
    """A logger of Lightning's, the last step that it already has, and how it is closed."""

    logger: Logger
    last: int
    close: Callable[[], None]


class CurveLogger(pl.Callback):
    """Gives every row of the recorder to Lightning's loggers.

    They are not the trainer's: Lightning would log its own count of batches, and a run that goes on from a checkpoint
    would log again what it had logged after it. So a log is begun anew whenever a training is, with the rows that the
    checkpoint knows; a run on W&B's server goes on behind its last point.

    Parameters
    ----------
    makers
        Begin a log each.
    about
        What to note of the run.
    """

    def __init__(self, makers: Sequence[Callable[[], _Log]], about: Mapping[str, Any]) -> None:
        self.makers = makers
        self.about = about
        self._logs: list[_Log] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the logs, with the rows of the checkpoint."""
        self.close()
        if not isinstance(pl_module, OpticalModule):
            return
        about = {**self.about, "N": count_parameters(pl_module.network), "lr": pl_module.lr}
        for make in self.makers:
            self._logs.append(make())
            self._logs[-1].logger.log_hyperparams(about)
        for row in _recorder(trainer).rows:
            self._write(row)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Log the row that the recorder just wrote."""
        if not trainer.sanity_checking:
            self._write(_recorder(trainer).rows[-1])

    def close(self) -> None:
        """Write what is left and let go of the logs."""
        for log in self._logs:
            log.close()
        self._logs = []

    def _write(self, row: Mapping[str, float]) -> None:
        values = {name: row[column] for column, name in METRICS.items() if math.isfinite(row[column])}
        for log in self._logs:
            if row["step"] > log.last:
                log.logger.log_metrics(values, step=int(row["step"]))


@contextmanager
def curve_loggers(study: Study, cell: Cell, folder: Path, about: Mapping[str, Any]) -> Iterator[list[pl.Callback]]:
    """Give the callbacks that log a run as the study asks, and close their logs at the end.

    Parameters
    ----------
    study, cell
        What is trained.
    folder
        The cell's; each logger has a folder in it.
    about
        What to note of the run.
    """
    known: dict[str, Callable[[], _Log]] = {
        TENSORBOARD: lambda: _tensorboard(folder),
        WANDB: lambda: _wandb(study, cell, folder),
    }
    makers = [known[name] for name in study.sweep.loggers]
    if not makers:
        yield []
        return
    logger = CurveLogger(makers, about)
    try:
        yield [logger]
    finally:
        logger.close()


def _tensorboard(folder: Path) -> _Log:
    from pytorch_lightning.loggers import TensorBoardLogger

    if (folder / TENSORBOARD).exists():
        shutil.rmtree(folder / TENSORBOARD)
    logger = TensorBoardLogger(folder, name="", version=TENSORBOARD, default_hp_metric=False)
    return _Log(logger, -1, lambda: logger.finalize("success"))


def _wandb(study: Study, cell: Cell, folder: Path) -> _Log:
    """Begin a run of W&B, or go on with the cell's on the server; offline it is always begun anew."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    own = folder / WANDB
    name = own / "run_id"
    run_id = name.read_text(encoding="utf-8") if name.exists() else uuid4().hex
    if own.exists():
        shutil.rmtree(own)
    own.mkdir(parents=True)
    name.write_text(run_id, encoding="utf-8")
    settings = wandb.Settings(silent=True, console="off")
    logger = WandbLogger(
        save_dir=folder, project=study.name, name=cell.id, group=cell.model, id=run_id, settings=settings
    )
    run = logger.experiment
    last = run.summary.get("trainer/global_step") if run.resumed else None
    return _Log(logger, -1 if last is None else int(last), run.finish)


def _recorder(trainer: pl.Trainer) -> Recorder:
    return next(callback for callback in trainer.callbacks if isinstance(callback, Recorder))  # type: ignore[attr-defined]
