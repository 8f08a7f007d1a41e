"""Which network, by name."""

from __future__ import annotations

from typing import Any

from optiscale.config.strict import Strict


class NetworkConfig(Strict):
    """A network by name, with its exchangeable parts; None takes the published part of that network.

    Attributes
    ----------
    type
        "OptiMetal2B", "OptiMetal3B", "OptiMate", or the import path "package.module:Class" of a torch module.
    nodes
        Node embedding: "group_period" or "atom".
    edges
        Edge basis: "gaussian" or "bessel".
    message
        Message passing: "TC", "CGC" or "GATv2".
    pooling
        "vector_attention", "scalar_attention", "mean" or "set2set".
    heads
        Attention heads of TC and GATv2.
    options
        Passed to the class that an import path names.
    """

    type: str
    nodes: str | None = None
    edges: str | None = None
    message: str | None = None
    pooling: str | None = None
    heads: int | None = None
    options: dict[str, Any] = {}
