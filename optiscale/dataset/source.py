"""From the name in a study file to an open data set."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from optiscale.dataset.schema import MANIFEST, SCHEMA_VERSION
from optiscale.dataset.store import OpticalDataset
from optiscale.errors import UserError
from optiscale.io import file_hash, value_hash

EMBEDDED = "dft-shelf"


def cache_folder() -> Path:
    """Return the folder of built data sets: $OPTISCALE_CACHE, or the user's cache folder."""
    return Path(os.environ.get("OPTISCALE_CACHE") or platformdirs.user_cache_dir("optiscale"))


def open_source(source: str) -> OpticalDataset:
    """Open the data set that a study names.

    Parameters
    ----------
    source
        "dft-shelf", the embedded default, which is built in the cache folder the first time; or the path of a data
        set folder.

    Raises
    ------
    UserError
        If there is no such data set.
    """
    if source == EMBEDDED:
        return _embedded()
    if not (Path(source) / MANIFEST).exists():
        raise UserError(
            f"data.source: no data set at {source!r} ({MANIFEST} is missing there); give the folder of a built data "
            f"set, or {EMBEDDED!r} for the embedded one"
        )
    return OpticalDataset(source)


def _embedded() -> OpticalDataset:
    from optiscale.dataset.shelf import build_shelf, shelf_file

    folder = cache_folder() / f"{EMBEDDED}-{value_hash([SCHEMA_VERSION, file_hash(shelf_file())])[:12]}"
    if (folder / MANIFEST).exists():
        return OpticalDataset(folder)
    try:
        return build_shelf(folder)
    except UserError:
        if (folder / MANIFEST).exists():  # another program finished the same data set first
            return OpticalDataset(folder)
        raise
