"""A training step and a validation pass on a card, compiled once and replayed without the host."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from optiscale.graphs import MergedGraphs
from optiscale.graphs.flat import FlatBatch
from optiscale.graphs.merged import Shape, rounded
from optiscale.networks.fast.norms import defer_statistics
from optiscale.training.flat_weights import FlatAdamW, FlatWeights, adamw_update
from optiscale.training.losses import loss_sums, mean_loss

_SHAPES = 64  # compiled networks and shapes of batches that a program keeps at most
_WARM_UP = 3  # runs before the capture: compilers and libraries set themselves up in the first
#: how far compiled gradients may be from the layers' own, relative to their norm: rounding, seen on the networks of the
#: paper, and room; a wrong one is off by tenths
GRADIENT_TOLERANCE = {"32-true": 0.02, "bf16-mixed": 0.4}
LOSS_TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 0.02}
_LOG = logging.getLogger(__name__)


class Captured:
    """Work on a card that is recorded once and replayed: the launches of a thousand kernels for the price of one.

    Parameters
    ----------
    work
        Reads and writes tensors that stay where they are; never waits for the card.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream()

    def __call__(self) -> None:
        """Do the work once."""
        if self._graph is not None:
            self._graph.replay()
            return
        self._runs += 1
        if self._runs <= _WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self.work()
            torch.cuda.current_stream().wait_stream(self._stream)
            return
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):  # the stream that libraries have been set up for
            self.work()
        self._graph = graph
        self._graph.replay()


