"""All figures of a study, or of the published losses, in one call."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from optiscale.figures.curves import figure_curves
from optiscale.figures.scaling import figure_1, figure_2, study_figures
from optiscale.figures.style import save_figure
from optiscale.laws import StudyFits, average_seeds, fit_study, load_published, write_tables


def draw_all(fits: StudyFits, curves: pd.DataFrame | None, out: Path) -> list[Path]:
    """Draw Figures 1 and 2 of a study, as far as it has their series, and its learning curves.

    Parameters
    ----------
    fits
        The fitted laws.
    curves
        The frame of ``curves.parquet``, or None for losses that came without learning curves.
    out
        Folder of the pictures.

    Returns
    -------
    list of Path
        What was written: a PNG and a PDF each.
    """
    written = study_figures(fits, out)
    if curves is not None:
        written += save_figure(figure_curves(curves), out, "learning_curves")
    return written


def draw_published(out: Path, runs: StudyFits | None = None) -> list[Path]:
    """Redraw Figures 1 and 2 of arXiv:2602.05702 and both tables from its losses; nothing is trained.

    Parameters
    ----------
    out
        Folder of the pictures and tables.
    runs
        One's own fitted losses: drawn over Figure 1 with open markers; a grid of D and widths gets a map of its own
        beside Figure 2.

    Returns
    -------
    list of Path
        What was written.
    """
    published = fit_study(average_seeds(load_published()), protocol="published")
    written = save_figure(figure_1(published, runs), out, "figure_1")
    written += save_figure(figure_2(published), out, "figure_2")
    if runs is not None and any(series.kind == "map" for series in runs.series):
        written += save_figure(figure_2(runs), out, "figure_2_own_runs")
    return written + write_tables(published, out)
