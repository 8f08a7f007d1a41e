"""All checks of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from optiscale.dataset.check.findings import Check, check_files
from optiscale.dataset.check.structures import CloseAtoms, Duplicates, check_split
from optiscale.dataset.check.targets import TargetChecks
from optiscale.dataset.store import OpticalDataset, damage

#: wraps rows as they are done, with their number and what is done, to show progress
Track = Callable[[Iterable[int], int, str], Iterable[int]]


def check_dataset(dataset: OpticalDataset, *, track: Track | None = None) -> list[Check]:
    """Check files, targets and crystals; nothing is held but a chunk of rows and what is found.

    Parameters
    ----------
    dataset
        Any: what does not apply (spectra, a split) is skipped and says so.
    track
        Shows progress.
    """

    def work(rows: Iterable[int], total: int, what: str) -> None:
        for _ in track(rows, total, what) if track else rows:
            pass

    damaged: list[str] = []
    n_files = len(dataset.manifest.files)
    work(_files(dataset, damaged), n_files, "checksums")
    files = check_files("checksums", "every file has the SHA-256 of the manifest", damaged, checked=n_files)
    if files.findings:
        return [files]  # the rest would judge what is not the data
    targets, close, duplicates = TargetChecks(dataset), CloseAtoms(dataset), Duplicates(dataset)
    work(targets.chunks(), len(dataset), "targets")
    work(close.rows(), len(dataset), "distances")
    work(duplicates.rows(), len(duplicates), "duplicates")
    return [files, *targets.checks(), close.check(), check_split(dataset), duplicates.check()]


def _files(dataset: OpticalDataset, damaged: list[str]) -> Iterator[int]:
    """Verify the files; yield each as it is done."""
    for number, entry in enumerate(dataset.manifest.files.values()):
        line = damage(dataset.folder / entry.file, size=entry.size, sha256=entry.sha256)
        damaged.extend([line] if line else [])
        yield number
