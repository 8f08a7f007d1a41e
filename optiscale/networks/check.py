"""The check of a `network:` section against the registered names."""

from __future__ import annotations

from optiscale.config.network import NetworkConfig
from optiscale.errors import UserError
from optiscale.networks.registry import EDGES, MESSAGES, NETWORKS, NODES, POOLINGS


def check_config(config: NetworkConfig) -> None:
    """Refuse unknown names and fields that do not go together, with a `UserError`."""
    if config.is_own:
        for name in config.changed_parts():
            raise UserError(f"network.{name}: {config.type} gets width and options only; put {name} under options")
        return
    network = NETWORKS[config.type]
    for registry, name in ((NODES, config.nodes), (EDGES, config.edges), (POOLINGS, config.pooling)):
        registry[name]
    if config.message is not None:
        MESSAGES[config.message]
    network.check_config(config)
