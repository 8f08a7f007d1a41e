"""The study file: schema and strict reading."""

from optiscale.config.baseline import BaselineConfig, MagpieForest, MagpieRidge
from optiscale.config.cluster import Cluster
from optiscale.config.load import RESOLVED, load_cluster, load_study, parse_study, save_study
from optiscale.config.network import NetworkConfig
from optiscale.config.study import Model, Optimizer, Study, Training

__all__ = [
    "RESOLVED",
    "BaselineConfig",
    "Cluster",
    "MagpieForest",
    "MagpieRidge",
    "Model",
    "NetworkConfig",
    "Optimizer",
    "Study",
    "Training",
    "load_cluster",
    "load_study",
    "parse_study",
    "save_study",
]
