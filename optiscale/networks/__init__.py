"""Networks: embeddings, message passing, pooling, heads, and the names by which a study file exchanges them."""

from optiscale.config.network import NetworkConfig
from optiscale.networks import embeddings, messages, optimate, optimetal, pooling  # noqa: F401 - they register names
from optiscale.networks.build import Network, build_network, count_parameters
from optiscale.networks.check import check_config
from optiscale.networks.elements import check_elements
from optiscale.networks.registry import EDGES, MESSAGES, NETWORKS, NODES, POOLINGS, Registry
from optiscale.networks.targets import Prediction, TargetSpec

__all__ = [
    "EDGES",
    "MESSAGES",
    "NETWORKS",
    "NODES",
    "POOLINGS",
    "Network",
    "NetworkConfig",
    "Prediction",
    "Registry",
    "TargetSpec",
    "build_network",
    "check_config",
    "check_elements",
    "count_parameters",
]
