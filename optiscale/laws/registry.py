r"""The laws by name, each with its parameters, bounds, first guess and formula.

A law of one's own takes five lines::

    register(Law(name="logarithm", label="Logarithm", kind="1d",
                 function=lambda x, b, c: b - c * np.log10(x),
                 parameters=("b", "c"),
                 guess=lambda x, loss: {"b": 2.0, "c": 0.1},
                 formula="b - c log10(x)", latex=r"b - c \log_{10} x"))

A parameter whose name starts with ``log10_`` is a length fitted by its logarithm; a fit reports it both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import lmfit
import numpy as np

from optiscale.errors import UserError
from optiscale.laws import functions, guesses

Kind = Literal["1d", "2d"]
VARIABLES: dict[str, tuple[str, ...]] = {"1d": ("x",), "2d": ("N", "D")}
LOG_PREFIX = "log10_"


class LawModel(lmfit.Model):
    """An ``lmfit.Model`` of a law that knows its bounds and its first guess."""

    def __init__(self, law: Law) -> None:
        # A start that runs into NaN is dropped by its chi-square; it must not end the other starts.
        super().__init__(law.function, independent_vars=list(law.variables), name=law.name, nan_policy="propagate")
        for name, (low, high) in law.bounds.items():
            self.set_param_hint(name, min=low, max=high)
        self.law = law

    def guess(self, data: Any, **variables: Any) -> lmfit.Parameters:  # noqa: D102 - described by lmfit
        arrays = {name: np.asarray(variables[name], dtype=float) for name in self.law.variables}
        return self.make_params(**self.law.guess(arrays, np.asarray(data, dtype=float)))


@dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law.

    Parameters
    ----------
    name
        Key in :data:`LAWS` and in result files.
    label
        Name in tables and figures.
    kind
        ``"1d"``, a function of x, or ``"2d"``, a function of N and D.
    function
        ``function(x, *parameters)`` or ``function(N, D, *parameters)``, vectorized.
    parameters
        Names of the fitted parameters, in the order of `function`.
    guess
        First guess from the variables by name and the losses.
    bounds
        Lower and upper bound of a parameter; a parameter not named is free.
    formula, latex
        Right-hand side of L = … as text and as LaTeX (math mode).
    """

    name: str
    label: str
    kind: Kind
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    guess: guesses.Guess
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    formula: str = ""
    latex: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the independent variables."""
        return VARIABLES[self.kind]

    def model(self) -> LawModel:
        """Make an ``lmfit.Model`` of the law, with ``guess``."""
        return LawModel(self)


LAWS: dict[str, Law] = {}


def register(law: Law) -> Law:
    """Add a law; every later fit of a study includes it.

    Raises
    ------
    UserError
        If the name is taken.
    """
    if law.name in LAWS:
        raise UserError(f"law {law.name!r} is already registered: choose another name")
    LAWS[law.name] = law
    return law


def get_law(name: str) -> Law:
    """Law by name.

    Raises
    ------
    UserError
        If there is no such law.
    """
    if name not in LAWS:
        raise UserError(f"unknown law {name!r}: choose one of {', '.join(LAWS)}, or register it first")
    return LAWS[name]


_NOT_NEGATIVE = (0.0, np.inf)

register(
    Law(
        name="power",
        label="Power law",
        kind="1d",
        function=functions.power,
        parameters=("log10_x0", "a"),
        guess=guesses.guess_power,
        formula="(x0/x)^a",
        latex=r"(x_0/x)^{\alpha}",
    )
)
register(
    Law(
        name="floor",
        label="Power law with floor",
        kind="1d",
        function=functions.floor,
        parameters=("log10_x0", "a", "Linf"),
        guess=guesses.guess_floor,
        bounds={"Linf": _NOT_NEGATIVE},
        formula="Linf + (x0/x)^a",
        latex=r"L_\infty + (x_0/x)^{\alpha}",
    )
)
register(
    Law(
        name="broken",
        label="Broken power law",
        kind="1d",
        function=functions.broken,
        parameters=("log10_xc", "a1", "a2"),
        guess=guesses.guess_broken,
        formula="(xc/x)^a2 (1 + xc/x)^(a1 - a2)",
        latex=r"(x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
    )
)
register(
    Law(
        name="broken_amplitude",
        label="Broken power law with amplitude",
        kind="1d",
        function=functions.broken_amplitude,
        parameters=("log10_xc", "a1", "a2", "A"),
        guess=guesses.guess_broken_amplitude,
        bounds={"A": _NOT_NEGATIVE},
        formula="A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
        latex=r"A (x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
    )
)
register(
    Law(
        name="kaplan",
        label="Kaplan map",
        kind="2d",
        function=functions.kaplan,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2"),
        guess=guesses.guess_kaplan,
        formula="[(Nc/N)^(aN/a2) + (Dc/D) (1 + Dc/D)^(a1/a2 - 1)]^a2",
        latex=r"\left[(N_c/N)^{\alpha_N/\alpha_2} + (D_c/D) (1 + D_c/D)^{\alpha_1/\alpha_2 - 1}\right]^{\alpha_2}",
    )
)
register(
    Law(
        name="hoffmann",
        label="Hoffmann map",
        kind="2d",
        function=functions.hoffmann,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2", "L0"),
        guess=guesses.guess_hoffmann,
        bounds={"L0": _NOT_NEGATIVE},
        formula="L0 + (Nc/N)^aN + (Dc/D)^a2 (1 + Dc/D)^(a1 - a2)",
        latex=r"L_0 + (N_c/N)^{\alpha_N} + (D_c/D)^{\alpha_2} (1 + D_c/D)^{\alpha_1 - \alpha_2}",
    )
)
