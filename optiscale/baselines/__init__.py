"""Baselines without a network: Magpie features of the composition, a random forest and ridge regression on them."""

from optiscale.baselines.estimators import MagpieBaseline, n_parameters
from optiscale.baselines.features import magpie_features

__all__ = ["MagpieBaseline", "magpie_features", "n_parameters"]
