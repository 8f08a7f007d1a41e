"""The LightningDataModule: a split by composition, a nested subset of size D, and its loaders."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset, Sampler

from optiscale.config.study import Data, Graph
from optiscale.datamodule.rows import batches_an_epoch, rows_of, subset_rows
from optiscale.dataset import OpticalDataset
from optiscale.dataset.split import Part
from optiscale.graphs import CrystalBatch, GraphStore

EVALUATION_BATCH = 256


class CrystalRows(Dataset[CrystalBatch]):
    """Rows of a data set; a whole batch is gathered at once from the flat arrays, nothing is collated.

    Parameters
    ----------
    graphs
        The whole graphs.
    rows
        Of the data set.
    angles
        Whether the network reads angles.
    """

    def __init__(self, graphs: GraphStore, rows: np.ndarray, *, angles: bool) -> None:
        self.graphs = graphs
        self.rows = rows
        self.angles = angles

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> CrystalBatch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> CrystalBatch:
        """Gather the crystals at `places`; the DataLoader calls this once a batch."""
        return self.graphs.batch(self.rows[np.asarray(places)], angles=self.angles)


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches; a last batch of one crystal joins the one before, since batch norm needs two.

    Parameters
    ----------
    n, batch_size
        Crystals in all and in a batch.
    seed
        Of the order.
    position
        Tells the epoch that begins or goes on, and how many of its batches are done. The order follows from seed and
        epoch alone, so that a resumed run sees the batches of an undisturbed one.
    """

    def __init__(self, n: int, batch_size: int, *, seed: int, position: Callable[[], tuple[int, int]]) -> None:
        self.n = n
        self.batch_size = batch_size
        self.seed = seed
        self.position = position

    def __len__(self) -> int:
        return batches_an_epoch(self.n, self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, done = self.position()
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n).tolist()
        batches = len(self)
        for place in range(done, batches):
            end = self.n if place == batches - 1 else (place + 1) * self.batch_size
            yield order[place * self.batch_size : end]


def _whole(batch: Any) -> Any:
    """Leave a batch alone: it comes whole from `CrystalRows`."""
    return batch


class OpticalDataModule(pl.LightningDataModule):
    """Crystals of a study for one cell.

    Parameters
    ----------
    dataset
        The cached data set.
    data
        Split and subsets.
    graph
        Cutoffs.
    D
        Number of training materials.
    subset_seed
        Which permutation the subset is a prefix of.
    batch_size
        Training batch.
    seed
        Of the shuffling.
    angles
        Whether the network reads angles.
    """

    def __init__(
        self,
        dataset: OpticalDataset,
        *,
        data: Data,
        graph: Graph,
        D: int,
        subset_seed: int,
        batch_size: int,
        seed: int,
        angles: bool,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.data = data
        self.graph = graph
        self.D = D
        self.subset_seed = subset_seed
        self.batch_size = batch_size
        self.seed = seed
        self.angles = angles
        self.graphs: GraphStore | None = None
        self.rows: dict[Part, np.ndarray] = {}
        self._epochs = itertools.count()

    def prepare_data(self) -> None:
        """Build the graphs of the data set if they are not cached; keeps no state."""
        GraphStore.open(self.dataset, cutoff=self.graph.cutoff, angle_cutoff=self.graph.angle_cutoff)

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002  every stage reads the same arrays
        """Open the graphs and draw the rows of every part."""
        self.graphs = GraphStore.open(self.dataset, cutoff=self.graph.cutoff, angle_cutoff=self.graph.angle_cutoff)
        parts = rows_of(self.dataset, self.data)
        train = subset_rows(
            self.dataset,
            parts["train"],
            D=self.D,
            subset_seed=self.subset_seed,
            stratify=self.data.subset.stratify,
        )
        self.rows = {**parts, "train": train}

    @property
    def batches_an_epoch(self) -> int:
        """Training batches an epoch."""
        return batches_an_epoch(self.D, self.batch_size)

    def train_dataloader(self) -> DataLoader[CrystalBatch]:
        """Shuffled batches of the subset."""
        batches = EpochBatches(self.D, self.batch_size, seed=self.seed, position=self._position)
        return DataLoader(self._crystals("train"), batch_sampler=batches, collate_fn=_whole)

    def val_dataloader(self) -> DataLoader[CrystalBatch]:
        """Every validation material once."""
        return self._evaluation("validation")

    def test_dataloader(self) -> DataLoader[CrystalBatch]:
        """Every test material once."""
        return self._evaluation("test")

    def _position(self) -> tuple[int, int]:
        """Count from the trainer's steps, or the loops over the loader where there is no trainer."""
        if self.trainer is None:
            return next(self._epochs), 0
        return divmod(self.trainer.global_step, self.batches_an_epoch)

    def _evaluation(self, part: Part) -> DataLoader[CrystalBatch]:
        return DataLoader(self._crystals(part), batch_size=EVALUATION_BATCH, collate_fn=_whole)

    def _crystals(self, part: Part) -> CrystalRows:
        if self.graphs is None:
            raise RuntimeError("call setup() before asking for a loader")
        return CrystalRows(self.graphs, self.rows[part], angles=self.angles)
