"""A fitted series seen along one variable: the question "what if more of this?" in one form for lines and maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from optiscale.errors import UserError
from optiscale.laws import LAWS, Choice, Series, StudyFits, rolling_origin
from optiscale.laws.choice import Of, reach_beyond
from optiscale.laws.extrapolation import LAST_VALUE, REACH, sizes_of
from optiscale.laws.study import MIN_POINTS

Array = NDArray[np.float64]
Variable = Literal["D", "N"]

_COUNTS = 1e-3  # weight from which a law of the ensemble is named and drawn from
_FULL = 0.995  # damping above which all of a fall is believed, in words


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Loss along D at fixed N, or along N at fixed D.

    Attributes
    ----------
    series
        The points and their choice of laws: a line, or a map that is cut at the fixed size.
    variable
        What varies, ``"D"`` or ``"N"``.
    fixed
        The size of the other.
    """

    series: Series
    variable: Variable
    fixed: int

    @property
    def choice(self) -> Choice:
        """The laws and their weights."""
        return choice_of(self.series)

    @property
    def other(self) -> Variable:
        """Name of what is fixed."""
        return "N" if self.variable == "D" else "D"

    @property
    def measured(self) -> tuple[float, float]:
        """Smallest and largest size measured along the curve's variable."""
        sizes = self.series.points[self.variable]
        return float(sizes.min()), float(sizes.max())

    def at(self, size: ArrayLike) -> dict[str, Any]:
        """Arguments of the laws at the given sizes."""
        sizes = np.asarray(size, dtype=float)
        if self.series.kind != "map":
            return {"x": sizes}
        return {self.variable: sizes, self.other: np.full_like(sizes, self.fixed)}

    def predict(self, size: ArrayLike) -> Array:
        """Mean loss of the ensemble, shape of the argument."""
        return self.choice.predict(**self.at(size))

    def interval(self, size: ArrayLike, *, level: float, of: Of = "mean") -> tuple[Array, Array]:
        """Calibrated interval of the mean loss or of a run, shape of the argument."""
        return self.choice.interval(level=level, of=of, **self.at(size))

    def reach(self, size: ArrayLike) -> Array:
        """Return ln of the factor by which each size lies beyond the points; 0 inside."""
        return reach_beyond(self.at(size), self.choice.largest)


def choice_of(series: Series) -> Choice:
    """Choice of laws of a series that can predict.

    Raises
    ------
    UserError
        If the series was fitted as published, or not at all.
    """
    name = f"{series.model}, {series.kind}"
    if series.choice is None:
        raise UserError(f"{name}: fitted as published, without held-out errors: fit it again without --published")
    if not series.choice.weights:
        raise UserError(f"{name}: no law was fitted ({series.choice.reason}): add sizes")
    return series.choice


def law_in_words(choice: Choice) -> str:
    """Name the law in use: the only one, or the ensemble with its weights, the heaviest first, and damping."""
    weights = {name: weight for name, weight in choice.weights.items() if weight > _COUNTS}
    damped = f"; {100 * choice.damping:.0f} % of its fall beyond the points" if choice.damping < _FULL else ""
    if len(weights) == 1:
        return LAWS[next(iter(weights))].label + damped
    shares = sorted(weights.items(), key=lambda one: -one[1])
    named = ", ".join(f"{LAWS[name].label} {weight:.2f}" for name, weight in shares if weight >= 0.005)
    return f"ensemble: {named}{damped}"


def curves_of(
    fits: StudyFits, *, D: Sequence[int] = (), N: Sequence[int] = (), along: Variable | None = None
) -> Iterator[Curve]:
    """Curves that can answer a question about sizes D, sizes N, or both.

    A network with a map is answered by its map, cut at the sizes asked for, or at every size measured; a network
    without one by its lines, whose fixed size must be the one asked for, if one is.

    Parameters
    ----------
    fits
        Fitted series of one or more networks.
    D, N
        Sizes that the question fixes; empty where it leaves them open.
    along
        Variable of the curves; both if not given.
    """
    mapped = {(one.study, one.model) for one in fits.series if one.kind == "map"}
    for one in fits.series:
        for variable, fixed, kind in (("D", N, "data"), ("N", D, "parameters")):
            if along not in (None, variable):
                continue
            other = "N" if variable == "D" else "D"
            if one.kind == "map":
                places = list(fixed) or _measured(one, other)
                yield from (_curve(one, variable, size) for size in places)
            elif one.kind == kind and (one.study, one.model) not in mapped and _usable(one):
                size = one.fixed[other]
                if not fixed or size in fixed:
                    yield _curve(one, variable, size)


def _measured(series: Series, name: str) -> list[int]:
    return sorted(int(size) for size in series.points[name].unique())


def _curve(series: Series, variable: str, fixed: int) -> Curve:
    return Curve(series=series, variable="D" if variable == "D" else "N", fixed=int(fixed))


def _usable(series: Series) -> bool:
    """Whether a line says anything: in a cross of two lines the short ones have too few points for any law."""
    return series.choice is None or bool(series.choice.weights)


def reach_tested(series: Series, *, reach: float = REACH) -> float:
    """Return ln of the largest factor beyond the points fitted at which held-out points have judged the laws; >= 0."""
    table = rolling_origin(series.as_points(), [], reach=reach)
    held = table.get(LAST_VALUE)
    return max((float(one.max()) for one in held.reaches), default=0.0) if held is not None else 0.0


def support(curve: Curve, size: float, *, tested: float) -> str:
    """Say in words how far a size lies beyond what the points can support; empty where it does not.

    Parameters
    ----------
    curve
        The curve.
    size
        Of its variable.
    tested
        What :func:`reach_tested` returned.
    """
    notes = []
    points = curve.series.points
    for name, value in ((curve.variable, size), (curve.other, float(curve.fixed))):
        low = float(points[name].min())
        if value < low:
            notes.append(f"{name} = {value:,.0f} lies below the smallest measured, {low:,.0f}: no law was tested there")
    beyond = float(curve.reach(size))
    if beyond > tested * (1 + 1e-9) and beyond > 0:
        sizes = sizes_of(curve.at(size))
        far = max(sizes, key=lambda name: float(sizes[name]) / curve.choice.largest[name])
        what = {"x": curve.variable, "C": "N D"}.get(far, far)
        span = np.log10(curve.measured[1] / curve.measured[0])
        judged = f"judged the laws up to {np.exp(tested):.2g} times only" if tested > 0 else "could not judge the laws"
        notes.append(
            f"{what} = {float(sizes[far]):,.0f} lies {np.exp(beyond):.3g} times ({beyond / np.log(10):.1f} decades) "
            f"beyond the data, which span {span:.1f} decades of {curve.variable}; held-out sizes {judged}: the "
            "interval is an assumption there"
        )
    return "; ".join(notes)


def beyond_of(averages: pd.DataFrame, *, D: Sequence[int] = (), N: Sequence[int] = ()) -> float:
    """Factor by which the sizes asked for lie beyond those of the network that they are farthest from; 1 inside.

    It is the reach that the laws are best judged at (:func:`~optiscale.laws.fit_study`).
    """
    keys = [name for name in ("study", "model") if name in averages.columns]
    factors = [1.0]
    for _, points in averages.groupby(keys):
        for name, sizes in (("D", D), ("N", N)):
            if sizes and points[name].nunique() >= MIN_POINTS:  # else no law of it answers
                factors.append(max(sizes) / float(points[name].max()))
    return max(factors)
