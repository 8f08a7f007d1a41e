"""The quantity that further runs are to pin down, read off any set of parameters of any law that has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optiscale.advice.draws import Draws
from optiscale.errors import UserError
from optiscale.laws import LAWS, Series, get_law
from optiscale.laws.registry import LOG_PREFIX

Array = NDArray[np.float64]

LOSS, SLOPE = "loss@", "alpha"
_BREAKS = {"D_c": "D", "N_c": "N"}
_STEP = 1.1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A number that the laws of a series give.

    Attributes
    ----------
    text
        As asked: ``"D_c"``, ``"N_c"``, the name of a parameter, ``"alpha"`` (-d ln L / d ln D at the largest sizes), or
        ``"loss@D,N"``.
    parameters
        Parameter that it is, by law; empty for what every law gives.
    at
        Sizes of a loss, or of a slope, by variable of the laws.
    """

    text: str
    parameters: Mapping[str, str]
    at: Mapping[str, float]

    @property
    def is_length(self) -> bool:
        """Whether values are decimal logarithms of the answer."""
        return any(name.startswith(LOG_PREFIX) for name in self.parameters.values())

    def has(self, law: str) -> bool:
        """Whether a law gives this answer."""
        return bool(self.at) or law in self.parameters

    def values(self, draws: Draws) -> Array:
        """Answer of every draw, (n,): the parameter (of a length its decimal logarithm), ln loss, or the slope."""
        if not self.at:
            parts = [
                values[:, get_law(law).parameters.index(self.parameters[law])]
                for law, values in draws.parameters.items()
            ]
            return np.concatenate(parts)
        sizes = {name: np.array([size]) for name, size in self.at.items()}
        with np.errstate(divide="ignore"):
            here = np.log(draws.predict(sizes))[:, 0]
            if self.text != SLOPE:
                return np.asarray(here)
            along = "x" if "x" in sizes else "D"
            there = np.log(draws.predict({**sizes, along: sizes[along] / _STEP}))[:, 0]
        return np.asarray((there - here) / np.log(_STEP))

    def shown(self, value: float) -> float:
        """Turn one of :meth:`values` into what a reader wants: a length, a loss, or the value itself."""
        if self.is_length:
            return float(10.0 ** min(max(value, -300.0), 300.0))
        return float(np.exp(value)) if self.text.startswith(LOSS) else float(value)


def answer_of(text: str, series: Series) -> Answer:
    """Read what is asked of a series.

    Raises
    ------
    UserError
        If it is nothing that the laws of the series know.
    """
    if text.startswith(LOSS):
        return Answer(text=text, parameters={}, at=_sizes(text, series))
    if text == SLOPE:
        if series.kind != "map":
            return Answer(text=text, parameters={}, at={"x": float(series.points["x"].max())})
        return Answer(text=text, parameters={}, at={name: float(series.points[name].max()) for name in ("N", "D")})
    laws = [name for name, fit in series.fits.items() if fit.fitted]
    found = {law: name for law in laws if (name := _parameter(text, law, series)) is not None}
    if not found:
        known = sorted({name.removeprefix(LOG_PREFIX) for law in laws for name in LAWS[law].parameters})
        raise UserError(
            f"answer {text!r}: no law fitted to {series.model} has it: choose D_c, alpha, loss@D,N or one of "
            f"{', '.join(known) or 'none'}"
        )
    return Answer(text=text, parameters=found, at={})


def _parameter(text: str, law: str, series: Series) -> str | None:
    """Name of the parameter of a law that `text` means."""
    if text in _BREAKS:
        along = "N" if series.kind == "parameters" else "D"
        for name, variable in get_law(law).breaks.items():
            if _BREAKS[text] == (along if variable == "x" else variable):
                return name
        return None
    return next((name for name in get_law(law).parameters if text in (name, name.removeprefix(LOG_PREFIX))), None)


def _sizes(text: str, series: Series) -> dict[str, float]:
    try:
        D, N = (float(part) for part in text.removeprefix(LOSS).split(","))
    except ValueError:
        D = N = float("nan")
    if not (np.isfinite([D, N]).all() and min(D, N) > 0):
        raise UserError(f"answer {text!r}: write loss@D,N, such as loss@320000,8140195")
    if series.kind == "map":
        return {"N": N, "D": D}
    [(name, fixed)] = [(name, size) for name, size in series.fixed.items() if name in ("D", "N")]
    if {"D": D, "N": N}[name] != fixed:
        raise UserError(f"answer {text!r}: the runs of {series.model} have {name} = {fixed} only")
    return {"x": N if name == "D" else D}
