"""Networks: embeddings, message passing, pooling, heads, and the names by which a study file exchanges them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optiscale.config.network import NetworkConfig
from optiscale.networks.elements import check_elements
from optiscale.networks.targets import Prediction, TargetSpec

if TYPE_CHECKING:
    from optiscale.networks.build import Network, build_network, count_parameters
    from optiscale.networks.check import check_config
    from optiscale.networks.registry import EDGES, MESSAGES, NETWORKS, NODES, POOLINGS, Registry

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


def __getattr__(name: str) -> Any:
    """Import the networks, with torch_geometric, when they are asked for; all of them register their names."""
    if name in __all__:
        build = import_module("optiscale.networks.build")
        for module in ("check", "registry"):
            if hasattr(found := import_module(f"optiscale.networks.{module}"), name):
                return getattr(found, name)
        return getattr(build, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
