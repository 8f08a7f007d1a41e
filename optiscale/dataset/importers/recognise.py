"""Which published layout a path has."""

from __future__ import annotations

from pathlib import Path

from optiscale.dataset.importers.build import ImportSource
from optiscale.dataset.importers.computed_entries import ComputedEntries
from optiscale.dataset.importers.published_hdf5 import PARTS, PublishedFiles
from optiscale.errors import UserError

HDF5 = (".h5", ".hdf5")
RAW_FOLDER = "database_nsite_*"
WANTED = (
    "wanted: a folder with train.h5, val.h5 and test.h5 (or with dataset/), one .h5 file, folders "
    "database_nsite_<n>_part_<k> of JSON files, or --structures for files of your own"
)


def recognise(path: Path, *, name: str, skip_bad: bool = False) -> ImportSource:
    """Open the published files at a path.

    Parameters
    ----------
    path
        One HDF5 file, a folder with `{train,val,test}.h5`, its parent `dataset/`'s parent, a folder of
        ComputedStructureEntry files, or a parent of such folders.
    name
        Of the data set.
    skip_bad
        Count an unreadable HDF5 file as one bad item, instead of refusing it.

    Raises
    ------
    UserError
        If nothing there is known, or a part of the published files is missing.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; {WANTED}")
    if path.is_file():
        if path.suffix not in HDF5:
            raise UserError(f"{path}: not a layout that is known; {WANTED}")
        return PublishedFiles([path], name=name, skip_bad=skip_bad)
    for folder in (path, path / "dataset"):
        files = [folder / f"{part}.h5" for part in PARTS]
        present = [file for file in files if file.exists()]
        if present and len(present) < len(files):
            missing = next(file for file in files if file not in present)
            raise UserError(f"{missing}: missing beside {present[0].name}; fetch it, or import one .h5 file alone")
        if present:
            return PublishedFiles(files, name=name, skip_bad=skip_bad)
    entries = json_files(path)
    if not entries:
        raise UserError(f"{path}: nothing to import here; {WANTED}")
    return ComputedEntries(entries, name=name)


def json_files(path: Path) -> list[Path]:
    """JSON files of the raw folders below a folder, or of the folder itself if there are none."""
    folders = [folder for folder in path.rglob(RAW_FOLDER) if folder.is_dir()] or [path]
    return sorted(file for folder in folders for file in [*folder.glob("*.json"), *folder.glob("*.json.gz")])
