"""Tables of losses from known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from optiscale.laws import Points, Series, StudyFits, average_seeds, choose_many, fit_study, get_law, read_losses

FLOOR = (4.4, 0.5, 0.4)
BROKEN = (4.7, 0.15, 0.42)
MAP = (2.0, 1.5, 0.4, 0.35, 0.4)
MAP_N = [200_000, 600_000, 2_000_000, 6_000_000, 20_000_000]
MAP_D = [2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000]
LINE_D = [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000]


def runs(
    law: str,
    values: Sequence[float],
    *,
    D: Sequence[int],
    N: Sequence[int],
    seed: int = 0,
    relative: float = 5e-3,
    wall: Callable[[float, float], float] | None = None,
    **columns: object,
) -> pd.DataFrame:
    """Three runs a cell of a law whose runs scatter by `relative` of the loss, with what each took, if told."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in N:
        for d in D:
            sizes = (float(d),) if get_law(law).kind == "1d" else (float(n), float(d))
            mean = float(get_law(law).function(*sizes, *values))
            for s in (1, 2, 3):
                took = {} if wall is None else {"wall_s": wall(n, d) * rng.lognormal(0.0, 0.05)}
                loss = mean * np.exp(relative * rng.normal())
                rows.append({"model": "net", "D": d, "N": n, "seed": s, "val_loss": loss, **took, **columns})
    return pd.DataFrame(rows)


def averages(law: str, values: Sequence[float], **given: object) -> pd.DataFrame:
    """Means over the seeds of :func:`runs`."""
    return average_seeds(read_losses(runs(law, values, **given)))


def fitted(law: str, values: Sequence[float], **given: object) -> StudyFits:
    """Fits of :func:`runs`."""
    return fit_study(averages(law, values, **given))


def mapped(tables: Sequence[pd.DataFrame]) -> list[Series]:
    """The map of each table, fitted without the lines along it, which takes most of the time."""
    frames = [
        table.rename(columns={"val_loss_mean": "mean", "val_loss_std": "std"}).assign(x=table["D"], width=0)
        for table in tables
    ]
    choices = choose_many([Points.from_frame(frame, ("N", "D")) for frame in frames])
    return [
        Series(
            kind="map", study="", model="net", fixed={}, points=frame, fits=dict(one.fits), best=one.best, choice=one
        )
        for frame, one in zip(frames, choices, strict=True)
    ]
