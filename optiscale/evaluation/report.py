"""Metrics of a finished run, and the files they are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from optiscale.dataset.split import Part
from optiscale.evaluation.metrics import per_material_metrics, scalar_metrics, summarize
from optiscale.evaluation.predict import Predictions, predict
from optiscale.io import atomic_write


def evaluate_run(run: Path, *, part: Part) -> tuple[Predictions, pd.DataFrame]:
    """Predict a part of a run's data set and judge every material.

    Parameters
    ----------
    run
        Folder of a run that kept its weights.
    part
        ``"validation"`` or ``"test"``.

    Returns
    -------
    predictions, metrics
        What was predicted, and a frame with a row a material: its id and reduced formula, then its metrics (see
        `per_material_metrics`); a scalar target s other than omega_D has ``s_error``, in its unit, and
        ``s_error_percent``.

    Raises
    ------
    UserError
        If the run kept no weights, or its data set changed since.
    """
    predictions = predict(run, part=part)
    omega_D_true, omega_D_pred = predictions.scalar("omega_D") or (None, None)
    metrics = per_material_metrics(
        predictions.energies,
        predictions.spectrum_pred,
        predictions.spectrum_true,
        predictions.targets.components,
        omega_D_pred,
        omega_D_true,
    )
    for name in predictions.targets.scalars:
        values = predictions.scalar(name)
        if name != "omega_D" and values is not None:
            true, pred = (np.asarray(part, dtype=float) for part in values)
            metrics = metrics.assign(**scalar_metrics(name, pred, true))
    return predictions, pd.concat([predictions.materials[["id", "reduced_formula"]], metrics], axis=1)


def write_metrics(metrics: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write metrics as ``<name>.parquet``, a row a material, and their summary as ``<name>.md``.

    Parameters
    ----------
    metrics
        As `evaluate_run` returns it.
    folder
        Made if needed; files of the same name are replaced, each atomically.
    name
        Of the files.

    Returns
    -------
    list of Path
        The files.
    """
    table, summary = folder / f"{name}.parquet", folder / f"{name}.md"
    with atomic_write(table) as stream:
        metrics.to_parquet(stream, index=False)
    with atomic_write(summary, "w") as stream:
        stream.write(_markdown(summarize(metrics)))
    return [table, summary]


def _markdown(summary: pd.DataFrame) -> str:
    """Render a summary with four significant digits."""
    rows = [["metric", *summary.columns], ["---"] * (1 + len(summary.columns))]
    rows += [[str(metric), *(f"{value:.4g}" for value in values)] for metric, values in summary.iterrows()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
