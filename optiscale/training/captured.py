"""A training step and a validation pass on a card, compiled once and replayed without the host."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import Linear

from optiscale.graphs import MergedGraphs
from optiscale.graphs.flat import FlatBatch
from optiscale.graphs.merged import Shape, rounded
from optiscale.networks.fast import fast_forward
from optiscale.networks.fast.norms import defer_statistics
from optiscale.training.losses import batch_losses

_SHAPES = 64  # compiled networks and shapes of batches that a program keeps at most
_WARM_UP = 3  # runs before the capture: compilers and libraries set themselves up in the first


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


class LowerCopy:
    """A network whose linear layers are in bfloat16, kept equal to one in float32.

    Automatic mixed precision casts each weight where it is used; this casts all at once, and their gradients back.

    Parameters
    ----------
    network
        In float32; keeps the weights that are trained, and the statistics of batch norms.
    precision
        "bf16-mixed"; with "32-true" the copy is the network itself.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        self.network = network
        self.copy = network
        self.high: list[Tensor] = []
        self.low: list[Tensor] = []
        if precision == "bf16-mixed":
            shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
            self.copy = copy.deepcopy(network, shared)
            self._lower()
        lowered = {id(weight) for weight in self.high}
        self.same: list[Tensor] = [weight for weight in network.parameters() if id(weight) not in lowered]
        self._gradients = [torch.zeros_like(weight) for weight in (*self.high, *self.same)]

    def _lower(self) -> None:
        """Put bfloat16 weights in the place of those of linear layers."""
        for layer in self.copy.modules():
            if isinstance(layer, nn.Linear | Linear):
                for name, weight in [*layer.named_parameters(recurse=False)]:
                    low = nn.Parameter(weight.detach().to(torch.bfloat16))
                    setattr(layer, name, low)
                    self.high.append(weight)
                    self.low.append(low)

    def refresh(self) -> None:
        """Take over the weights."""
        if self.low:
            with torch.no_grad():
                torch._foreach_copy_(self.low, self.high)

    def backward(self, loss: Tensor) -> None:
        """Set the gradients of the network's weights to those of a loss."""
        gradients = torch.autograd.grad(loss, [*self.low, *self.same])
        n_low = len(self.low)
        _copy(self._gradients[:n_low], gradients[:n_low])
        _copy(self._gradients[n_low:], gradients[n_low:])
        for weight, gradient in zip((*self.high, *self.same), self._gradients, strict=True):
            weight.grad = gradient  # every time: Lightning takes the gradients away before a validation


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy tensors, all at once where their layouts agree.

    The compiler may hand out a gradient whose rows are the columns in memory; the optimizer reads memory as it comes.
    """
    pairs = list(zip(into, values, strict=True))
    alike = [pair for pair in pairs if pair[0].stride() == pair[1].stride()]
    if alike:
        torch._foreach_copy_([target for target, _ in alike], [value for _, value in alike])
    for target, value in pairs:
        if target.stride() != value.stride():
            target.copy_(value)


def mean_loss(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    """Mean loss of the crystals of a batch, in the units of the targets: () float32."""
    return (_losses(network, batch, components, scalars).sum(dim=0) * batch.crystal_weight).sum() / batch.n_crystals


def loss_sums(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    """Sum the losses of spectra and of scalars over a batch: (2,) float64, in the units of the targets."""
    return (_losses(network, batch, components, scalars).double() * batch.crystal_weight).sum(dim=1)


def _losses(network: nn.Module, batch: FlatBatch, components: list[int], scalars: list[int]) -> Tensor:
    prediction = fast_forward(network, batch)
    return torch.stack(batch_losses(prediction, batch, components=components, scalars=scalars))


@functools.cache
def _compiled(work: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile a function of a network and a batch; networks and batches of one shape share what was compiled."""
    torch._dynamo.config.recompile_limit = _SHAPES
    compiled: Callable[..., Tensor] = torch.compile(work, fullgraph=True, dynamic=False)
    return compiled


class CapturedRun:
    """Training steps and validation of one network on one card.

    Parameters
    ----------
    network
        On the card.
    graphs
        All crystals, on the card.
    optimizer
        Capturable, its rate a tensor; None for validation alone.
    precision
        "bf16-mixed" or "32-true".
    clip
        Largest norm of the gradients.
    places
        Components and scalars of the data set that the network predicts.
    shape, batch_size
        Room for the rows and crystals of a training batch; one that needs more is computed without capture.
    compile_
        Whether to compile; without it the step is captured as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        graphs: MergedGraphs,
        optimizer: torch.optim.Optimizer | None,
        *,
        precision: str,
        clip: float,
        places: tuple[list[int], list[int]],
        shape: Shape,
        batch_size: int,
        compile_: bool = True,
    ) -> None:
        self.graphs = graphs
        self.optimizer = optimizer
        self.clip = clip
        self.components, self.scalars = places
        self.lower = LowerCopy(network, precision)
        self._take_over = defer_statistics(self.lower.copy)
        device = graphs.device
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.validation_sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.shape = shape
        self._rows = torch.full((batch_size,), -1, dtype=torch.int64, device=device)
        self._sums = _compiled(loss_sums) if compile_ else loss_sums
        loss = _compiled(mean_loss) if compile_ else mean_loss
        self._step = Captured(lambda: self._train(loss, self._rows, self.shape))
        self._evaluations: dict[Any, Captured] = {}

    def step(self, rows: Tensor, *, fitting: bool) -> None:
        """Take a step on the crystals `rows` (B,), -1 for none; one that does not fit is done without capture."""
        if fitting and len(rows) == len(self._rows):
            self._rows.copy_(rows)
            self._step()
        else:
            need = self.graphs.sizes(rows[rows >= 0].cpu().numpy()).sum(axis=0)
            self._train(mean_loss, rows, rounded(need))

    def validate(self, rows: Tensor, shape: Shape) -> None:
        """Add the losses of the crystals `rows` (B,), -1 for none, to `validation_sums`; `shape` has room for them."""
        key = (len(rows), shape)
        if key not in self._evaluations:
            static = torch.empty_like(rows)
            self._evaluations[key] = Captured(lambda: self._evaluate(static, shape))
            self._evaluations[key].rows = static  # type: ignore[attr-defined]
        captured = self._evaluations[key]
        captured.rows.copy_(rows)  # type: ignore[attr-defined]
        captured()

    def _train(self, loss_of: Callable[..., Tensor], rows: Tensor, shape: Shape) -> None:
        self.lower.copy.train()
        self.lower.refresh()
        batch = self.graphs.gather(rows, shape)
        loss = loss_of(self.lower.copy, batch, self.components, self.scalars)
        self.lower.backward(loss)
        self._take_over()
        torch.nn.utils.clip_grad_norm_(self.lower.network.parameters(), self.clip)
        if self.optimizer is None:
            raise ValueError("a run without an optimizer cannot be trained")
        self.optimizer.step()
        self.loss_sum += loss.detach().double() * batch.n_crystals

    @torch.no_grad()
    def _evaluate(self, rows: Tensor, shape: Shape) -> None:
        self.lower.copy.eval()
        self.lower.refresh()
        batch = self.graphs.gather(rows, shape)
        self.validation_sums += self._sums(self.lower.copy, batch, self.components, self.scalars)
