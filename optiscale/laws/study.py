"""Find the series of points in a study, fit every law that applies to each, choose among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from optiscale.errors import UserError
from optiscale.io import FITS_SCHEMA, read_json, write_json
from optiscale.laws.breaks import Break, how_broken
from optiscale.laws.choice import Choice
from optiscale.laws.choosing import choose_many
from optiscale.laws.extrapolation import REACH
from optiscale.laws.fit import FitOptions, fit_many
from optiscale.laws.losses import LEFT_OUT, LOSS, MEAN, STD
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.published import fit_published
from optiscale.laws.registry import LAWS
from optiscale.laws.result import LawFit

SeriesKind = Literal["data", "parameters", "map"]
Protocol = Literal["held-out", "published"]

MIN_POINTS = 3
ASYMPTOTE_POINTS = 3
_MAP_POINTS = 7
_MAP_FILLED = 0.75  # of a grid; with more holes than that a note says what the map rests on
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
        Law to use; None without a fit. In the published protocol the one with the lowest AICc (where no AICc exists,
        the fitted law with the fewest parameters), else that of `choice`.
    head, tail
        Power laws of the first and last three points; None for a map.
    choice
        The table of laws with their held-out errors, the ensemble, its intervals; None in the published protocol.
    breaks
        What the points say about a break; None in the published protocol, for a series over N, and without fits.
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
    choice: Choice | None = None
    breaks: Break | None = None

    def as_points(self) -> Points:
        """Points as the fits take them."""
        return Points.from_frame(self.points, ("N", "D") if self.kind == "map" else ("x",))

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
            "choice": None if self.choice is None else self.choice.to_dict(),
            "breaks": None if self.breaks is None else self.breaks.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Series:
        """Rebuild a series from :meth:`to_dict`."""
        fits = {name: LawFit.from_dict(fit) for name, fit in value["fits"].items()}
        choice, breaks = value["choice"], value["breaks"]
        return cls(
            **{
                **value,
                "points": pd.DataFrame(value["points"], columns=list(_POINT_COLUMNS)),
                "fits": fits,
                "choice": None if choice is None else Choice.from_dict(choice, fits),
                "breaks": None if breaks is None else Break.from_dict(breaks),
                "head": None if value["head"] is None else LawFit.from_dict(value["head"]),
                "tail": None if value["tail"] is None else LawFit.from_dict(value["tail"]),
            }
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class StudyFits:
    """All series of one or more studies; `notes` says what was left out and why, `loss` which column was fitted."""

    series: list[Series] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    protocol: Protocol = "held-out"
    loss: str = "val_loss"

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return {
            "schema": FITS_SCHEMA,
            "protocol": self.protocol,
            "loss": self.loss,
            "notes": list(self.notes),
            "series": [one.to_dict() for one in self.series],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> StudyFits:
        """Rebuild the fits from :meth:`to_dict`."""
        series = [Series.from_dict(one) for one in value["series"]]
        return cls(series=series, notes=tuple(value["notes"]), protocol=value["protocol"], loss=value["loss"])

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
        if not isinstance(value, dict) or value.get("schema") != FITS_SCHEMA:
            raise UserError(f"{path}: not a file of fits of schema {FITS_SCHEMA}: run the fit again")
        return cls.from_dict(value)


def fit_study(
    averages: pd.DataFrame,
    *,
    protocol: Protocol = "held-out",
    options: FitOptions | None = None,
    reach: float = REACH,
) -> StudyFits:
    """Fit every law to every series of every network, and choose among them.

    A series has at least three points. For each fixed N there is a series over D, for each fixed D one over N; a
    network measured at three or more N and D also has a map (:func:`makes_map`), whatever cells are missing. A law with
    no fewer parameters than points is recorded as not fitted, with the reason.

    Parameters
    ----------
    averages
        What :func:`~optiscale.laws.losses.average_seeds` returns.
    protocol
        ``"held-out"``: every registered law, weighed by the scatter of seeds pooled over all points of a network, and
        chosen by its error at held-out larger sizes. ``"published"``: the six laws of arXiv:2602.05702 as that fitted
        them, chosen by AICc.
    options
        How to fit; not for the published protocol.
    reach
        Factor in size by which the answer will be extrapolated.

    Raises
    ------
    UserError
        If the frame has no rows.
    """
    if averages.empty:
        raise UserError("no points to fit: the table of averages is empty")
    if protocol == "published" and options is not None:
        raise UserError("the published protocol has no options: leave them out, or take the held-out protocol")
    frame = averages if "study" in averages.columns else averages.assign(study="")
    notes = []
    if averages.attrs.get(LEFT_OUT):
        notes.append(f"{averages.attrs[LEFT_OUT]} runs that did not finish are left out")
    bare: list[_Bare] = []
    for (study, model), points in frame.groupby(["study", "model"], sort=True):
        found = list(_series_of(str(study), str(model), _tidy(points)))
        if not found:
            notes.append(f"{model} of study {study or '(unnamed)'}: no series of {MIN_POINTS} points, nothing fitted")
        notes += [_holes(one) for one in found if one.kind == "map" and _filled(one.points) < _MAP_FILLED]
        bare += found
    fitted = _as_published(bare) if protocol == "published" else _held_out(bare, options or FitOptions(), reach)
    loss = str(averages.attrs.get(LOSS, "val_loss"))
    return StudyFits(series=fitted, notes=tuple(notes), protocol=protocol, loss=loss)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bare:
    """A series before it is fitted, with all points of its network."""

    kind: SeriesKind
    study: str
    model: str
    fixed: dict[str, int]
    points: pd.DataFrame
    network: pd.DataFrame

    def as_points(self) -> Points:
        return Points.from_frame(self.points, ("N", "D") if self.kind == "map" else ("x",))

    def noise(self, options: FitOptions) -> Noise | None:
        """Scatter of a run of this network; along a size it must be estimated along the same variable."""
        if options.weights == "by-scale":
            return estimate_noise(self.as_points(), options.weights)
        return estimate_noise(Points.from_frame(self.network, ("N", "D")), options.weights)

    def fitted(self, **parts: Any) -> Series:
        return Series(kind=self.kind, study=self.study, model=self.model, fixed=self.fixed, points=self.points, **parts)


def _tidy(points: pd.DataFrame) -> pd.DataFrame:
    width = points["width"].fillna(0) if "width" in points.columns else 0
    return points.assign(width=width).rename(columns={MEAN: "mean", STD: "std"}).astype({"width": "int64"})


def _series_of(study: str, model: str, points: pd.DataFrame) -> Iterator[_Bare]:
    for n in sorted(points["N"].unique()):
        along_d = points[points["N"] == n]
        if along_d["D"].nunique() >= MIN_POINTS:
            widths = along_d["width"].unique()
            width = {"width": int(widths[0])} if len(widths) == 1 and widths[0] else {}
            yield _bare_series("data", study, model, {"N": int(n), **width}, along_d, points)
    for d in sorted(points["D"].unique()):
        along_n = points[points["D"] == d]
        if along_n["N"].nunique() >= MIN_POINTS:
            yield _bare_series("parameters", study, model, {"D": int(d)}, along_n, points)
    if makes_map(points):
        yield _bare_series("map", study, model, {}, points, points)


def makes_map(points: pd.DataFrame) -> bool:
    """Whether the cells, columns N and D, tell how the loss depends on both: they need not fill a grid.

    At least three N, three D and seven cells, which are no cross of one line over D and one over N: such a cross tells
    nothing about how the two go together.
    """
    at_n = points["N"] == points["N"].mode().iloc[0]
    wide = min(points["N"].nunique(), points["D"].nunique()) >= MIN_POINTS and len(points) >= _MAP_POINTS
    return wide and len(set(points.loc[~at_n, "D"])) > 1


def _filled(points: pd.DataFrame) -> float:
    return len(points) / (points["N"].nunique() * points["D"].nunique())


def _holes(one: _Bare) -> str:
    n_of_n, n_of_d = one.points["N"].nunique(), one.points["D"].nunique()
    return (
        f"{one.model}: {len(one.points)} of the {n_of_n * n_of_d} cells of its grid ({n_of_n} N, {n_of_d} D) were run, "
        "and its map rests on these: it is the less sure where none lie near"
    )


def _bare_series(
    kind: SeriesKind, study: str, model: str, fixed: dict[str, int], points: pd.DataFrame, network: pd.DataFrame
) -> _Bare:
    along = "N" if kind == "parameters" else "D"
    points = points.sort_values([along, "N", "D"]).assign(x=lambda frame: frame[along])
    points = points[list(_POINT_COLUMNS)].reset_index(drop=True)
    return _Bare(kind=kind, study=study, model=model, fixed=fixed, points=points, network=network)


def _held_out(bare: list[_Bare], options: FitOptions, reach: float) -> list[Series]:
    """Fit and choose; all series of one kind of law at once, which is what makes it quick."""
    fitted: dict[int, Series] = {}
    for is_map in (False, True):
        rows = [i for i, one in enumerate(bare) if (one.kind == "map") is is_map]
        points = [bare[i].as_points() for i in rows]
        noises = [bare[i].noise(options) for i in rows]
        choices = choose_many(points, options=options, noises=noises, reach=reach)
        heads, tails = (
            [None] * len(rows) if is_map else fit_many("power", ends, options=options, noises=noises)
            for ends in (
                [one.take(np.arange(ASYMPTOTE_POINTS)) for one in points],
                [one.take(np.arange(-ASYMPTOTE_POINTS, 0)) for one in points],
            )
        )
        for i, one, choice, head, tail in zip(rows, points, choices, heads, tails, strict=True):
            breaks = how_broken(one, choice, options=options) if bare[i].kind != "parameters" else None
            fits = dict(choice.fits)
            fitted[i] = bare[i].fitted(fits=fits, best=choice.best, head=head, tail=tail, choice=choice, breaks=breaks)
    return [fitted[i] for i in range(len(bare))]


def _as_published(bare: list[_Bare]) -> list[Series]:
    series = []
    for one in bare:
        kind = "2d" if one.kind == "map" else "1d"
        fits = {name: _published(name, one.points) for name, law in LAWS.items() if law.published and law.kind == kind}
        ends = (one.points.head(ASYMPTOTE_POINTS), one.points.tail(ASYMPTOTE_POINTS))
        head, tail = (None if kind == "2d" else _published("power", end) for end in ends)
        series.append(one.fitted(fits=fits, best=best_law(fits), head=head, tail=tail))
    return series


def _published(name: str, points: pd.DataFrame) -> LawFit:
    x = {variable: points[variable].to_numpy() for variable in LAWS[name].variables}
    return fit_published(name, x, points["mean"].to_numpy(), points["std"].to_numpy())


def best_law(fits: Mapping[str, LawFit]) -> str | None:
    """Name of the law with the lowest AICc; where none has one, the fitted law with the fewest parameters."""
    fitted = {name: fit for name, fit in fits.items() if fit.fitted}
    if not fitted:
        return None
    ranked = {name: fit.aicc for name, fit in fitted.items() if fit.aicc is not None}
    if ranked:
        return min(ranked, key=lambda name: float(ranked[name] if ranked[name] is not None else np.inf))
    return min(fitted, key=lambda name: fitted[name].k)
