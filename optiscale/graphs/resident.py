"""All graphs of a data set as flat tensors on one device, and batches gathered from them by index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from optiscale.graphs.flat import FlatBatch, Links, Rows, pointers
from optiscale.graphs.store import GraphStore


class Shape(NamedTuple):
    """Rows that a batch has room for: atoms, edges and angles, all merged (`optiscale.graphs.quotient`)."""

    atoms: int
    edges: int
    angles: int


class _Kind(NamedTuple):
    """Rows of all crystals: atoms, edges or angles."""

    offset: Tensor
    weight: Tensor
    value: Tensor
    source: Tensor | None = None
    target: Tensor | None = None
    by_source: Tensor | None = None


class _Place(NamedTuple):
    """Where the rows of a batch come from."""

    flat: Tensor
    crystal: Tensor
    ptr: Tensor
    valid: Tensor


class ResidentGraphs:
    """Merged graphs and targets of a data set.

    Parameters
    ----------
    store
        The cached graphs.
    device
        Where the tensors live. On the CPU spectra stay memory-mapped.
    angles
        Whether angles are wanted.
    """

    def __init__(self, store: GraphStore, *, device: torch.device, angles: bool) -> None:
        self.device = device
        self.angles = angles
        self.index_type = torch.int64 if device.type == "cpu" else torch.int32
        self.offsets = {what: np.asarray(getattr(store, f"merged_{what}_offset")) for what in ("atom", "edge", "angle")}
        self.atom = _Kind(self._offset("atom"), self._weight(store, "atom"), self._index(store.merged_atom_number))
        self.edge = self._links(store, "edge", ("source", "target", "length"))
        self.angle = self._links(store, "angle", ("first", "second", "cos")) if angles else None
        dataset = store.dataset
        self.spectrum = torch.from_numpy(dataset.spectrum).to(device) if dataset.manifest.components else None
        self.scalars = torch.from_numpy(np.array(dataset.scalars)).to(device)

    def _offset(self, what: str) -> Tensor:
        return torch.from_numpy(self.offsets[what].astype(np.int64)).to(self.device)

    def _index(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(array).astype(np.int32)).to(self.device, self.index_type)

    def _weight(self, store: GraphStore, what: str) -> Tensor:
        return torch.from_numpy(getattr(store, f"merged_{what}_weight").astype(np.float32)).to(self.device)

    def _links(self, store: GraphStore, what: str, names: tuple[str, str, str]) -> _Kind:
        source, target, value = (np.asarray(getattr(store, f"merged_{what}_{name}")) for name in names)
        offset = self._offset(what)
        rows = self._index(source)
        return _Kind(
            offset=offset,
            weight=self._weight(store, what),
            value=torch.from_numpy(value.astype(np.float32)).to(self.device),
            source=rows,
            target=self._index(target),
            by_source=_order_by_source(rows, offset).to(self.index_type),
        )

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
        present = rows >= 0
        known = rows.clamp(min=0)
        atom = self._place(self.atom, known, present, shape.atoms)
        edge = self._place(self.edge, known, present, shape.edges)
        edge_length, edges, bonds = self._gather_links(self.edge, edge, atom)
        if self.angle is not None:
            angle = self._place(self.angle, known, present, shape.angles)
            angle_cos, angles, corners = self._gather_links(self.angle, angle, edge)
        else:
            angle_cos, angles, corners = edge_length[:0], edges, bonds
        return FlatBatch(
            atomic_number=torch.where(atom.valid, self.atom.value[atom.flat], 1),
            edge_length=torch.where(edge.valid, edge_length, 1.0),
            angle_cos=angle_cos,
            atoms=self._rows(self.atom, atom),
            edges=edges,
            angles=angles,
            bonds=bonds,
            corners=corners,
            crystal_weight=present.to(torch.float32),
            n_crystals=present.sum().to(torch.float32),
            spectrum=self.spectrum[known] if self.spectrum is not None else None,
            scalars=self.scalars[known],
        )

    def _place(self, kind: _Kind, rows: Tensor, present: Tensor, size: int) -> _Place:
        start = kind.offset[rows]
        count = (kind.offset[rows + 1] - start) * present
        ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        position = torch.arange(size, device=self.device)
        crystal = torch.searchsorted(ptr[1:], position, right=True).clamp(max=len(rows) - 1)
        valid = position < ptr[-1]
        flat = torch.where(valid, start[crystal] + position - ptr[crystal], 0)
        return _Place(flat, crystal.to(self.index_type), ptr.to(self.index_type), valid)

    def _rows(self, kind: _Kind, place: _Place) -> Rows:
        weight = kind.weight[place.flat] * place.valid
        return Rows(place.crystal, place.ptr, weight, weight.sum())

    def _gather_links(self, kind: _Kind, place: _Place, ends: _Place) -> tuple[Tensor, Rows, Links]:
        """Values, rows and links; `ends` are the rows that the links connect."""
        assert kind.source is not None and kind.target is not None and kind.by_source is not None
        n = len(ends.flat)
        first = ends.ptr[place.crystal]
        source = torch.where(place.valid, kind.source[place.flat] + first, 0)
        target = torch.where(place.valid, kind.target[place.flat] + first, n)
        position = torch.arange(len(place.flat), device=self.device, dtype=self.index_type)
        by_source = torch.where(place.valid, kind.by_source[place.flat] + place.ptr[place.crystal], position)
        sources = torch.where(place.valid, source[by_source], n)
        links = Links(source, target.clamp(max=n - 1), pointers(target, n), by_source, pointers(sources, n))
        return kind.value[place.flat], self._rows(kind, place), links


def _order_by_source(source: Tensor, offset: Tensor) -> Tensor:
    """Order the links of each crystal by their source; links are counted within their crystal."""
    crystal = torch.repeat_interleave(torch.arange(len(offset) - 1, device=offset.device), offset.diff())
    widest = int(source.max()) + 1 if len(source) else 1
    order = torch.argsort(crystal * widest + source, stable=True)
    return order - offset[:-1][crystal]
