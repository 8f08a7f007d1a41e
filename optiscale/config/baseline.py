"""The `baseline:` section of a study file: a model of composition features in place of a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from optiscale.config.strict import Strict


class MagpieForest(Strict):
    """A random forest on the Magpie features of the composition.

    Attributes
    ----------
    trees
        Trees of each forest; the `trees` of a grid block replace it. It is the width of the cell.
    leaves
        At most so many leaves a tree.
    """

    type: Literal["magpie-forest"]
    trees: Annotated[int, Field(ge=1)] = 100
    leaves: Annotated[int, Field(ge=2)] = 1024


class MagpieRidge(Strict):
    """Ridge regression on the standardized Magpie features of the composition, kept in the range of the training's.

    Attributes
    ----------
    alpha
        Weight of the squared coefficients beside the sum (not the mean) of squared errors: one value serves every D.
    """

    type: Literal["magpie-ridge"]
    alpha: Annotated[float, Field(gt=0)] = 100.0


BaselineConfig = Annotated[MagpieForest | MagpieRidge, Field(discriminator="type")]
