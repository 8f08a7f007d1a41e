"""Training steps and validation on a processor, without what Lightning and torch do around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from optiscale.graphs import FlatBatch, MergedGraphs
from optiscale.graphs.merged import Shape
from optiscale.training.flat_weights import FlatAdamW, FlatWeights, Stretch
from optiscale.training.losses import loss_sums, mean_loss

_kernel: Callable[..., Any] = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}
)
Array = np.ndarray[Any, Any]


class HostRun:
    """Training steps and validation of one network on a processor; `CapturedRun` is its like for a card.

    Parameters
    ----------
    network
        In float32 or float64; Lightning says whether it is in training.
    graphs
        All crystals.
    optimizer
        AdamW; None for validation alone. It is not stepped itself (`FlatAdamW`).
    clip
        Largest norm of the gradients.
    places
        Components and scalars of the data set that the network predicts.

    Attributes
    ----------
    loss_sum
        () float64, training losses of all crystals so far.
    validation_sums
        (2,) float64, losses of spectra and of scalars.
    """

    def __init__(
        self,
        network: nn.Module,
        graphs: MergedGraphs,
        optimizer: torch.optim.AdamW | None,
        *,
        clip: float,
        places: tuple[list[int], list[int]],
    ) -> None:
        self.network, self.graphs, self.places = network, graphs, places
        self._double = next(network.parameters()).dtype == torch.float64
        self._optimizer: FlatAdamW | None = None
        if optimizer is not None:
            weights = FlatWeights(network, "64-true" if self._double else "32-true")
            self._optimizer = FlatAdamW(weights, optimizer, clip=clip, update=update_on_host)
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.validation_sums = torch.zeros(2, dtype=torch.float64)

    @staticmethod
    def optimizer_of(weights: Iterable[Tensor], *, lr: float, weight_decay: float) -> torch.optim.AdamW:
        """Return AdamW as this run takes it over."""
        return torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the coming steps."""
        self._stepped().group["lr"] = rate

    def step(self, rows: Tensor, *, fitting: bool) -> None:  # noqa: ARG002  nothing is padded here
        """Take a step on the crystals `rows` (B,), -1 for none."""
        optimizer, batch = self._stepped(), self._batch(rows)
        loss = mean_loss(self.network, batch, *self.places)
        optimizer.weights.gradients_of(loss)
        optimizer.step()
        self.loss_sum += float(loss.detach()) * float(batch.n_crystals)

    @torch.no_grad()
    def validate(self, rows: Tensor, shape: Shape) -> None:  # noqa: ARG002  nothing is padded here
        """Add the losses of the crystals `rows` (B,), -1 for none, to `validation_sums`."""
        self.validation_sums += loss_sums(self.network, self._batch(rows), *self.places)

    def _batch(self, rows: Tensor) -> FlatBatch:
        batch = self.graphs.batch(rows[rows >= 0].numpy())
        return apply_to_collection(batch, Tensor, _doubled) if self._double else batch

    def _stepped(self) -> FlatAdamW:
        if self._optimizer is None:
            raise ValueError("a run without an optimizer cannot be trained")
        return self._optimizer


def update_on_host(
    stretches: Sequence[Stretch],
    count: Tensor,
    rate: Any,
    *,
    clip: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> None:
    """Do `optiscale.training.flat_weights.adamw_update` in two passes over the memory."""
    gradients = [stretch.gradient.numpy() for stretch in stretches]
    norm = math.sqrt(sum(_squares(gradient) for gradient in gradients))
    count += 1.0
    of_mean, of_square = (1 - beta ** float(count) for beta in betas)
    for stretch, gradient in zip(stretches, gradients, strict=True):
        moved = (stretch.value.numpy(), gradient, stretch.mean.numpy(), stretch.square.numpy())
        # a norm that is no number makes every weight none: that must be seen
        scale = clip / (norm + 1e-6) if norm > clip else norm * 0.0 + 1.0
        _adamw(*moved, scale, float(rate) / of_mean, math.sqrt(of_square), *betas, eps, 1.0 - float(rate) * decay)


def _doubled(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


@_kernel
def _squares(x: Array) -> float:
    total = 0.0
    for begin in range(0, len(x), 1024):  # in the precision of x, a part at a time: no digit that counts is lost
        part = x.dtype.type(0.0)
        for i in range(begin, min(begin + 1024, len(x))):
            part += x[i] * x[i]
        total += part
    return total


@_kernel
def _adamw(
    value: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    scale: float,
    step: float,
    root: float,
    beta1: float,
    beta2: float,
    eps: float,
    keep: float,
) -> None:
    """Move weights; `root` is that of the correction of `square`, `keep` what the decay leaves of a weight."""
    of = value.dtype.type
    scale, step, root, eps, keep = of(scale), of(step), of(root), of(eps), of(keep)
    old1, new1, old2, new2 = of(beta1), of(1.0 - beta1), of(beta2), of(1.0 - beta2)
    for i in range(len(value)):
        clipped = gradient[i] * scale
        mean[i] = old1 * mean[i] + new1 * clipped
        square[i] = old2 * square[i] + new2 * (clipped * clipped)
        value[i] = keep * value[i] - step * mean[i] / (np.sqrt(square[i]) / root + eps)
