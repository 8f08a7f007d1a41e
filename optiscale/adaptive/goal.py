"""How well an answer is to be known: `D_c ± 0.1 decades`, `alpha ± 0.02`, `a2 ± 5 %`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from optiscale.errors import UserError

_GOAL = re.compile(r"\s*(\S+?)\s*(?:±|\+-|\+/-)\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)\s*(decades?|%|)\s*")


@dataclass(frozen=True)
class Goal:
    """An answer and the half width that its interval is to have at most.

    Attributes
    ----------
    answer
        As of :func:`optiscale.advice.answers.answer_of`: D_c, N_c, alpha, a parameter, or loss@D,N.
    width
        Half width.
    unit
        "decades", "%" of the value, or "" for the answer's own.
    """

    answer: str
    width: float
    unit: str

    def width_of(self, low: float, value: float, high: float) -> float:
        """Return the larger half of an interval, in the unit of the goal; infinite if it has no end."""
        if self.unit == "decades":
            if not (low > 0 and math.isfinite(high)):
                return math.inf
            return max(math.log10(high / value), math.log10(value / low))
        half = max(high - value, value - low)
        if self.unit == "%":
            return 100.0 * half / abs(value) if value else math.inf
        return half

    def wide(self, width: float) -> str:
        """Write a half width with its unit."""
        return f"± {width:.3g}{' ' if self.unit else ''}{self.unit}"


def read_goal(text: str) -> Goal:
    """Read what a user writes after `--until`.

    Raises
    ------
    UserError
        If it is no goal.
    """
    found = _GOAL.fullmatch(text)
    if found is None or float(found[2]) <= 0:
        raise UserError(
            f"--until {text!r}: write an answer, ± (or +-) and a positive half width, such as 'D_c ± 0.1 decades', "
            "'alpha +- 0.02' or 'a2 ± 5 %'"
        )
    return Goal(found[1], float(found[2]), "decades" if found[3].startswith("decade") else found[3])
