"""What a network predicts for a crystal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from optiscale.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TargetSpec:
    """The targets of a data set; the paper has 2001 frequencies, Re and Im, and omega_D.

    Attributes
    ----------
    n_omega
        Points of the spectrum; 0 if the data set has none.
    components
        Names of the C values at each frequency, e.g. ``("re", "im")``; empty if there is no spectrum.
    scalars
        Names of the S scalar targets.
    nonnegative
        Scalars that cannot be negative: their heads end in a ReLU. Names absent from `scalars` have no effect.

    Raises
    ------
    UserError
        If there is nothing to predict, half a spectrum, or a name twice.
    """

    n_omega: int
    components: tuple[str, ...]
    scalars: tuple[str, ...]
    nonnegative: tuple[str, ...] = ("omega_D",)

    def __post_init__(self) -> None:
        if self.n_omega < 0 or (self.n_omega > 0) != bool(self.components):
            raise UserError(
                f"targets: n_omega = {self.n_omega} does not fit components = {list(self.components)}; "
                "a spectrum needs at least one frequency and one component, no spectrum has neither"
            )
        if not self.components and not self.scalars:
            raise UserError("targets: nothing to predict; name a spectrum or at least one scalar")
        for field in ("components", "scalars"):
            names = getattr(self, field)
            if len(set(names)) != len(names):
                raise UserError(f"targets.{field}: a name occurs twice in {list(names)}; name every target once")


class Prediction(NamedTuple):
    """Output of every network.

    Attributes
    ----------
    spectrum
        (B, n_omega, C), or None if the targets have no spectrum.
    scalars
        (B, S), or None if the targets have no scalars.
    """

    spectrum: Tensor | None
    scalars: Tensor | None
