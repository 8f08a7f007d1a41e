"""What a report is made from: the runs, their averages, the fits, the learning curves and the study file."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from optiscale.config import RESOLVED
from optiscale.errors import UserError
from optiscale.io import file_hash
from optiscale.laws import StudyFits, average_seeds, fit_study, read_losses, read_table

RUNS, CURVES, FITS = "runs.parquet", "curves.parquet", "fits.json"
_DEFAULT_LOSS = "val_loss"
_CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """One study, read and checked.

    Attributes
    ----------
    name, description
        Of the study; a bare table is called after its file.
    source
        File that the losses are from.
    source_hash
        SHA-256 of that file.
    rows
        The table as it is, with runs that did not finish.
    losses
        Checked rows of finished runs, or of points where the table was averaged elsewhere; the loss that was fitted
        is val_loss, or val_loss_mean and val_loss_std.
    fits
        Fitted laws, chosen by held-out error.
    curves
        Learning curves, or None.
    resolved
        Text of the study file as run, or None for a bare table.
    """

    name: str
    description: str
    source: Path
    source_hash: str
    rows: pd.DataFrame
    losses: pd.DataFrame
    fits: StudyFits
    curves: pd.DataFrame | None = None
    resolved: str | None = None

    @property
    def has_runs(self) -> bool:
        """Whether there is a row a run, not a row a point."""
        return "seed" in self.losses.columns and "val_loss" in self.losses.columns

    def seeds_of(self, points: pd.DataFrame, *, study: str, model: str) -> pd.DataFrame:
        """Return the runs behind the points of a series; no rows where only averages are known."""
        losses = self.losses
        if not self.has_runs:
            return losses.iloc[:0]
        chosen = losses["model"].astype(str) == model
        if "study" in losses.columns:
            chosen &= losses["study"].astype(str) == study
        return losses[chosen].merge(points[["N", "D"]].drop_duplicates(), on=["N", "D"])


def read_evidence(path: Path) -> Evidence:
    """Read a results folder, or a table of losses.

    The fits are those of the folder's ``fits.json`` where they hold the losses of today; otherwise the laws are fitted
    here, by the held-out protocol, and nothing is written.

    Parameters
    ----------
    path
        Results folder with ``runs.parquet``, or a Parquet or CSV table with D, N, seed and the loss.

    Raises
    ------
    UserError
        If there are no finished runs there, or the table cannot be read.
    """
    folder = path if path.is_dir() else None
    source = path / RUNS if folder else path
    if folder and not source.exists():
        raise UserError(f"{path}: no {RUNS} in this folder: run the study first, or name a table of losses")
    saved = _saved_fits(folder / FITS) if folder else None
    loss = None if saved is None or saved.loss == _DEFAULT_LOSS else saved.loss
    losses = read_losses(source, loss=loss)
    averages = average_seeds(losses)
    fits = saved if saved is not None and _same_points(saved, averages) else fit_study(averages)
    resolved = _text(folder / RESOLVED) if folder else None
    described: dict[str, Any] = yaml.safe_load(resolved) if resolved else {}
    curves = folder / CURVES if folder else None
    return Evidence(
        name=str(described.get("name") or _only(losses, "study") or path.resolve().stem),
        description=str(described.get("description") or ""),
        source=source,
        source_hash=file_hash(source),
        rows=read_table(source),
        losses=losses,
        fits=fits,
        curves=read_table(curves) if curves is not None and curves.exists() else None,
        resolved=resolved,
    )


def unique(frame: pd.DataFrame, column: str) -> list[str]:
    """Values of a column as text, sorted, without missing ones; none if there is no such column."""
    return sorted({str(value) for value in frame[column].dropna()}) if column in frame.columns else []


def _only(frame: pd.DataFrame, column: str) -> str | None:
    values = unique(frame, column)
    return values[0] if len(values) == 1 else None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _saved_fits(path: Path) -> StudyFits | None:
    if not path.exists():
        return None
    fits = StudyFits.load(path)
    return fits if fits.protocol == "held-out" else None


def _same_points(fits: StudyFits, averages: pd.DataFrame) -> bool:
    """Whether the fits are of these very losses: each of their points is there, and no point is missing."""
    now = {_key(row): float(row["val_loss_mean"]) for row in averages.to_dict("records")}
    then: dict[tuple[str, str, int, int], float] = {}
    for one in fits.series:
        for row in one.points.to_dict("records"):
            then[one.study, one.model, int(row["N"]), int(row["D"])] = float(row["mean"])
    if not then or not then.keys() <= now.keys():
        return False
    fitted = {key[:2] for key in then}
    lost = _not_in_series(key for key in now.keys() - then.keys() if key[:2] in fitted)
    return not lost and all(abs(now[key] - value) <= _CLOSE * value for key, value in then.items())


def _not_in_series(keys: Iterable[tuple[str, str, int, int]]) -> bool:
    """Whether points that no series holds would make one: three of a network along one size."""
    counts: dict[tuple[str, str, str, int], int] = {}
    for study, model, n, d in keys:
        for along, fixed in (("N", n), ("D", d)):
            place = (study, model, along, fixed)
            counts[place] = counts.get(place, 0) + 1
    return any(count >= 3 for count in counts.values())


def _key(row: Mapping[Hashable, Any]) -> tuple[str, str, int, int]:
    return str(row.get("study", "")), str(row["model"]), int(row["N"]), int(row["D"])
