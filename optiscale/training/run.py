"""Train one cell, network or baseline, from its config to its record."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from optiscale.config import Study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.io import atomic_save, atomic_write, write_json
from optiscale.training.baseline import baseline_result
from optiscale.training.cell import Cell
from optiscale.training.options import RunOptions, RunStopped
from optiscale.training.record import (
    CURVE,
    CURVE_COLUMNS,
    RECORD,
    WEIGHTS,
    device_name,
    losses_of,
    lost_record,
    one_line,
    peak_memory_mb,
    reset_peak_memory,
)

if TYPE_CHECKING:  # they bring torch and Lightning: a baseline needs none of it
    from optiscale.training.assemble import Run
    from optiscale.training.recorder import Recorder

ERROR = "error.txt"
_OF_NO_USE = (
    ".*does not have many workers.*",  # a batch is one gather: workers would only copy it
    ".*LeafSpec.*is deprecated.*",  # between Lightning and torch
    "GPU available but not.*",  # the study said so
    ".*exists and is not empty.*",  # a cell's folder holds its log, too
    ".*Previous log files in this directory.*",
    ".*`srun` command is available.*",  # workers of a batch job are Dask's
    ".*checkpoint that ended before the epoch.*",  # our order of the data follows from seed and step
)
_TOO_LARGE = (
    "one device does not hold it, even in the smallest micro-batches, and a run takes one device, so that L_val stays "
    "exact (docs/sweeps.md): take a narrower width, bf16-mixed, or a device with more memory"
)


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

    A run that runs out of memory begins again with smaller micro-batches. One that diverges, fits into no memory or
    fails is recorded with its message (and its traceback in `error.txt`); so is an interrupted one, whose
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

    Raises
    ------
    UserError
        If the study or the data set does not allow the run.
    RunStopped
        If it was asked to stop (see `Safety`); a checkpoint is there and no record.
    OSError
        If a file cannot be read or written; there is no record, and the run may be tried again.
    """
    options = options or RunOptions()
    if study.sweep.loggers:
        from optiscale.training.loggers import check_loggers

        check_loggers(study)
    run = None
    if study.models[cell.model].baseline is not None:
        result, outcome = _fit(study, cell, dataset, options)
    else:
        import torch

        from optiscale.training.loggers import curve_loggers

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        with quiet_lightning(), curve_loggers(study, cell, folder, asdict(cell)) as loggers:
            options = dataclasses.replace(options, callbacks=[*options.callbacks, *loggers])
            run, outcome = _train_in_memory(study, cell, dataset, options)
        result = _result(run) if run else {}
    record = lost_record(
        study,
        cell,
        N=None,
        data_hash=dataset.hash,
        git_commit=options.git_commit,
        status=outcome.status,
        message=outcome.message,
    )
    record |= {**result, **options.provenance}
    _write(folder, record, run.recorder if run else None, outcome.error)
    if isinstance(outcome.error, KeyboardInterrupt):
        raise outcome.error
    return record


def _train_in_memory(
    study: Study, cell: Cell, dataset: OpticalDataset, options: RunOptions
) -> tuple[Run | None, _Outcome]:
    """Train; where memory runs out, begin again with micro-batches of half the size, down to two crystals."""
    import torch

    from optiscale.training.guard import read_own_part
    from optiscale.training.micro import smaller

    batch = min(cell.D, study.models[cell.model].training.batch_size)
    if options.resume_from is not None:
        own = read_own_part(options.resume_from)
        if own is None:
            raise UserError(f"{options.resume_from}: damaged; remove it and run without --resume")
        options = dataclasses.replace(options, micro_batch=own["micro_batch"])
    while True:
        run, outcome = _train(study, cell, dataset, options)
        micro = smaller(batch, options.micro_batch)
        if outcome.status != "out_of_memory" or run is None or micro is None:
            if options.micro_batch is not None and outcome.status == "finished":
                outcome.message = (
                    f"in micro-batches of {options.micro_batch}, after the memory ran out; the gradient is that of the "
                    "whole batch, but for batch norm, which saw a part at a time"
                )
            if outcome.status == "out_of_memory":
                outcome.message += f"; {_TOO_LARGE}"
            return run, outcome
        run = outcome.error = None  # they hold the memory that the next try needs
        gc.collect()
        torch.cuda.empty_cache()
        options = dataclasses.replace(options, micro_batch=micro, resume_from=None)


