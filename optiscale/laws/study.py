"""Find the series of points in a study and fit every law that applies to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from optiscale.errors import UserError
from optiscale.io import read_json, write_json
from optiscale.laws.losses import LEFT_OUT, MEAN, STD
from optiscale.laws.published import fit_published as fit_law
from optiscale.laws.registry import LAWS
from optiscale.laws.result import LawFit

SeriesKind = Literal["data", "parameters", "map"]

MIN_POINTS = 3
ASYMPTOTE_POINTS = 3
_MAP_FILLED = 0.75  # a grid with more holes than that is a cross of two series, not a map
_SCHEMA = 1
_POINT_COLUMNS = ("x", "N", "D", "width", "mean", "std", "n_seeds")


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Points of one network along one variable, or over a grid, with the laws fitted to them.

    Attributes
    ----------
    kind
        ``"data"`` (x = D at fixed N), ``"parameters"`` (x = N at fixed D) or ``"map"`` (N and D).
    study, model
        Where the points are from.
    fixed
        What does not vary: ``{"N": …, "width": …}`` (width if known), ``{"D": …}``, or nothing for a map.
    points
        Columns x, N, D, width, mean, std, n_seeds, sorted by x. For a map x is D. Width is 0 where unknown.
    fits
        Fit by name of the law.
    best
        Law with the lowest AICc; where no AICc exists, the fitted law with the fewest parameters; None without a fit.
    head, tail
        Power laws of the first and last three points; None for a map.
    """

    kind: SeriesKind
    study: str
    model: str
    fixed: dict[str, int]
    points: pd.DataFrame
    fits: dict[str, LawFit]
    best: str | None
    head: LawFit | None = None
    tail: LawFit | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "kind": self.kind,
            "study": self.study,
            "model": self.model,
            "fixed": self.fixed,
            "points": {name: self.points[name].tolist() for name in _POINT_COLUMNS},
            "fits": {name: fit.to_dict() for name, fit in self.fits.items()},
            "best": self.best,
            "head": None if self.head is None else self.head.to_dict(),
            "tail": None if self.tail is None else self.tail.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Series:
        """Rebuild a series from :meth:`to_dict`."""
        return cls(
            **{
                **value,
                "points": pd.DataFrame(value["points"], columns=list(_POINT_COLUMNS)),
                "fits": {name: LawFit.from_dict(fit) for name, fit in value["fits"].items()},
                "head": None if value["head"] is None else LawFit.from_dict(value["head"]),
                "tail": None if value["tail"] is None else LawFit.from_dict(value["tail"]),
            }
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class StudyFits:
    """All series of one or more studies; `notes` says what was left out and why."""

    series: list[Series] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {"schema": _SCHEMA, "notes": list(self.notes), "series": [one.to_dict() for one in self.series]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> StudyFits:
        """Rebuild the fits from :meth:`to_dict`."""
        return cls(series=[Series.from_dict(one) for one in value["series"]], notes=tuple(value["notes"]))

    def save(self, path: Path) -> None:
        """Write the fits as JSON, atomically."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: Path) -> StudyFits:
        """Read fits that :meth:`save` wrote.

        Raises
        ------
        UserError
            If the file is not one of them.
        """
        try:
            value = read_json(Path(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable as fits ({error}): run the fit again") from error
        if not isinstance(value, dict) or value.get("schema") != _SCHEMA:
            raise UserError(f"{path}: not a file of fits of schema {_SCHEMA}: run the fit again")
        return cls.from_dict(value)


def fit_study(averages: pd.DataFrame) -> StudyFits:
    """Fit every registered law to every series of every network.

    A series has at least three points. For each fixed N there is a series over D, for each fixed D one over N; a
    network measured on a grid of at least 3 x 3 with three quarters of its cells also has a map. A law with no fewer
    parameters than points is recorded as not fitted, with the reason.

    Parameters
    ----------
    averages
        What :func:`~optiscale.laws.losses.average_seeds` returns.

    Raises
    ------
    UserError
        If the frame has no rows.
    """
    if averages.empty:
        raise UserError("no points to fit: the table of averages is empty")
    frame = averages if "study" in averages.columns else averages.assign(study="")
    notes = []
    if averages.attrs.get(LEFT_OUT):
        notes.append(f"{averages.attrs[LEFT_OUT]} runs that did not finish are left out")
    series: list[Series] = []
    for (study, model), points in frame.groupby(["study", "model"], sort=True):
        found = list(_series_of(str(study), str(model), _tidy(points)))
        if not found:
            notes.append(f"{model} of study {study or '(unnamed)'}: no series of {MIN_POINTS} points, nothing fitted")
        series += found
    return StudyFits(series=series, notes=tuple(notes))


def _tidy(points: pd.DataFrame) -> pd.DataFrame:
    width = points["width"].fillna(0) if "width" in points.columns else 0
    return points.assign(width=width).rename(columns={MEAN: "mean", STD: "std"}).astype({"width": "int64"})


def _series_of(study: str, model: str, points: pd.DataFrame) -> Iterator[Series]:
    for n in sorted(points["N"].unique()):
        along_d = points[points["N"] == n]
        if along_d["D"].nunique() >= MIN_POINTS:
            widths = along_d["width"].unique()
            width = {"width": int(widths[0])} if len(widths) == 1 and widths[0] else {}
            yield _fit_series("data", study, model, {"N": int(n), **width}, along_d)
    for d in sorted(points["D"].unique()):
        along_n = points[points["D"] == d]
        if along_n["N"].nunique() >= MIN_POINTS:
            yield _fit_series("parameters", study, model, {"D": int(d)}, along_n)
    n_of_n, n_of_d = points["N"].nunique(), points["D"].nunique()
    if min(n_of_n, n_of_d) >= MIN_POINTS and len(points) >= _MAP_FILLED * n_of_n * n_of_d:
        yield _fit_series("map", study, model, {}, points)


def _fit_series(kind: SeriesKind, study: str, model: str, fixed: dict[str, int], points: pd.DataFrame) -> Series:
    along = "N" if kind == "parameters" else "D"
    points = points.sort_values([along, "N", "D"]).assign(x=lambda frame: frame[along])
    points = points[list(_POINT_COLUMNS)].reset_index(drop=True)
    law_kind = "2d" if kind == "map" else "1d"
    fits = {name: _fit(name, points) for name, law in LAWS.items() if law.kind == law_kind}
    one_dimensional = kind != "map"
    return Series(
        kind=kind,
        study=study,
        model=model,
        fixed=fixed,
        points=points,
        fits=fits,
        best=best_law(fits),
        head=_fit("power", points.head(ASYMPTOTE_POINTS)) if one_dimensional else None,
        tail=_fit("power", points.tail(ASYMPTOTE_POINTS)) if one_dimensional else None,
    )


def _fit(name: str, points: pd.DataFrame) -> LawFit:
    x = {variable: points[variable].to_numpy() for variable in LAWS[name].variables}
    return fit_law(name, x, points["mean"].to_numpy(), points["std"].to_numpy())


def best_law(fits: Mapping[str, LawFit]) -> str | None:
    """Name of the law with the lowest AICc; where none has one, the fitted law with the fewest parameters."""
    fitted = {name: fit for name, fit in fits.items() if fit.fitted}
    if not fitted:
        return None
    ranked = {name: fit.aicc for name, fit in fitted.items() if fit.aicc is not None}
    if ranked:
        return min(ranked, key=lambda name: float(ranked[name] if ranked[name] is not None else np.inf))
    return min(fitted, key=lambda name: fitted[name].k)
