"""All graphs of a data set as flat tensors on one device, and batches gathered from them by index."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optiscale.graphs.flat import FlatBatch
from optiscale.graphs.store import GraphStore


class Shape(NamedTuple):
    """Rows that a batch has room for: atoms, edges and angles, all merged (`optiscale.graphs.quotient`)."""

    atoms: int
    edges: int
    angles: int


_SPREAD = 4.0  # standard deviations of room above the mean size of a batch
_SPECTRA_SHARE = 0.5
_LAST: dict[tuple[str, str, bool], MergedGraphs] = {}
"""What the cells of a study that run one after the other share."""


class _Kind(NamedTuple):
    """Rows of all crystals: atoms, edges or angles."""

    offset: Tensor
    weight: Tensor
    value: Tensor


class _Links(NamedTuple):
    """Edges or angles of all crystals; `into` and `out_of` say for each row they connect where its links begin."""

    offset: Tensor
    weight: Tensor
    value: Tensor
    source: Tensor
    target: Tensor
    by_source: Tensor
    into: Tensor
    out_of: Tensor


class MergedGraphs:
    """Merged graphs and targets of a data set.

    Parameters
    ----------
    store
        The cached graphs.
    device
        Where the tensors live. On the CPU spectra stay memory-mapped.
    angles
        Whether angles are wanted.
    share
        Of the free memory of a card that spectra may take; larger ones stay in page-locked memory of the host, where
        the card reads those of a batch.
    """

    def __init__(self, store: GraphStore, *, device: torch.device, angles: bool, share: float = _SPECTRA_SHARE) -> None:
        self.device = device
        self.angles = angles
        self.offsets = {what: np.asarray(getattr(store, f"merged_{what}_offset")) for what in ("atom", "edge", "angle")}
        self.atom = _Kind(self._offset("atom"), self._weight(store, "atom"), self._index(store.merged_atom_number))
        self.edge = self._links(store, "edge", ("source", "target", "length"), self.atom.offset)
        self.angle = self._links(store, "angle", ("first", "second", "cos"), self.edge.offset) if angles else None
        offsets = [
            self.atom.offset,
            self.edge.offset,
            self.angle.offset if self.angle is not None else self.edge.offset,
        ]
        self.table = torch.stack(offsets, dim=1)  # (M + 1, 3)
        kinds = (self.atom, self.edge, self.angle or self.edge)
        #: (M, 3) rows of every crystal before merging; for the gather on a card
        self.totals = torch.stack([_total(kind) for kind in kinds], dim=1) if device.type == "cuda" else None
        dataset = store.dataset
        self.spectrum = _placed(_as_tensor(dataset.spectrum), device, share) if dataset.manifest.components else None
        self.scalars = torch.from_numpy(np.array(dataset.scalars)).to(device)

    @classmethod
    def of(cls, store: GraphStore, *, device: torch.device, angles: bool) -> MergedGraphs:
        """Return the merged graphs of a store, the last one again if it is the same."""
        key = (str(store.folder), str(device), angles)
        if key not in _LAST:
            _LAST.clear()
            _LAST[key] = cls(store, device=device, angles=angles)
        return _LAST[key]

    def batch(self, rows: np.ndarray) -> FlatBatch:
        """Gather crystals `rows` (B,) into one batch without padding, on the device."""
        shape = Shape(*(int(n) for n in self.sizes(rows).sum(axis=0)))
        return self.gather(torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(self.device), shape)

    def _offset(self, what: str) -> Tensor:
        return torch.from_numpy(self.offsets[what].astype(np.int64)).to(self.device)

    def _index(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(array).astype(np.int32)).to(self.device)

    def _weight(self, store: GraphStore, what: str) -> Tensor:
        return torch.from_numpy(getattr(store, f"merged_{what}_weight").astype(np.float32)).to(self.device)

    def _links(self, store: GraphStore, what: str, names: tuple[str, str, str], ends: Tensor) -> _Links:
        source, target, value = (np.asarray(getattr(store, f"merged_{what}_{name}")) for name in names)
        offset = self._offset(what)
        sources, targets = self._index(source), self._index(target)
        by_source, into, out_of = self._orders(sources, targets, offset, ends)
        return _Links(
            offset=offset,
            weight=self._weight(store, what),
            value=torch.from_numpy(value.astype(np.float32)).to(self.device),
            source=sources,
            target=targets,
            by_source=by_source,
            into=into,
            out_of=out_of,
        )

    def _orders(self, *links: Tensor) -> Sequence[Tensor]:
        """Order the links of each crystal by source; say where the links into and out of each row begin.

        Links and rows are counted within their crystal; of source, target, offset and ends the last two (M + 1,) are
        the first of each crystal.
        """
        if self.device.type == "cpu":
            from optiscale.graphs import host

            return host.orders(*links)
        return _orders(*links)

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Atoms, edges and angles (…, 3) of crystals `rows` (…)."""
        counts = [self.offsets[what][rows + 1] - self.offsets[what][rows] for what in ("atom", "edge", "angle")]
        if not self.angles:
            counts[2] = np.zeros_like(counts[2])
        return np.stack(counts, axis=-1)

    def gather(self, rows: Tensor, shape: Shape) -> FlatBatch:
        """Gather crystals into one batch of a given shape; nothing here waits for the device.

        Parameters
        ----------
        rows
            (B,) int64 rows of the data set on the device; -1 leaves a place empty.
        shape
            Room, at least what the crystals need.
        """
        if self.device.type == "cuda":
            from optiscale.graphs import cuda

            return cuda.gather(self, rows, shape)
        from optiscale.graphs import host

        return host.gather(self, rows, shape)


