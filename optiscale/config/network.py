"""The `network:` section of a study file."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from optiscale.config.strict import Strict


class NetworkConfig(Strict):
    """Which network, how wide, and of which parts; the defaults are the published ones.

    The names are checked where the network is built (`optiscale.networks`), since users register their own.

    Attributes
    ----------
    type
        A registered network, or ``package.module:Class`` for one's own torch module (see `build_network`).
    width
        Hidden width W. OptiMetal needs one (or gets it from a study's list of widths); OptiMate has its own.
    nodes
        ``group_period`` or ``atom``.
    edges
        ``gaussian`` or ``bessel``.
    message
        ``TC``, ``CGC`` or ``GATv2``; by default TC in OptiMetal and GATv2 in OptiMate.
    pooling
        ``mean``, ``scalar_attention``, ``vector_attention`` or ``set2set``.
    heads
        Attention heads; by default 2 in OptiMetal2B, 8 in OptiMetal3B and 4 in OptiMate.
    options
        Keyword arguments for one's own torch module.
    """

    type: str = "OptiMetal2B"
    width: int | None = Field(default=None, ge=1)
    nodes: str = "group_period"
    edges: str = "gaussian"
    message: str | None = None
    pooling: str = "vector_attention"
    heads: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = {}

    @property
    def is_own(self) -> bool:
        """Whether `type` is the import path of a user's own module."""
        return ":" in self.type

    def changed_parts(self, *, names: tuple[str, ...] = ("nodes", "edges", "message", "pooling", "heads")) -> list[str]:
        """Fields of `names` that differ from their defaults."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
