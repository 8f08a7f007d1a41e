"""The heads: from a crystal's features to its spectrum and scalars."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optiscale.networks.layers import at_least_float32, mlp
from optiscale.networks.targets import Prediction, TargetSpec


class Readout(nn.Module):
    """Spectrum MLP [W, 4W, 4W, n_omega C] and, per scalar, MLP [W, W, W, 1] with a ReLU if it cannot be negative.

    Parameters
    ----------
    width
        Channels W of a crystal.
    targets
        What to predict.
    """

    SPECTRUM_EXPANSION = 4

    def __init__(self, *, width: int, targets: TargetSpec) -> None:
        super().__init__()
        self.targets = targets
        hidden = self.SPECTRUM_EXPANSION * width
        n_values = targets.n_omega * len(targets.components)
        self.spectrum = mlp(width, hidden, hidden, n_values) if n_values else None
        self.scalars = nn.ModuleList(mlp(width, width, width, 1) for _ in targets.scalars)

    def forward(self, crystal: Tensor) -> Prediction:
        """Prediction for crystals (B, W), in float32 or better."""
        spectrum = None
        if self.spectrum is not None:
            # components are interleaved per frequency: Re(0), Im(0), Re(1), ...
            shape = (-1, self.targets.n_omega, len(self.targets.components))
            spectrum = at_least_float32(self.spectrum(crystal)).view(shape)
        scalars = None
        if self.targets.scalars:
            columns = [
                self._scalar(name, head(crystal)) for name, head in zip(self.targets.scalars, self.scalars, strict=True)
            ]
            scalars = at_least_float32(torch.cat(columns, dim=1))
        return Prediction(spectrum, scalars)

    def _scalar(self, name: str, value: Tensor) -> Tensor:
        return value.relu() if name in self.targets.nonnegative else value
