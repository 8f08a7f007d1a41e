"""All figures of a study, or of the published losses, in one call."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from optiscale.figures.curves import figure_curves
from optiscale.figures.diagnostics import figure_diagnostics
from optiscale.figures.scaling import KINDS, figure_1, figure_2, one_series_a_network, study_figures
from optiscale.figures.style import save_figure
from optiscale.laws import Series, StudyFits, average_seeds, fit_study, load_published, write_tables


def draw_all(fits: StudyFits, curves: pd.DataFrame | None, out: Path) -> list[Path]:
    """Draw Figures 1 and 2 of a study, its fits' diagnostics and its learning curves, as far as it has their series.

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
    for series in _to_diagnose(fits):
        written += save_figure(figure_diagnostics(series), out, f"diagnostics_{series.kind}_{series.model}")
    if curves is not None:
        written += save_figure(figure_curves(curves), out, "learning_curves")
    return written


def _to_diagnose(fits: StudyFits) -> list[Series]:
    """One series a kind and network, those of Figure 1 and the maps, as far as a law was chosen for them."""
    lines = [one for kind in KINDS for one in one_series_a_network(fits, kind).values()]
    maps = {one.model: one for one in fits.series if one.kind == "map"}
    return [one for one in [*lines, *maps.values()] if one.choice is not None and one.best is not None]


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