class CapturedRun:
    """Training steps and validation of one network on one card.

    Parameters
    ----------
    network
        On the card.
    graphs
        All crystals, on the card.
    optimizer
        None for validation alone. It is not stepped itself (`FlatAdamW`).
    precision
        "bf16-mixed" or "32-true".
    clip
        Largest norm of the gradients.
    places
        Components and scalars of the data set that the network predicts.
    shape, batch_size
        Room for the rows and crystals of a training batch; one that needs more is computed without capture.
    compile_
        Whether to compile; without it the step is captured as it is. What the compiler makes of a network is compared
        with the layers on the first batch, and not used where it differs.
    """

    def __init__(
        self,
        network: nn.Module,
        graphs: MergedGraphs,
        optimizer: torch.optim.AdamW | None,
        *,
        precision: str,
        clip: float,
        places: tuple[list[int], list[int]],
        shape: Shape,
        batch_size: int,
        compile_: bool = True,
    ) -> None:
        self.graphs = graphs
        self.components, self.scalars = places
        self.precision = precision
        self.compile_ = compile_
        self.weights = FlatWeights(network, precision)
        self._take_over = defer_statistics(self.weights.copy)
        update = compiled(adamw_update) if compile_ else adamw_update
        self._optimizer = FlatAdamW(self.weights, optimizer, clip=clip, update=update) if optimizer else None
        device = graphs.device
        for group in optimizer.param_groups if optimizer else ():
            group["lr"] = torch.as_tensor(float(group["lr"]), dtype=torch.float32, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.validation_sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.shape = shape
        self._rows = torch.full((batch_size,), -1, dtype=torch.int64, device=device)
        self._step: Captured | None = None
        self._sums: Callable[..., Tensor] | None = None
        self._evaluations: dict[tuple[int, Shape], tuple[Tensor, Captured]] = {}

    @staticmethod
    def optimizer_of(weights: Iterable[Tensor], *, lr: float, weight_decay: float) -> torch.optim.AdamW:
        """Return AdamW as this run takes it over; its rate becomes a tensor on the card."""
        return torch.optim.AdamW(weights, lr=torch.tensor(lr), weight_decay=weight_decay, capturable=True)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the coming steps."""
        self._stepped().group["lr"].fill_(rate)

    def step(self, rows: Tensor, *, fitting: bool) -> None:
        """Take a step on the crystals `rows` (B,), -1 for none; one that does not fit is done without capture."""
        if fitting and len(rows) == len(self._rows):
            self._rows.copy_(rows)
            if self._step is None:
                self._step = Captured(functools.partial(self._train, self._trusted_loss(), self._rows, self.shape))
            self._step()
        else:
            need = self.graphs.sizes(rows[rows >= 0].cpu().numpy()).sum(axis=0)
            self._train(mean_loss, rows, rounded(need))

    def validate(self, rows: Tensor, shape: Shape) -> None:
        """Add the losses of the crystals `rows` (B,), -1 for none, to `validation_sums`; `shape` has room for them."""
        key = (len(rows), shape)
        if key not in self._evaluations:
            static = rows.clone()
            if self._sums is None:
                self._sums = self._trusted_sums(rows, shape)
            self._evaluations[key] = static, Captured(functools.partial(self._evaluate, self._sums, static, shape))
        static, captured = self._evaluations[key]
        static.copy_(rows)
        captured()

    def _train(self, loss_of: Callable[..., Tensor], rows: Tensor, shape: Shape) -> None:
        batch = self.graphs.gather(rows, shape)
        loss = self._differentiate(loss_of, batch)
        self._take_over()
        self._stepped().step()
        self.loss_sum += loss.double() * batch.n_crystals

    def _stepped(self) -> FlatAdamW:
        if self._optimizer is None:
            raise ValueError("a run without an optimizer cannot be trained")
        return self._optimizer

    def _differentiate(self, loss_of: Callable[..., Tensor], batch: FlatBatch) -> Tensor:
        """Return the loss of a batch; its gradients are in the stretches."""
        self.weights.copy.train()
        loss = loss_of(self.weights.copy, batch, self.components, self.scalars)
        self.weights.gradients_of(loss)
        return loss.detach()

    @torch.no_grad()
    def _evaluate(self, sums_of: Callable[..., Tensor], rows: Tensor, shape: Shape) -> None:
        self.validation_sums += self._sums_of(sums_of, rows, shape)

    def _sums_of(self, sums_of: Callable[..., Tensor], rows: Tensor, shape: Shape) -> Tensor:
        self.weights.copy.eval()
        return sums_of(self.weights.copy, self.graphs.gather(rows, shape), self.components, self.scalars)

    def _trusted_loss(self) -> Callable[..., Tensor]:
        """Return the compiled loss, or the loss as it is where the compiled one has other gradients on this batch."""

        def gradient(loss_of: Callable[..., Tensor]) -> Tensor:
            self._differentiate(loss_of, self.graphs.gather(self._rows, self.shape))
            return torch.cat([stretch.gradient.float() for stretch in self.weights.stretches])

        return self._trusted(mean_loss, gradient, "gradients", GRADIENT_TOLERANCE[self.precision])

    @torch.no_grad()
    def _trusted_sums(self, rows: Tensor, shape: Shape) -> Callable[..., Tensor]:
        """Return the compiled sums of losses, or the sums as they are where the compiled ones differ."""
        return self._trusted(
            loss_sums,
            lambda sums_of: self._sums_of(sums_of, rows, shape),
            "validation losses",
            LOSS_TOLERANCE[self.precision],
        )

    def _trusted(
        self, work: Callable[..., Tensor], result: Callable[[Callable[..., Tensor]], Tensor], what: str, most: float
    ) -> Callable[..., Tensor]:
        if not self.compile_:
            return work
        expected, found = result(work), result(compiled(work))
        difference = float((found - expected).norm() / expected.norm())
        if difference <= most:
            return compiled(work)
        _LOG.warning(
            "compiled %s of this network are off by %.2g, more than %.2g; it is computed without the compiler, more "
            "slowly",
            what,
            difference,
            most,
        )
        return work


@functools.cache
def compiled(work: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function; networks and batches of one shape share what was compiled."""
    torch._dynamo.config.recompile_limit = _SHAPES
    return torch.compile(work, fullgraph=True, dynamic=False)
