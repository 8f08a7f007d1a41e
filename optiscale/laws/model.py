"""A law as an ``lmfit.Model``, for the published protocol and for users of lmfit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lmfit
import numpy as np

if TYPE_CHECKING:
    from optiscale.laws.registry import Law


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
