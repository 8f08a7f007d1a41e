"""Loaders for a card that holds the whole data set: what travels are row numbers, many batches at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optiscale.datamodule.module import EpochBatches, OpticalDataModule
from optiscale.datamodule.rows import rows_of
from optiscale.dataset.split import Part
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import Shape, exact_room, fits, room

_LONGEST_CHUNK = 64  # batches that one training step of Lightning takes at most: its own work is then below a tenth
_EVALUATION_BATCH = 1024


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
    """Crystals of a study for one cell, all of them on the card.

    Parameters
    ----------
    batches_between
        Batches after which something is to be done, e.g. the interval of validations in steps: a chunk ends there.
    parts
        As of `OpticalDataModule`.
    """

    def __init__(self, *args: Any, batches_between: tuple[int, ...] = (), **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.batches_between = batches_between
        self.resident: MergedGraphs | None = None
        self.room = Shape(0, 0, 0)

    @property
    def rows_a_batch(self) -> int:
        """Length of a padded training batch; the last may be one longer than asked for (see `EpochBatches`)."""
        return self.batch_size + (self.D % self.batch_size == 1)

    @property
    def batches_a_chunk(self) -> int:
        """Number of batches in a chunk (fewer in the last of an epoch)."""
        if self.batches_between:
            return math.gcd(self.batches_an_epoch, *self.batches_between)
        return min(self.batches_an_epoch, _LONGEST_CHUNK)

    def hold(self, device: torch.device) -> MergedGraphs:
        """Bring the whole data set to a device, once."""
        if self.resident is None or self.resident.device != device:
            self.resident = MergedGraphs.of(self._opened(), device=device, angles=self.angles)
            # of the whole training part, not of the subset: cells of one study share what was compiled
            self.room = room(self.resident, rows_of(self.dataset, self.data)["train"], self.rows_a_batch)
        return self.resident

    def train_dataloader(self) -> Any:
        """Shuffled batches of the subset, in chunks."""
        length = -(-self.batches_an_epoch // self.batches_a_chunk)
        return Chunks(length, self._training_chunks)

    def _training_chunks(self) -> Iterator[Chunk]:
        graphs = self.hold(self._device())
        batches = EpochBatches(self.D, self.batch_size, seed=self.seed, position=self._position)
        train, size = self.rows["train"], self.batches_a_chunk
        padded = [_padded(train[np.asarray(places)], self.rows_a_batch) for places in batches]
        for begin in range(0, len(padded), size):
            part = padded[begin : begin + size]
            fitting = [fits(graphs, rows, self.room) for rows in part]
            rows = torch.from_numpy(np.stack(part))
            yield Chunk(rows, fitting, int((rows >= 0).sum()))

    def evaluation_room(self, part: Part) -> Shape:
        """Return the room that every batch of a part fits into."""
        return exact_room(self.hold(self._device()), [rows[rows >= 0] for rows in self._evaluation_batches(part)])

    def _evaluation(self, part: Part) -> Any:
        rows = np.stack(self._evaluation_batches(part))
        chunk = Chunk(torch.from_numpy(rows), [True] * len(rows), len(self.rows[part]))
        return Chunks(1, lambda: iter([chunk]))

    def _evaluation_batches(self, part: Part) -> list[np.ndarray]:
        rows = self.rows[part]
        size = min(_EVALUATION_BATCH, len(rows))
        return [_padded(rows[begin : begin + size], size) for begin in range(0, len(rows), size)]

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cuda")

    def _opened(self) -> GraphStore:
        if self.graphs is None:
            raise RuntimeError("call setup() before asking for a loader")
        return self.graphs


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.full(size - len(rows), -1)]).astype(np.int64)