def _train(study: Study, cell: Cell, dataset: OpticalDataset, options: RunOptions) -> tuple[Run | None, _Outcome]:
    """Assemble a run and train it; whatever goes wrong becomes its outcome, so that a sweep goes on."""
    from optiscale.training.assemble import assemble
    from optiscale.training.recorder import DivergedError

    run = None
    try:
        run = assemble(study, cell, dataset, options)
        reset_peak_memory(run.trainer.strategy.root_device)
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=options.resume_from, weights_only=True)
        if not run.trainer.interrupted and not run.recorder.is_current(run.trainer.global_step):
            # the length is no multiple of the interval: the last state counts too
            run.trainer.validate(run.module, datamodule=run.data, verbose=False)
    except (UserError, RunStopped, OSError):  # what the machine lacks is not the run's fault
        raise
    except DivergedError as error:
        return run, _Outcome("diverged", str(error))
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning turns Ctrl-C into an exit of its own
        return run, _Outcome("interrupted", "stopped by the user", KeyboardInterrupt(str(error)))
    except Exception as error:
        return run, _failed(error)
    if run.trainer.interrupted:
        return run, _Outcome("interrupted", "stopped by the user", KeyboardInterrupt())
    return run, _Outcome()


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch has no class of its own for that on a CPU."""
    names = {kind.__name__ for kind in type(error).__mro__}  # without torch, of which a baseline has no need
    return not names.isdisjoint({"OutOfMemoryError", "MemoryError"}) or "DefaultCPUAllocator" in str(error)


def _fit(study: Study, cell: Cell, dataset: OpticalDataset, options: RunOptions) -> tuple[dict[str, Any], _Outcome]:
    """Fit a baseline; whatever goes wrong becomes its outcome."""
    try:
        result = baseline_result(study, cell, dataset, threads=options.threads)
    except (UserError, OSError):
        raise
    except KeyboardInterrupt as error:
        return {}, _Outcome("interrupted", "stopped by the user", error)
    except Exception as error:
        return {}, _failed(error)
    if options.report is not None:
        options.report(1, result["val_loss"])
    return result, _Outcome()


def _failed(error: Exception) -> _Outcome:
    return _Outcome("out_of_memory" if _is_out_of_memory(error) else "failed", one_line(error), error)


def _result(run: Run) -> dict[str, Any]:
    """Return the part of a record that says how a training went."""
    device = run.trainer.strategy.root_device
    steps = run.trainer.global_step
    return {
        "N": run.N,
        "message_passing": run.message_passing,
        "lr": run.module.lr,
        "micro_batch": run.module.micro_batch,
        **losses_of(run.recorder),
        "epochs": -(-steps // run.data.batches_an_epoch),
        "steps": steps,
        "wall_s": run.recorder.elapsed,
        "validation_s": run.recorder.validation_s,
        "graphs_per_s": run.module.graphs_seen / run.recorder.elapsed,
        "peak_memory_mb": peak_memory_mb(device),
        "device": device_name(device),
    }


def _write(folder: Path, record: dict[str, Any], recorder: Recorder | None, error: BaseException | None) -> None:
    if recorder is not None:
        curve = pd.DataFrame(recorder.rows, columns=list(CURVE_COLUMNS))
        atomic_save(folder / CURVE, lambda stream: curve.to_parquet(stream, index=False))
        if weights := recorder.best_weights:
            from safetensors.torch import save

            atomic_save(folder / WEIGHTS, lambda stream: stream.write(save(weights)))
    if isinstance(error, Exception):
        with atomic_write(folder / ERROR, "w") as stream:
            stream.writelines(traceback.format_exception(error))
    write_json(folder / RECORD, record)  # last: a cell is done when its record exists


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's start-up lines: a sweep has one progress bar, not hundreds of banners."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _OF_NO_USE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
