"""Every series by itself: its law, residuals, held-out errors, the place of its break, what to be careful of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optiscale.figures.scaling import one_series_a_network
from optiscale.laws import Series
from optiscale.report.charts.base import Chart
from optiscale.report.charts.diagnostics import break_figure, held_out_figure, residual_figure
from optiscale.report.charts.losses import SERIES_SWITCHES, series_figure
from optiscale.report.charts.maps import cuts_figure
from optiscale.report.study import Evidence
from optiscale.report.tables import Table, laws_table
from optiscale.report.words import title_of, verdicts, warnings

MOST_SERIES = 60
GROUP = "series"


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the page says of one series beside its figures."""

    title: str
    reason: str
    verdicts: Sequence[str]
    warnings: Sequence[str]
    laws: Table


@dataclass(frozen=True, kw_only=True)
class Details:
    """All series, with the figures that follow the reader's choice of one."""

    series: Sequence[Detail]
    charts: Sequence[Chart]
    left_out: int


def details(evidence: Evidence) -> Details:
    """Describe every series that a law was fitted to, the main ones first."""
    fitted = [one for one in _main_first(evidence) if one.best is not None]
    shown = fitted[:MOST_SERIES]
    if not shown:
        return Details(series=[], charts=[], left_out=0)

    named = len({one.study for one in shown}) > 1

    def chart(key: str, title: str, alt: str, draw: Callable[[Series], dict[str, Any] | None], **rest: Any) -> Chart:
        return Chart(key=key, title=title, alt=alt, variants=[draw(one) for one in shown], group=GROUP, **rest)

    def law(one: Series) -> dict[str, Any] | None:
        return cuts_figure(one) if one.kind == "map" else series_figure(evidence, one)

    charts = [
        chart(
            "series-law",
            "Points and laws",
            "Losses of the chosen series, the law to use with its 90 % intervals of the mean (dark) and of one new run "
            "(light) to twice the largest size (beyond the dotted line), and the other laws.",
            law,
            switches=SERIES_SWITCHES,
        ),
        chart(
            "series-residuals",
            "Residuals",
            "Residuals of the law to use and of the laws with and without a break, in standard deviations; the grey "
            "strip is two of them to either side.",
            residual_figure,
        ),
        chart(
            "series-held-out",
            "Error at held-out larger sizes",
            "Extrapolation error of each law beside that of the last value: blue the law to use, orange others of the "
            "ensemble. The numbers are in the table of laws.",
            held_out_figure,
            empty="Too few sizes to hold any out.",
        ),
        chart(
            "series-break",
            "Where is the break?",
            "Confidence that the break lies between the two curves, from the profile likelihood; dotted lines are the "
            "smallest and the largest size measured, crosses mark open ends.",
            break_figure,
            empty="No break was tested along this series, or none was seen: the text above says which.",
        ),
    ]
    return Details(
        series=[_detail(one, named=named) for one in shown], charts=charts, left_out=len(fitted) - len(shown)
    )


def _detail(one: Series, *, named: bool) -> Detail:
    return Detail(
        title=title_of(one) + (f" ({one.study})" if named else ""),
        reason="" if one.choice is None else one.choice.reason,
        verdicts=verdicts(one),
        warnings=warnings(one),
        laws=laws_table(one),
    )


def _main_first(evidence: Evidence) -> list[Series]:
    series = evidence.fits.series
    main = [one for kind in ("data", "parameters") for one in one_series_a_network(evidence.fits, kind).values()]
    first = {id(one): i for i, one in enumerate([*main, *(one for one in series if one.kind == "map")])}
    return sorted(series, key=lambda one: first.get(id(one), len(first)))
