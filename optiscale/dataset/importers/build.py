"""What every importer is: a sequence of materials that the writer appends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from optiscale.dataset.store import OpticalDataset
from optiscale.dataset.writer import DatasetInfo, DatasetWriter, Material
from optiscale.errors import UserError
from optiscale.io import atomic_save

SKIPPED = "skipped.csv"

#: what to call it (file and id) and the material, or why it is no use
Outcome = tuple[str, "Material | UserError"]
#: wraps an iteration that starts at item `start` of `total`, to show how far it is
Track = Callable[[Iterable[Outcome], int, int], Iterable[Outcome]]


class ImportSource(Protocol):
    """A sequence of `len(source)` materials, with what the manifest says of them."""

    info: DatasetInfo

    def __len__(self) -> int: ...

    def read(self, start: int) -> Iterator[Outcome]:
        """Yield materials from item `start` on, in an order that never changes."""
        ...


@dataclass(frozen=True)
class Imported:
    """A finished import: the data set and what was left out, (item, reason) each."""

    dataset: OpticalDataset
    skipped: list[tuple[str, str]]


def import_source(
    source: ImportSource, folder: Path, *, skip_bad: bool = False, track: Track | None = None
) -> Imported:
    """Write a source into a data set folder; an interrupted import goes on where it stopped.

    Parameters
    ----------
    source
        The materials.
    folder
        Where; must not exist yet.
    skip_bad
        Leave out what is no use, and list it in the manifest and in `skipped.csv`, instead of stopping at it.
    track
        Shows progress.

    Raises
    ------
    UserError
        At the first material that is no use, or if none is left.
    """
    with DatasetWriter(folder, source.info) as writer:
        start = writer.n_seen
        outcomes: Iterable[Outcome] = source.read(start)
        for name, outcome in track(outcomes, start, len(source)) if track else outcomes:
            try:
                if isinstance(outcome, UserError):
                    raise outcome
                writer.add(outcome)
            except UserError as error:
                reason = str(error) if isinstance(outcome, UserError) else f"{name}: {error}"
                if not skip_bad:
                    raise UserError(f"{reason}; --skip-bad leaves it out and goes on") from error
                writer.skip(name, reason)
        dataset = writer.finish()
    skipped = [(one["item"], one["reason"]) for one in dataset.manifest.provenance["skipped"]]
    if skipped:
        table = pd.DataFrame(skipped, columns=["item", "reason"])
        atomic_save(folder / SKIPPED, lambda stream: table.to_csv(stream, index=False))
    return Imported(dataset, skipped)
