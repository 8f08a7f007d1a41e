"""One self-contained HTML page a study: question, plan, figures that answer to the mouse, tables, forecasts, origin.

>>> from pathlib import Path
>>> from optiscale.report import read_evidence, write_page
>>> write_page(read_evidence(Path("results/demo")), Path("page.html"))  # doctest: +SKIP
"""

from __future__ import annotations

from optiscale.report.page import render_page, write_page
from optiscale.report.study import Evidence, read_evidence

__all__ = ["Evidence", "read_evidence", "render_page", "write_page"]
