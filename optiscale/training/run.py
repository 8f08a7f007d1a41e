"""Train one cell from its config to its record."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from safetensors.torch import save

from optiscale.config import Study, Training
from optiscale.datamodule import OpticalDataModule
from optiscale.dataset import OpticalDataset
from optiscale.io import atomic_save, write_json
from optiscale.networks import count_parameters
from optiscale.training.cell import Cell, learning_rate, make_network, network_config, target_spec
from optiscale.training.module import OpticalModule
from optiscale.training.record import (
    RECORD,
    device_name,
    identity,
    losses_of,
    one_line,
    peak_memory_mb,
    validation_interval,
)
from optiscale.training.recorder import CURVE_COLUMNS, DivergedError, Recorder

CURVE = "curve.parquet"
WEIGHTS = "best.safetensors"


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
    """

    git_commit: str = "unknown"
    threads: int | None = None
    report: Callable[[int, float], None] | None = None
    callbacks: Sequence[pl.Callback] = ()
    logger: Any = False
    resume_from: Path | None = None


@dataclass
class _Outcome:
    """How a run ended."""

    status: str = "finished"
    message: str = ""
    error: BaseException | None = field(default=None, repr=False)


def run_cell(
    study: Study, cell: Cell, dataset: OpticalDataset, folder: Path, options: RunOptions | None = None
) -> dict[str, Any]:
    """Train a cell and write its curve, weights (if the study keeps them) and, last and atomically, its record.

    A run that diverges, runs out of memory or fails is recorded with its message; so is an interrupted one, whose
    `KeyboardInterrupt` then goes on.

    Parameters
    ----------
    study, cell
        What to train.
    dataset
        The cached data set.
    folder
        The cell's folder.
    options
        Extras that leave the result alone.

    Returns
    -------
    dict
        The row of `runs.parquet`.
    """
    options = options or RunOptions()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    model = study.models[cell.model]
    with _quiet_lightning():
        pl.seed_everything(cell.seed, workers=True, verbose=False)  # before the network is built
        targets = target_spec(model, dataset.manifest)
        lr = learning_rate(study, cell, targets)
        network = make_network(study, cell, targets)
        names = [scalar.name for scalar in dataset.manifest.scalars]
        module = OpticalModule(
            network,
            training=model.training,
            lr=lr,
            weight_decay=model.optimizer.weight_decay,
            components=[dataset.manifest.components.index(name) for name in targets.components],
            scalars=[names.index(name) for name in targets.scalars],
        )
        data = OpticalDataModule(
            dataset,
            data=study.data,
            graph=study.graph,
            D=cell.D,
            subset_seed=cell.subset_seed,
            batch_size=model.training.batch_size,
            seed=cell.seed,
            angles=bool(getattr(network, "needs_angles", True)),
        )
        recorder = Recorder(keep_weights=study.output.weights == "best", report=options.report)
        trainer = _trainer(model.training, recorder, options)
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)
        outcome = _fit(trainer, module, data, options.resume_from)
        wall = recorder.elapsed
    record = {
        **identity(study, cell, N=count_parameters(network), data_hash=dataset.hash, git_commit=options.git_commit),
        "message_passing": network_config(study, cell).message or getattr(network, "default_message", ""),
        "lr": lr,
        **losses_of(recorder),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "wall_s": wall,
        "graphs_per_s": module.graphs_seen / wall,
        "peak_memory_mb": peak_memory_mb(trainer.strategy.root_device),
        "device": device_name(trainer.strategy.root_device),
        "status": outcome.status,
        "message": outcome.message,
    }
    _write(folder, record, recorder)
    if isinstance(outcome.error, KeyboardInterrupt):
        raise outcome.error
    return record


def _fit(trainer: pl.Trainer, module: OpticalModule, data: OpticalDataModule, resume_from: Path | None) -> _Outcome:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except DivergedError as error:
        return _Outcome("diverged", str(error), error)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return _Outcome("out_of_memory", one_line(error), error)
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into an exit of its own
        return _Outcome("interrupted", "stopped by the user", KeyboardInterrupt(str(error)))
    except Exception as error:
        return _Outcome("failed", one_line(error), error)
    if trainer.interrupted:
        return _Outcome("interrupted", "stopped by the user", KeyboardInterrupt())
    return _Outcome()


def _trainer(training: Training, recorder: Recorder, options: RunOptions) -> pl.Trainer:
    unit, every = validation_interval(training)
    accelerator = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[training.device]
    on_cpu = accelerator == "cpu" or not torch.cuda.is_available()
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,  # one device a run: a validation part shared by several would count materials twice
        precision=training.precision,
        max_epochs=training.length.epochs if training.length.epochs else -1,
        max_steps=training.length.steps or -1,
        gradient_clip_val=training.gradient_clip,
        check_val_every_n_epoch=every if unit == "epochs" else None,
        val_check_interval=1.0 if unit == "epochs" else every,
        num_sanity_val_steps=0,
        deterministic=on_cpu,  # on a GPU the segment sums of torch_geometric have no deterministic kernel
        logger=options.logger,
        callbacks=[recorder, *options.callbacks],
        enable_checkpointing=any(isinstance(item, pl.callbacks.ModelCheckpoint) for item in options.callbacks),
        enable_progress_bar=any(isinstance(item, pl.callbacks.ProgressBar) for item in options.callbacks),
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _write(folder: Path, record: dict[str, Any], recorder: Recorder) -> None:
    curve = pd.DataFrame(recorder.rows, columns=list(CURVE_COLUMNS))
    atomic_save(folder / CURVE, lambda stream: curve.to_parquet(stream, index=False))
    if recorder.best_weights:
        atomic_save(folder / WEIGHTS, lambda stream: stream.write(save(recorder.best_weights)))
    write_json(folder / RECORD, record)  # last: a cell is done when its record exists


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's start-up lines: a sweep has one progress bar, not hundreds of banners."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
