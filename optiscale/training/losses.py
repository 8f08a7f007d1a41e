"""The published loss, a crystal at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optiscale.graphs import CrystalBatch, FlatBatch
from optiscale.networks import Prediction
from optiscale.networks.fast import fast_forward


def n_crystals(batch: CrystalBatch | FlatBatch) -> int:
    """Count the crystals of a batch (of a flat one, with its padding)."""
    return batch.n_crystals if isinstance(batch, CrystalBatch) else len(batch.atoms.ptr) - 1


def batch_losses(
    prediction: Prediction, batch: CrystalBatch | FlatBatch, *, components: list[int], scalars: list[int]
) -> tuple[Tensor, Tensor]:
    """Return mean absolute errors a crystal, in float32.

    Parameters
    ----------
    prediction
        What the network says.
    batch
        With its true spectra and scalars.
    components, scalars
        Places in the data set of what the network predicts.

    Returns
    -------
    tuple of Tensor
        (B,) over all spectral values, (B,) summed over the scalar targets (eV for omega_D).
    """
    spectrum_loss = scalar_loss = torch.zeros(n_crystals(batch), device=batch.atomic_number.device)
    if prediction.spectrum is not None and batch.spectrum is not None:
        difference = prediction.spectrum.float() - _taken(batch.spectrum, components)
        spectrum_loss = difference.abs().mean(dim=(1, 2))
    if prediction.scalars is not None and batch.scalars is not None:
        scalar_loss = (prediction.scalars.float() - _taken(batch.scalars, scalars)).abs().sum(dim=1)
    return spectrum_loss, scalar_loss


def _taken(values: Tensor, places: list[int]) -> Tensor:
    """Take places of the last axis; without a list that would have to go to the card."""
    if places == list(range(values.shape[-1])):
        return values
    return torch.stack([values[..., place] for place in places], dim=-1)


def mean_loss(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    """Mean loss of the crystals of a batch, in the units of the targets: () float32."""
    return (_losses(network, batch, components, scalars).sum(dim=0) * batch.crystal_weight).sum() / batch.n_crystals


def loss_sums(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    """Sum the losses of spectra and of scalars over a batch: (2,) float64, in the units of the targets."""
    return (_losses(network, batch, components, scalars).double() * batch.crystal_weight).sum(dim=1)


def _losses(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    prediction = fast_forward(network, batch)
    return torch.stack(batch_losses(prediction, batch, components=components, scalars=scalars))
