from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.figures.diagnostics import figure_diagnostics, sigma_residuals
from optiscale.figures.scaling import figure_2
from optiscale.laws import Series, StudyFits


def of_kind(fits: StudyFits, kind: str) -> Series:
    return next(one for one in fits.series if one.kind == kind)


@pytest.mark.parametrize("kind", ["data", "map"])
def test_diagnostics_show_the_law_to_use_its_residuals_and_every_held_out_error(demo: StudyFits, kind: str) -> None:
    series = of_kind(demo, kind)
    fig = figure_diagnostics(series)
    residual, held_out = fig.axes[1], fig.axes[2]
    judged = [row for row in series.choice.table if row.rmsle is not None]
    shown = [label.get_text() for label in held_out.get_yticklabels()]
    assert len(shown) == len(judged)
    assert "last value" in shown
    if kind == "data":
        lines = [line for line in residual.get_lines() if len(line.get_xdata()) == len(series.points)]
        np.testing.assert_allclose(lines[0].get_ydata(), sigma_residuals(series, series.best))
        assert fig.axes[0].get_xlim()[1] > 1.9 * series.points["x"].max()  # the law goes on beyond the points


def test_residuals_are_in_deviations_of_the_mean(demo: StudyFits) -> None:
    series = of_kind(demo, "map")
    for law in ("kaplan", "coupled_broken"):
        residuals = sigma_residuals(series, law)
        assert float(residuals @ residuals) == pytest.approx(series.fits[law].chi2, rel=1e-6)


def test_the_published_protocol_has_no_diagnostics(published: StudyFits) -> None:
    with pytest.raises(UserError, match="no diagnostics without a choice of law"):
        figure_diagnostics(published.series[0])


def test_a_map_is_drawn_for_any_law_that_may_be_best(demo: StudyFits) -> None:
    series = of_kind(demo, "map")
    for law in ("chinchilla", "coupled", "coupled_broken", "coupled_drift"):
        only = StudyFits(series=[replace(series, best=law, fits={law: series.fits[law]})])
        figure_2(only).draw_without_rendering()