def _total(kind: _Kind | _Links) -> Tensor:
    """Sum the weights of each crystal's rows: (M,) float32, exact."""
    upto = torch.cat([kind.weight.new_zeros(1, dtype=torch.float64), kind.weight.double().cumsum(0)])
    return upto[kind.offset].diff().to(torch.float32)


def _as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor over a memory-mapped array; it is only read, which torch cannot be told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def _placed(spectra: Tensor, device: torch.device, share: float) -> Tensor:
    """Bring spectra where a card can read them; on the CPU they stay as they are."""
    if device.type == "cpu":
        return spectra
    pinned = spectra.nbytes > share * torch.cuda.mem_get_info(device)[0]
    where: dict[str, Any] = {"pin_memory": True} if pinned else {"device": device}
    return torch.empty(spectra.shape, dtype=spectra.dtype, **where).copy_(spectra)


def _orders(source: Tensor, target: Tensor, offset: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n_links = offset.diff()
    row_of_crystal = torch.repeat_interleave(ends[:-1], n_links)
    begin = torch.repeat_interleave(offset[:-1], ends.diff())
    n_rows = len(begin)
    sources = source + row_of_crystal
    by_source = torch.sort(sources, stable=True).indices
    into, out_of = (
        torch.cumsum(count, 0) - count - begin
        for count in (torch.bincount(rows, minlength=n_rows) for rows in (target + row_of_crystal, sources))
    )
    by_source = by_source - torch.repeat_interleave(offset[:-1], n_links)
    return by_source.to(torch.int32), into.to(torch.int32), out_of.to(torch.int32)


def room(graphs: MergedGraphs, rows: np.ndarray, batch_size: int) -> Shape:
    """Return the shape that nearly every random batch of `batch_size` of the crystals `rows` fits into."""
    sizes = graphs.sizes(rows).astype(float)
    wanted = batch_size * sizes.mean(axis=0) + _SPREAD * np.sqrt(batch_size) * sizes.std(axis=0)
    most = np.sort(sizes, axis=0)[-batch_size:].sum(axis=0)
    return rounded(np.minimum(wanted, most))


def exact_room(graphs: MergedGraphs, batches: Sequence[np.ndarray]) -> Shape:
    """Return the smallest shape that each of these batches fits into."""
    return rounded(np.max([graphs.sizes(rows).sum(axis=0) for rows in batches], axis=0))


def rounded(sizes: np.ndarray) -> Shape:
    """Return the shape with a little more room than `sizes` (3,)."""
    # a multiple of 64 rows: matrix products are quickest so
    return Shape(*(int(-(-size // 64) * 64) if size > 0 else 0 for size in sizes))


def fits(graphs: MergedGraphs, rows: np.ndarray, shape: Shape) -> bool:
    """Whether a batch of the crystals `rows` (-1 for none) fits into a shape."""
    return bool((graphs.sizes(rows[rows >= 0]).sum(axis=0) <= np.array(shape)).all())
