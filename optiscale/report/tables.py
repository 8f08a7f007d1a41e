"""Tables that sort by a click: what stands in a cell, and what it sorts by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from optiscale.laws import LAWS, LawFit, Series, average_seeds
from optiscale.laws.extrapolation import LAST_VALUE
from optiscale.report.charts.diagnostics import label
from optiscale.report.study import Evidence, unique

MOST_ROWS = 1000
_EMPTY = "–"
_LARGEST_WHOLE = 1e9
_RUN_COLUMNS = {
    "study": "study",
    "model": "network",
    "width": "width",
    "N": "N",
    "D": "D",
    "seed": "seed",
    "subset_seed": "subset seed",
    "val_loss": "L_val",
    "val_eps_loss": "eps part",
    "val_drude_loss": "omega_D part",
    "train_loss": "train loss",
    "best_epoch": "best epoch",
    "steps": "steps",
    "wall_s": "wall / s",
    "peak_memory_mb": "memory / MB",
    "device": "device",
    "status": "status",
    "message": "message",
}


@dataclass(frozen=True)
class Cell:
    """Text of a cell and the number it sorts by; text alone sorts as text."""

    text: str
    value: float | None = None
    strong: bool = False

    @property
    def number(self) -> str:
        """Sort key as an attribute; empty for text."""
        return "" if self.value is None or not np.isfinite(self.value) else repr(float(self.value))


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its caption, and a note on what was left out."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False

    @cached_property  # a template asks for it at every row
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, which stand right-aligned."""
        return [any(row[i].value is not None for row in self.rows) for i in range(len(self.columns))]


def cell(value: Any, digits: int = 4) -> Cell:
    """Cell of a value from a frame: a whole number with separators, a float with `digits` digits, else its text."""
    if value is None or (not isinstance(value, str) and pd.isna(value)) or value == "":
        return Cell(_EMPTY)
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no")
    if isinstance(value, int | np.integer):
        return Cell(f"{int(value):,}", float(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = 10.0**digits <= abs(number) < _LARGEST_WHOLE
        return Cell(_minus(f"{number:,.0f}" if whole else f"{number:.{digits}g}"), number)
    return Cell(str(value))


def _minus(number: str) -> str:
    return f"−{number[1:]}" if number.startswith("-") else number


def fixed(value: float | None, decimals: int) -> Cell:
    """Cell of a number with so many decimals, as columns of one kind of number have them."""
    return Cell(_EMPTY) if value is None else Cell(_minus(f"{value:,.{decimals}f}"), float(value))


def points_table(evidence: Evidence) -> Table:
    """Every point: mean over seeds, its deviation, and how many."""
    points = average_seeds(evidence.losses)
    many = len(unique(points, "study")) > 1
    width = "width" in points.columns
    first_columns = [*(["study"] if many else []), "network", *(["width"] if width else [])]
    columns = [*first_columns, "N", "D", "L_val", "std", "seeds"]
    rows = []
    for row in points.head(MOST_ROWS).to_dict("records"):
        wide = [] if not width else [Cell(_EMPTY) if pd.isna(row["width"]) else cell(int(row["width"]))]
        known = [cell(int(row["n_seeds"]))] if row["n_seeds"] else [Cell("not known")]
        first = [cell(row["study"])] if many else []
        middle = [cell(row["model"]), *wide, cell(int(row["N"])), cell(int(row["D"]))]
        rows.append([*first, *middle, cell(float(row["val_loss_mean"])), cell(float(row["val_loss_std"]), 2), *known])
    caption = "Points: mean over seeds and population standard deviation"
    return Table(caption=caption, columns=columns, rows=rows, note=_cut(len(points), evidence), folded=len(rows) > 30)


def runs_table(evidence: Evidence) -> Table | None:
    """Every run, those that did not finish among them; None where only averages are known."""
    if not evidence.has_runs:
        return None
    frame = evidence.rows
    shown = [name for name in _RUN_COLUMNS if name in frame.columns and not _all_empty(frame[name])]
    if "study" in shown and len(unique(frame, "study")) < 2:
        shown.remove("study")
    rows = [[_run_cell(row[name]) for name in shown] for row in frame.head(MOST_ROWS).to_dict("records")]
    columns = [_RUN_COLUMNS[name] for name in shown]
    return Table(caption="Runs", columns=columns, rows=rows, note=_cut(len(frame), evidence), folded=True)


def _run_cell(value: Any) -> Cell:
    whole = isinstance(value, float) and value.is_integer()
    return cell(int(value) if whole else value)


def _all_empty(values: pd.Series) -> bool:
    return bool((values.isna() | (values.astype(str) == "")).all())


def _cut(n: int, evidence: Evidence) -> str:
    return f"The first {MOST_ROWS:,} of {n:,} rows; all are in {evidence.source.name}." if n > MOST_ROWS else ""


def laws_table(one: Series) -> Table:
    """Every law that was fitted to a series, beside the last value, the law to use in bold."""
    judged = {} if one.choice is None else {row.law: row for row in one.choice.table}
    rows = []
    names = [name for name in [LAST_VALUE, *one.fits] if name in judged or name in one.fits]
    for name in names:
        fit, row = one.fits.get(name), judged.get(name)
        if fit is not None and not fit.fitted:
            continue
        held = None if row is None or row.rmsle is None else 100.0 * row.rmsle
        strong = name == one.best
        numbers = [
            fixed(held, 2),
            fixed(None if row is None or row.weight <= 0 else row.weight, 2),
            *_criteria(fit),
        ]
        formula = LAWS[name].formula if name in LAWS else "the loss stays what it was"
        rows.append([Cell(label(name), strong=strong), *numbers, Cell(_parameters(fit)), Cell(formula)])
    columns = ["law", "held out / %", "weight", "chi²/dof", "AICc", "BIC", "k", "parameters", "L ="]
    return Table(caption="Laws of this series, the one to use in bold", columns=columns, rows=rows)


def _criteria(fit: LawFit | None) -> list[Cell]:
    if fit is None:
        return [Cell(_EMPTY)] * 4
    return [fixed(fit.redchi if fit.noise is not None else None, 2), fixed(fit.aicc, 1), fixed(fit.bic, 1), cell(fit.k)]


def _parameters(fit: LawFit | None) -> str:
    if fit is None:
        return _EMPTY
    law = LAWS.get(fit.law)
    names = law.parameters if law is not None else tuple(fit.params)
    parts = []
    for name in names:
        value, error = fit.params[name]
        shown = name.replace("log10_", "log10 ")
        parts.append(f"{shown} = {value:.4g}" + ("" if error is None else f" ± {error:.2g}"))
    return ", ".join(parts)
