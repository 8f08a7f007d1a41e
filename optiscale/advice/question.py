"""Questions about sizes: which curves can answer them, and what cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from optiscale.advice.curve import Curve, Variable, curves_of
from optiscale.errors import UserError
from optiscale.laws import Series, StudyFits


def curves_that_answer(
    fits: StudyFits, *, D: Sequence[int] = (), N: Sequence[int] = (), along: Variable | None = None
) -> list[Curve]:
    """Curves that answer, :func:`~optiscale.advice.curve.curves_of`; a UserError says what there is if none does."""
    if along is not None:  # along a variable, its own sizes are what is asked for, not what is fixed
        D, N = ((), N) if along == "D" else (D, ())
    curves = list(curves_of(fits, D=D, N=N, along=along))
    if not curves:
        have = sorted({_in_words(one) for one in fits.series})
        wanted = ", ".join(f"{name} = {', '.join(map(str, sizes))}" for name, sizes in (("D", D), ("N", N)) if sizes)
        raise UserError(
            f"no series varies {along or 'D or N'}{' at ' + wanted if wanted else ''}: there is "
            f"{', '.join(have) or 'none'}; a line needs three sizes, a map three of each"
        )
    return curves


def _in_words(series: Series) -> str:
    if series.kind == "map":
        return "a map"
    varied, fixed = ("D", "N") if series.kind == "data" else ("N", "D")
    return f"one over {varied} at {fixed} = {series.fixed[fixed]}"


def check_question(D: Sequence[int], N: Sequence[int], level: float) -> None:
    """Raise a UserError for a size that is not positive or a level that is no share."""
    for name, sizes in (("D", D), ("N", N)):
        for size in sizes:
            if not size > 0:
                raise UserError(f"{name} {size}: a size must be positive")
    if not 0 < level < 1:
        raise UserError(f"level {level:g}: must lie between 0 and 1, such as 0.9")


def origin_of(series: Series) -> dict[str, Any]:
    """Fields of an answer that say which series it is from."""
    return {"study": series.study, "model": series.model, "kind": series.kind}


def sizes_at(curve: Curve, size: float) -> dict[str, Any]:
    """Fields D and N of an answer at one size of a curve."""
    return cast("dict[str, Any]", {curve.variable: int(size), curve.other: curve.fixed})
