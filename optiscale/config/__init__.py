"""The study file: schema and strict reading."""

from optiscale.config.baseline import BaselineConfig, MagpieForest, MagpieRidge
from optiscale.config.load import RESOLVED, load_study, parse_study, save_study
from optiscale.config.network import NetworkConfig
from optiscale.config.study import Model, Optimizer, Study, Training

__all__ = [
    "RESOLVED",
    "BaselineConfig",
    "MagpieForest",
    "MagpieRidge",
    "Model",
    "NetworkConfig",
    "Optimizer",
    "Study",
    "Training",
    "load_study",
    "parse_study",
    "save_study",
]
