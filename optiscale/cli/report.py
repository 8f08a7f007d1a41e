"""What a finished study leaves: fits, tables, figures, the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from optiscale.cli.page import make_page
from optiscale.config import RESOLVED, load_study
from optiscale.dataset.split import Part


def report_study(folder: Path) -> list[Path]:
    """Fit, tabulate and draw from what is on disk; returns the files made.

    The spectra and the parity are those of the best run of each model that kept its weights; a baseline is fitted
    again.
    """
    from optiscale.dataset import open_source
    from optiscale.evaluation import can_predict
    from optiscale.figures.elements import element_counts, figure_elements
    from optiscale.figures.report import draw_all
    from optiscale.figures.style import save_figure
    from optiscale.laws import average_seeds, fit_study, read_losses, write_tables

    runs, curves = folder / "runs.parquet", folder / "curves.parquet"
    made = [path for path in (runs, curves) if path.exists()]  # baselines have no learning curves
    if not (pd.read_parquet(runs)["status"] == "finished").any():
        return made
    fits = fit_study(average_seeds(read_losses(runs)))
    fits.save(folder / "fits.json")
    made += [folder / "fits.json", *write_tables(fits, folder / "tables")]
    figures = folder / "figures"
    made += draw_all(fits, pd.read_parquet(curves) if curves.exists() else None, figures)
    dataset = open_source(load_study(folder / RESOLVED).data.source)
    made += save_figure(figure_elements(element_counts(dataset.materials["reduced_formula"])), figures, "elements")
    best = [run for run in best_runs(pd.read_parquet(runs), folder) if can_predict(run)]
    made += report_predictions(best, folder, part="validation") if best else []
    return [*made, make_page(folder)]


def best_runs(runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Return the folder of the finished run with the lowest L_val of each model."""
    finished = runs[runs["status"] == "finished"]
    best = finished.loc[finished.groupby("model")["val_loss"].idxmin(), "cell"]
    return [folder / "cells" / str(cell) for cell in best]


def report_predictions(runs: list[Path], out: Path, *, part: Part) -> list[Path]:
    """Write the per-material metrics of runs, their summary, and the figures of their predictions."""
    from optiscale.evaluation import evaluate_run, write_metrics
    from optiscale.figures.parity import figure_parity
    from optiscale.figures.spectra import figure_spectra
    from optiscale.figures.style import save_figure

    made: list[Path] = []
    parity: dict[str, dict[str, Any]] = {}
    units: dict[str, str] = {}
    for run in runs:
        predictions, metrics = evaluate_run(run, part=part)
        model = str(predictions.record["model"])
        made += write_metrics(metrics, out / "tables", f"metrics_{model}_{part}")
        if predictions.spectrum_true is not None and predictions.spectrum_pred is not None:
            figure = figure_spectra(
                predictions.energies,
                predictions.spectrum_true,
                predictions.spectrum_pred,
                components=predictions.targets.components,
                formulas=list(predictions.materials["reduced_formula"]),
            )
            made += save_figure(figure, out / "figures", f"spectra_{model}_{part}")
        units.update(predictions.units)
        for name in predictions.targets.scalars:
            if (values := predictions.scalar(name)) is not None:
                parity.setdefault(name, {})[model] = values
    for name, networks in parity.items():
        figure = figure_parity(networks, name=name, unit=units[name])
        made += save_figure(figure, out / "figures", f"parity_{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}_{part}")
    return made
