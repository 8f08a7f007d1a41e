"""Loaders for a device that holds the whole data set: what travels are row numbers, many batches at a time."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optiscale.datamodule.module import EVALUATION_BATCH, EpochBatches, OpticalDataModule
from optiscale.datamodule.rows import rows_of
from optiscale.dataset.split import Part
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape, exact_room, fits, room


class Pace(NamedTuple):
    """How much a device does between two looks of Lightning, which asks for checkpoints, signs of life and stops.

    Attributes
    ----------
    longest
        Training batches.
    evaluation_batch
        Crystals.
    evaluation_chunk
        Batches.
    """

    longest: int
    evaluation_batch: int
    evaluation_chunk: int


#: Lightning's own work is then below a tenth
ON_CARD = Pace(64, 1024, 2**20)
ON_HOST = Pace(10, EVALUATION_BATCH, 1)
#: where a step takes longer than all that Lightning does around it
ON_HOST_SLOWLY = Pace(1, EVALUATION_BATCH, 1)


class Chunk(NamedTuple):
    """Batches that are trained on or validated one after the other.

    Attributes
    ----------
    rows
        (k, B) int64 rows of the data set, -1 for none.
    fitting
        Whether each batch fits into the room that was made for it.
    n
        Crystals in all.
    """

    rows: Tensor
    fitting: list[bool]
    n: int


class Chunks:
    """An iterable of chunks with a length, as Lightning wants it."""

    def __init__(self, length: int, chunks: Callable[[], Iterator[Chunk]]) -> None:
        self._length = length
        self._chunks = chunks

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks()


class ResidentDataModule(OpticalDataModule):
    """Crystals of a study for one cell, all of them on the device.

    Parameters
    ----------
    pace
        Of the device.
    steps
        Of the whole run, where its length and validations are counted in steps: then the loader goes through all of it
        at once, and a chunk may reach over the end of an epoch.
    batches_between
        Batches after which something is to be done, e.g. the interval of validations in steps: a chunk ends there.
    parts
        As of `OpticalDataModule`.
    """

    def __init__(
        self,
        *args: Any,
        pace: Pace,
        steps: int | None = None,
        batches_between: tuple[int, ...] = (),
        **parts: Any,
    ) -> None:
        super().__init__(*args, **parts)
        self.pace = pace
        self.steps = steps
        self.batches_between = batches_between
        self.resident: MergedGraphs | None = None
        self.room = Shape(0, 0, 0)

    @property
    def rows_a_batch(self) -> int:
        """Length of a padded training batch; the last may be one longer than asked for (see `EpochBatches`)."""
        return self.batch_size + (self.D % self.batch_size == 1)

    @property
    def batches_a_loop(self) -> int:
        """Training batches that the loader goes through: those of an epoch, or of the whole run."""
        return self.steps or self.batches_an_epoch

    @property
    def batches_a_chunk(self) -> int:
        """Number of batches in a chunk (fewer in the last of a loop)."""
        longest = self.pace.longest
        if not self.batches_between:
            return min(self.batches_a_loop, longest)
        whole = math.gcd(*self.batches_between, *(() if self.steps else (self.batches_an_epoch,)))
        return max(size for size in range(1, longest + 1) if whole % size == 0)

    def hold(self, device: torch.device) -> MergedGraphs:
        """Bring the whole data set to a device, once."""
        if self.resident is None or self.resident.device != device:
            self.resident = MergedGraphs.of(self._opened(), device=device, angles=self.angles)
            # of the whole training part, not of the subset: cells of one study share what was compiled
            self.room = room(self.resident, rows_of(self.dataset, self.data)["train"], self.rows_a_batch)
        return self.resident

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        """Bring the row numbers to the device, and wait until they are there.

        Lightning does not wait; where a card reads pageable memory directly, the numbers may by then be others.
        """
        return batch._replace(rows=batch.rows.to(device))

    def train_dataloader(self) -> Any:
        """Shuffled batches of the subset, in chunks."""
        return Chunks(-(-self.batches_a_loop // self.batches_a_chunk), self._training_chunks)

    def _training_chunks(self) -> Iterator[Chunk]:
        graphs = self.hold(self._device())
        epoch, place = self._position()
        done = (epoch * self.batches_an_epoch + place) % self.batches_a_loop
        batches = itertools.islice(self._batches(epoch, place), self.batches_a_loop - done)
        while part := list(itertools.islice(batches, self.batches_a_chunk)):
            fitting = [fits(graphs, rows, self.room) for rows in part]
            rows = torch.from_numpy(np.stack(part))
            yield Chunk(rows, fitting, int((rows >= 0).sum()))

    def _batches(self, epoch: int, place: int) -> Iterator[np.ndarray]:
        """Go through padded batches from a place in an epoch on, without end."""
        train = self.rows["train"]
        while True:
            position = functools.partial(_pair, epoch, place)
            for places in EpochBatches(self.D, self.batch_size, seed=self.seed, position=position):
                yield _padded(train[np.asarray(places)], self.rows_a_batch)
            epoch, place = epoch + 1, 0

    def evaluation_room(self, part: Part) -> Shape:
        """Return the room that every batch of a part fits into."""
        return exact_room(self.hold(self._device()), [rows[rows >= 0] for rows in self._evaluation_batches(part)])

    def _evaluation(self, part: Part) -> Any:
        size, batches = self.pace.evaluation_chunk, self._evaluation_batches(part)
        parts = [torch.from_numpy(np.stack(batches[begin : begin + size])) for begin in range(0, len(batches), size)]
        chunks = [Chunk(rows, [True] * len(rows), int((rows >= 0).sum())) for rows in parts]
        return Chunks(len(chunks), lambda: iter(chunks))

    def _evaluation_batches(self, part: Part) -> list[np.ndarray]:
        rows = self.rows[part]
        size = min(self.pace.evaluation_batch, len(rows))
        return [_padded(rows[begin : begin + size], size) for begin in range(0, len(rows), size)]

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cuda")

    def _opened(self) -> GraphStore:
        if self.graphs is None:
            raise RuntimeError("call setup() before asking for a loader")
        return self.graphs


def _pair(epoch: int, place: int) -> tuple[int, int]:
    return epoch, place


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.full(size - len(rows), -1)]).astype(np.int64)
