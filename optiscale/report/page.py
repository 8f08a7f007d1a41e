"""Put the page together: text and tables by jinja2, figures by plotly, in one file that asks the network nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from optiscale import __version__
from optiscale.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from optiscale.io import atomic_write
from optiscale.report.ahead import look_ahead, tables_ahead
from optiscale.report.answers import cards
from optiscale.report.charts.base import Chart
from optiscale.report.charts.forecasts import forecast_chart
from optiscale.report.charts.learning import learning_chart, panels
from optiscale.report.charts.losses import losses_chart
from optiscale.report.charts.maps import map_charts
from optiscale.report.detail import GROUP, details
from optiscale.report.plan import plan_facts, plan_table, provenance, question, sentence
from optiscale.report.study import Evidence
from optiscale.report.tables import points_table, runs_table

_ON_DARK = {
    BLUE: "#4da6e0",
    VERMILLION: "#f0803c",
    GREEN: "#2fc39a",
    PURPLE: "#dd9dc2",
    ORANGE: "#f2b233",
    BLACK: "#dfe3e8",
    GREY: "#a3adb8",
}
"""Colours that read on a dark ground, for those that do not."""


def write_page(evidence: Evidence, out: Path) -> Path:
    """Write the page atomically; the same evidence gives the same bytes.

    Returns
    -------
    Path
        The file.
    """
    text = render_page(evidence)
    with atomic_write(out, "w") as stream:
        stream.write(text)
    return out


def render_page(evidence: Evidence) -> str:
    """Make the text of the page.

    Everything that comes from a file is escaped, in the text by jinja2, in the data of the figures as JSON; and the
    page allows no script but its own two, known by their hashes, and no connection.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("optiscale.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    plotly, script = get_plotlyjs().replace("\r\n", "\n"), _asset("page.js")
    return environment.get_template("page.html.jinja").render(
        **_content(evidence),
        css=_asset("page.css"),
        plotly=plotly,
        script=script,
        script_hashes=[_csp_hash(text) for text in (plotly, script)],
        on_dark={color.lower(): lighter for color, lighter in _ON_DARK.items()},
        version=__version__,
    )


def _content(evidence: Evidence) -> dict[str, Any]:
    over_data, over_parameters = look_ahead(evidence.fits, "data"), look_ahead(evidence.fits, "parameters")
    learning = learning_chart(evidence)
    detail = details(evidence)
    losses = [chart for chart in (losses_chart(evidence, "data"), losses_chart(evidence, "parameters")) if chart]
    maps = map_charts(evidence)
    ahead = [
        chart
        for kind, made in (("data", over_data), ("parameters", over_parameters))
        if (chart := forecast_chart(kind, [one.series for one in made], [one.losses for one in made]))
    ]
    choices = {GROUP: [one.title for one in detail.series]}
    if learning is not None and evidence.curves is not None:
        choices["learning"] = list(panels(evidence.curves))
    every = [*losses, *maps, *detail.charts, *ahead, *([learning] if learning else [])]
    return {
        "name": evidence.name,
        "description": evidence.description,
        "sentence": sentence(evidence),
        "question": question(evidence),
        "cards": cards(evidence.fits, {"data": over_data, "parameters": over_parameters}),
        "notes": evidence.fits.notes,
        "plan_facts": plan_facts(evidence),
        "plan_table": plan_table(evidence),
        "losses": losses,
        "maps": maps,
        "detail": detail,
        "forecast_charts": ahead,
        "forecast_tables": tables_ahead([*over_data, *over_parameters]),
        "learning": learning,
        "choices": choices,
        "tables": [table for table in (points_table(evidence), runs_table(evidence)) if table is not None],
        "provenance": provenance(evidence),
        "resolved": evidence.resolved,
        "figures": {chart.key: _figure_data(chart) for chart in every},
    }


def _figure_data(chart: Chart) -> dict[str, Any]:
    return {"variants": list(chart.variants), "group": chart.group, "empty": chart.empty}


def _asset(name: str) -> str:
    return (resources.files("optiscale.report") / "assets" / name).read_text(encoding="utf-8")


def _csp_hash(script: str) -> str:
    """Hash by which a Content-Security-Policy knows an inline script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
