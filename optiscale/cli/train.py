"""`optiscale train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optiscale.config import RESOLVED, Study, load_study, parse_study, save_study
from optiscale.errors import UserError

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from optiscale.dataset import OpticalDataset
    from optiscale.training import Cell


#: seconds between checkpoints
_EVERY_S = 60.0
_ORIGIN = "train"
_OPTIONS = {"grid.0.data_sizes.0": "--data", "grid.0.seeds.0": "--seed", "grid.0.widths.0": "--width"}


def run(
    path: Path,
    *,
    model: str,
    width: int | None,
    D: int,
    seed: int,
    subset_seed: int | None,
    resume: bool,
    overrides: Sequence[str],
    out: Path | None,
) -> None:
    """Train one cell with checkpoints, a progress bar and a CSV log."""
    study = load_study(path, overrides)
    if model not in study.models:
        raise UserError(f"--model {model}: {path} has {', '.join(study.models)}")
    from optiscale.dataset import open_source
    from optiscale.training import Cell
    from optiscale.training.options import CHECKPOINT

    content = study.resolved()  # the cell passes through the schema, which has the limits of each value
    content["grid"] = [{"model": model, "widths": [width], "data_sizes": [D], "seeds": [seed]}]
    content["output"] = {"weights": "best"}
    study = _parsed(content)
    cell = Cell(model, width, D, seed, study.data.subset.seeds[0] if subset_seed is None else subset_seed)
    dataset = open_source(study.data.source)
    _check(study, cell, dataset)
    results = out or study.default_folder().with_name(f"{study.name}-train")
    folder = results / "cells" / cell.id
    if resume and not (folder / CHECKPOINT).exists():
        raise UserError(f"{folder / CHECKPOINT}: no checkpoint to go on from; run without --resume")
    _same_study(study, results / RESOLVED)
    save_study(study, results / RESOLVED)
    record = _train(study, cell, dataset, folder, resume=resume)
    if record["status"] != "finished":
        raise UserError(f"{folder}: {record['status']}: {record['message']}")
    epoch = f" at epoch {record['best_epoch']}" if "best_epoch" in record else ""
    typer.echo(
        f"{folder}: L_val {record['val_loss']:.6f} (eps {record['val_eps_loss']:.6f}, "
        f"scalars {record['val_drude_loss']:.6f}){epoch}, N = {record['N']:,}, {record['wall_s']:.1f} s"
    )


def _parsed(content: dict[str, Any]) -> Study:
    """Pass the cell through the schema; a limit that it breaks is said of the option that was typed."""
    try:
        return parse_study(content, origin=_ORIGIN)
    except UserError as error:
        said = str(error)
        for field, option in _OPTIONS.items():
            said = said.replace(f"{_ORIGIN}: {field}:", f"{option}:")
        raise UserError(said) from error


def _check(study: Study, cell: Cell, dataset: OpticalDataset) -> None:
    """Refuse what would fail later, and build the graphs with a bar: the trainer would do so in silence."""
    from optiscale.graphs import GraphStore
    from optiscale.sweep.plan import check_data, has_networks
    from optiscale.sweep.progress import track_rows
    from optiscale.training import parameters_of, target_spec

    parameters_of(study, cell, target_spec(study.models[cell.model], dataset.manifest))
    check_data(study, dataset, [cell])
    if has_networks(study, [cell]):
        cutoffs = study.graph
        GraphStore.open(dataset, cutoff=cutoffs.cutoff, angle_cutoff=cutoffs.angle_cutoff, track=track_rows("graphs"))


def _train(study: Study, cell: Cell, dataset: OpticalDataset, folder: Path, *, resume: bool) -> dict[str, Any]:
    from optiscale.sweep.grid import git_commit
    from optiscale.sweep.stopping import stop_on_signals
    from optiscale.training import RunOptions, run_cell
    from optiscale.training.options import CHECKPOINT, RunStopped, Safety

    checkpoint = folder / CHECKPOINT
    with stop_on_signals() as stop:
        options = RunOptions(
            git_commit=git_commit(),
            threads=study.sweep.threads,
            report=None if sys.stdout.isatty() else _say,
            callbacks=_callbacks(folder),
            logger=_logger(folder),
            resume_from=checkpoint if resume else None,
            safety=Safety(checkpoint, every_s=_EVERY_S, at_end=True, stop=stop),
        )
        try:
            return run_cell(study, cell, dataset, folder, options)
        except RunStopped as stopped:
            typer.echo(f"{checkpoint}: written on {stopped}; the same command with --resume goes on from it")
            raise typer.Exit(130) from None


def _say(step: int, val_loss: float) -> None:
    """Report a validation in a log, where a bar would leave thousands of lines."""
    typer.echo(f"step {step}  L_val {val_loss:.6f}", err=True)


def _same_study(study: Study, path: Path) -> None:
    if path.exists() and load_study(path).model_dump(exclude={"grid", "sweep"}) != study.model_dump(
        exclude={"grid", "sweep"}
    ):
        raise UserError(f"{path}: runs of another configuration are here; give another --out")


def _callbacks(folder: Path) -> list[pl.Callback]:
    from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar

    best = ModelCheckpoint(folder, filename="best", monitor="val/loss", enable_version_counter=False)
    callbacks: list[pl.Callback] = [best, LearningRateMonitor()]
    return [*callbacks, RichProgressBar(leave=False)] if sys.stdout.isatty() else callbacks


def _logger(folder: Path) -> object:
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(folder, name="", version="log")
