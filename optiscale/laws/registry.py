r"""The laws by name, each with its parameters, bounds, first guess and formula.

A law of one's own takes five lines::

    register(Law(name="logarithm", label="Logarithm", kind="1d",
                 function=lambda x, b, c: b - c * np.log10(x),
                 parameters=("b", "c"),
                 guess=lambda x, loss: {"b": 2.0, "c": 0.1},
                 formula="b - c log10(x)", latex=r"b - c \log_{10} x"))

A parameter whose name starts with ``log10_`` is a length or an amplitude fitted by its logarithm; a fit reports it both
ways. The laws that come with the package are in :mod:`optiscale.laws.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from optiscale.errors import UserError
from optiscale.laws.projection import Projection

if TYPE_CHECKING:
    from optiscale.laws.model import LawModel

Array = NDArray[np.float64]
Guess = Callable[[Mapping[str, Array], Array], dict[str, float]]

Kind = Literal["1d", "2d"]
VARIABLES: dict[str, tuple[str, ...]] = {"1d": ("x",), "2d": ("N", "D")}
LOG_PREFIX = "log10_"


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
    priors
        Centre and deviation of what is known of a parameter before any point: a weak normal prior, worth one deviation
        of one point. It decides only what the points leave open. Our protocol has it, the published one does not.
    levels
        Parameters in the unit of the loss (floors, amplitudes): searched in units of the points' median loss, so that a
        fit does not depend on the unit.
    formula, latex
        Right-hand side of L = … as text and as LaTeX (math mode).
    source
        Where the form is from.
    published
        Whether arXiv:2602.05702 fits this form; the as-published protocol fits only those.
    breaks
        Parameters that say where the slope changes, each with the variable that it is a value of.
    simple
        The law that this one is without its break: the null hypothesis of "is it broken?".
    project
        Solves for the parameters that the law is linear in, for the search of starts
        (:mod:`optiscale.laws.projection`).
    """

    name: str
    label: str
    kind: Kind
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    guess: Guess
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    priors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    levels: tuple[str, ...] = ()
    formula: str = ""
    latex: str = ""
    source: str = ""
    published: bool = False
    breaks: Mapping[str, str] = field(default_factory=dict)
    simple: str = ""
    project: Projection | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the independent variables."""
        return VARIABLES[self.kind]

    def limits(self) -> tuple[Array, Array]:
        """Lower and upper bounds in the order of the parameters, (k,) each, infinite where there are none."""
        low, high = np.array([self.bounds.get(name, (-np.inf, np.inf)) for name in self.parameters], dtype=float).T
        return low, high

    def units(self, loss: Array) -> Array:
        """Size of a step in each parameter, (k,): the median loss for levels, 1 for exponents and logarithms."""
        level = float(np.median(loss))
        return np.array([level if name in self.levels else 1.0 for name in self.parameters])

    def prior(self) -> tuple[Array, Array]:
        """Centre and precision (one over the deviation) in the order of the parameters, precision 0 without a prior."""
        pairs = [self.priors.get(name, (0.0, np.inf)) for name in self.parameters]
        centre, deviation = np.array(pairs, dtype=float).T
        return centre, 1.0 / deviation

    def model(self) -> LawModel:
        """Make an ``lmfit.Model`` of the law, with ``guess``."""
        from optiscale.laws.model import LawModel  # lmfit takes a second to import, and only this needs it

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
