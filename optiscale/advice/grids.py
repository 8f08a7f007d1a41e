"""The map of every network that was run at three or more N and D, whatever cells are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from optiscale.errors import UserError
from optiscale.laws import LAWS, Points, Series, average_seeds, choose_many, fit_study
from optiscale.laws.losses import MEAN, STD
from optiscale.laws.study import makes_map


def networks_of(averages: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, bool]]:
    """Study, model and points of every network, and whether they make a map."""
    named = averages if "study" in averages.columns else averages.assign(study="")
    for (study, model), points in named.groupby(["study", "model"], sort=True):
        yield str(study), str(model), points, makes_map(points)


def map_series(points: pd.DataFrame, *, study: str = "", model: str = "", laws: Sequence[str] | None = None) -> Series:
    """Fit the laws of N and D to cells that need not fill a grid.

    Parameters
    ----------
    points
        Averages over the seeds, a row a cell.
    study, model
        Names to give the series.
    laws
        Laws to fit; all registered ones if not given.
    """
    frame = points.rename(columns={MEAN: "mean", STD: "std"}).assign(x=points["D"]).reset_index(drop=True)
    frame = frame if "width" in frame.columns else frame.assign(width=0)
    names = laws if laws is not None else [name for name, law in LAWS.items() if law.kind == "2d"]
    [choice] = choose_many([Points.from_frame(frame, ("N", "D"))], names)
    return Series(
        kind="map",
        study=study,
        model=model,
        fixed={},
        points=frame,
        fits=dict(choice.fits),
        best=choice.best,
        choice=choice,
    )


def grids_of(averages: pd.DataFrame) -> list[Series]:
    """Fit the maps of all networks that have one.

    Raises
    ------
    UserError
        If none has.
    """
    found = [
        map_series(points, study=study, model=model) for study, model, points, wide in networks_of(averages) if wide
    ]
    usable = [one for one in found if one.best is not None]
    if not usable:
        raise UserError(
            "frontier: no network was run over a grid of N and D (three or more of each): the best pair needs one"
        )
    return usable


def series_to_plan(table: pd.DataFrame) -> Iterator[Series]:
    """One series a network: its map, or else its longest line.

    Parameters
    ----------
    table
        What :func:`~optiscale.laws.read_losses` returned.

    Raises
    ------
    UserError
        If a network has neither.
    """
    for study, model, points, wide in networks_of(average_seeds(table)):
        if wide:
            yield map_series(points, study=study, model=model)
            continue
        lines = [one for one in fit_study(points).series if one.choice is not None and one.choice.weights]
        if not lines:
            raise UserError(
                f"{model}: no law can be fitted to its {len(points)} cells: run three or more sizes of D or of N first"
            )
        yield max(lines, key=lambda one: len(one.points))
