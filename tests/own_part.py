"""A part of a network that a user registers in a module of theirs."""

from __future__ import annotations

import torch

from optiscale.networks import EDGES


@EDGES.register("own_inverse")
class Inverse(torch.nn.Module):
    """1/r in eight powers."""

    width = 8

    def __init__(self, *, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, length: torch.Tensor) -> torch.Tensor:
        powers = torch.arange(1, self.width + 1, device=length.device)
        return length[:, None].pow(-powers) * (length < self.cutoff)[:, None]
