"""All weights of a network in one piece of memory, their copy in bfloat16, and AdamW on all of them at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import Linear

_ALIGN = 64  # numbers: every weight begins where matrix products read fastest
_LARGE = 2**18  # numbers


class Stretch(NamedTuple):
    """Weights one after the other, whose gradients have one precision.

    Attributes
    ----------
    value
        (n,) float32 or float64; the weights of the network are parts of it.
    low
        (n,) bfloat16, what the copy of the network computes with; None where it takes `value`.
    gradient
        (n,) in the precision of what is computed with.
    mean, square
        (n,) like `value`, AdamW's averages of the gradient and of its square.
    """

    value: Tensor
    low: Tensor | None
    gradient: Tensor
    mean: Tensor
    square: Tensor


class FlatWeights:
    """The weights of a network, moved into a few long tensors, so that one operation does for all of them.

    With bfloat16 the linear layers compute in it, norms and statistics in float32. Automatic mixed precision casts each
    weight where it is used; here the optimizer writes all of them in both precisions.

    Parameters
    ----------
    network
        In float32, or float64 with "64-true". Its weights are given new memory, and keep their values.
    precision
        "bf16-mixed", "32-true" or "64-true".

    Attributes
    ----------
    copy
        The network to compute with: the network itself, but with "bf16-mixed".
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        self.network = network
        self.copy = network
        lowered: set[int] = set()
        if precision == "bf16-mixed":
            shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
            self.copy = copy.deepcopy(network, shared)
            lowered = {id(weight) for layer in _linear_layers(network) for weight in layer.parameters(recurse=False)}
        weights = list(network.parameters())
        self.groups = [
            group
            for group in (
                [weight for weight in weights if id(weight) in lowered],
                [weight for weight in weights if id(weight) not in lowered],
            )
            if group
        ]
        self.stretches = [_stretch(group, low=id(group[0]) in lowered) for group in self.groups]
        self.leaves = [*weights]
        if lowered:
            self._compute_with_low()
        self._gradients = [
            _parts(stretch.gradient, group) for group, stretch in zip(self.groups, self.stretches, strict=True)
        ]

    def _compute_with_low(self) -> None:
        """Put parts of the bfloat16 stretch in the place of the copy's linear weights."""
        (group, *rest), (stretch, *_) = self.groups, self.stretches
        low = {id(weight): nn.Parameter(part) for weight, part in zip(group, _parts(stretch.low, group), strict=True)}
        for layer in _linear_layers(self.copy):
            for name, weight in [*layer.named_parameters(recurse=False)]:
                setattr(layer, name, low[id(weight)])
        self.leaves = [*low.values(), *(weight for others in rest for weight in others)]

    def gradients_of(self, loss: Tensor) -> None:
        """Write the gradients of a loss into the stretches; a weight that it does not depend on keeps zero."""
        found = iter(torch.autograd.grad(loss, self.leaves, allow_unused=True))
        for parts in self._gradients:
            pairs = [(part, gradient) for part in parts if (gradient := next(found)) is not None]
            # one kernel copies many small ones, but is slow on large ones; the compiler may hand out a transposed one
            small = [pair for pair in pairs if pair[0].numel() < _LARGE and pair[0].stride() == pair[1].stride()]
            if small:
                torch._foreach_copy_([part for part, _ in small], [gradient for _, gradient in small])
            done = {id(part) for part, _ in small}
            for part, gradient in pairs:
                if id(part) not in done:
                    part.copy_(gradient)


class FlatAdamW:
    """The step of an AdamW on flat weights, with the norm of the gradients clipped before.

    Parameters
    ----------
    weights
        And their gradients.
    optimizer
        Of the same weights, with one group. It keeps the state for checkpoints and the rate, on a card a tensor; this
        takes over its state and does its steps.
    clip
        Largest norm of the gradients, as `torch.nn.utils.clip_grad_norm_` counts it.
    update
        `adamw_update`, what it was compiled to, or its like for a processor.
    """

    def __init__(
        self, weights: FlatWeights, optimizer: torch.optim.AdamW, *, clip: float, update: Callable[..., None]
    ) -> None:
        (self.group,) = optimizer.param_groups
        self.weights, self.clip, self.update = weights, clip, update
        states = optimizer.state
        steps = [float(state["step"]) for state in states.values() if state]
        device = weights.stretches[0].value.device
        self.count = torch.tensor(max(steps, default=0.0), dtype=torch.float32, device=device)
        for group, stretch in zip(weights.groups, weights.stretches, strict=True):
            means, squares = _parts(stretch.mean, group), _parts(stretch.square, group)
            for weight, mean, square in zip(group, means, squares, strict=True):
                if states[weight]:
                    mean.copy_(states[weight]["exp_avg"])
                    square.copy_(states[weight]["exp_avg_sq"])
                states[weight] = {"step": self.count, "exp_avg": mean, "exp_avg_sq": square}

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights."""
        self.update(
            self.weights.stretches,
            self.count,
            self.group["lr"],
            clip=self.clip,
            betas=self.group["betas"],
            eps=self.group["eps"],
            decay=self.group["weight_decay"],
        )


def adamw_update(
    stretches: Sequence[Stretch],
    count: Tensor,
    rate: Tensor,
    *,
    clip: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> None:
    """Clip the gradients and do a step of AdamW (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2), in place.

    Parameters
    ----------
    stretches
        What is moved.
    count
        () float32, steps done before.
    rate
        () float32.
    clip
        Largest norm of the gradients.
    betas, eps, decay
        As `torch.optim.AdamW` has them.
    """
    norm = torch.stack([stretch.gradient.float().square().sum() for stretch in stretches]).sum().sqrt()
    scale = (clip / (norm + 1e-6)).clamp(max=1.0)
    count.add_(1.0)
    of_mean, of_square = (1 - torch.pow(beta, count) for beta in betas)
    for value, low, gradient, mean, square in stretches:
        clipped = gradient.float() * scale
        mean.lerp_(clipped, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(clipped, clipped, value=1 - betas[1])
        value.mul_(1 - rate * decay).sub_((rate / of_mean) * mean / ((square / of_square).sqrt() + eps))
        if low is not None:
            low.copy_(value)


def _linear_layers(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear | Linear)]


def _room(weight: Tensor) -> int:
    return -(-weight.numel() // _ALIGN) * _ALIGN


def _stretch(weights: Sequence[nn.Parameter], *, low: bool) -> Stretch:
    """Move weights into one tensor."""
    n = sum(_room(weight) for weight in weights)
    value = torch.zeros(n, dtype=weights[0].dtype, device=weights[0].device)
    for weight, part in zip(weights, _parts(value, weights), strict=True):
        part.copy_(weight.detach())
        weight.data = part
    small = value.to(torch.bfloat16) if low else None
    gradient = torch.zeros_like(value if small is None else small)
    return Stretch(value, small, gradient, torch.zeros_like(value), torch.zeros_like(value))


def _parts(flat: Tensor | None, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the part of a stretch that belongs to each weight, in its shape."""
    if flat is None:
        raise ValueError("there is no copy in bfloat16")
    ends = torch.tensor([_room(weight) for weight in weights]).cumsum(0).tolist()
    begins = [0, *ends[:-1]]
    return [flat[begin : begin + w.numel()].view(w.shape) for begin, w in zip(begins, weights, strict=True)]
