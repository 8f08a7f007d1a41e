"""Magpie features of every composition of a data set, computed once and cached beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import cache_folder
from optiscale.errors import UserError
from optiscale.io import read_json, value_hash, write_json

FEATURES, NAMES = "features.npy", "features.json"
_SCHEMA_VERSION = 1
_CHUNK = 500
_WORTH_PROCESSES = 4000  # a process takes seconds to import matminer, a composition 1.4 ms

Track = Callable[[Iterable[int], int], Iterable[int]]


def magpie_features(dataset: OpticalDataset, *, track: Track | None = None) -> np.ndarray:
    """Return the Magpie features of every material (Ward et al., npj Comput. Mater. 2, 16028, 2016).

    132 numbers of the reduced composition: minimum, maximum, range, mean, mean deviation and mode over its atoms of 22
    properties of the elements, as matminer computes them from the tables that it ships with. They are kept in
    ``features/<key>/`` of the data set's folder; the key holds the data hash and matminer's version.

    Parameters
    ----------
    dataset
        The data set.
    track
        Wraps the chunks of compositions while features are computed, with their number, to show progress.

    Returns
    -------
    numpy.ndarray
        (M, 132) float64, in the order of the rows.

    Raises
    ------
    UserError
        If matminer has no features of a composition.
    """
    formulas, place = np.unique(dataset.materials["reduced_formula"].to_numpy(dtype=str), return_inverse=True)
    key = value_hash([_SCHEMA_VERSION, "magpie", version("matminer"), dataset.hash])
    folder = dataset.folder / "features" / key
    if not folder.exists() and not os.access(dataset.folder, os.W_OK):
        folder = cache_folder() / "features" / key  # a data set shared read-only
    if not (folder / FEATURES).exists():
        names, values = _compute([str(formula) for formula in formulas], track)
        _publish(folder, names, values)
    values = np.load(folder / FEATURES, allow_pickle=False)
    if values.shape != (len(formulas), len(read_json(folder / NAMES)["names"])):
        raise UserError(f"{folder / FEATURES}: is of shape {values.shape}; remove {folder} to have it computed again")
    return np.asarray(values[place])


def _compute(formulas: Sequence[str], track: Track | None) -> tuple[list[str], np.ndarray]:
    """Return names and values (n, 132) of the features of n formulas."""
    from joblib import Parallel, delayed

    chunks = [formulas[start : start + _CHUNK] for start in range(0, len(formulas), _CHUNK)]
    processes = min(os.cpu_count() or 1, len(chunks)) if len(formulas) > _WORTH_PROCESSES else 1
    results = Parallel(n_jobs=processes, return_as="generator")(delayed(_featurize)(chunk) for chunk in chunks)
    numbers: Iterable[int] = range(len(chunks))
    parts = [next(results) for _ in (track(numbers, len(chunks)) if track else numbers)]
    values = np.concatenate([values for _, values in parts])
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise UserError(f"{formulas[int(np.argmax(bad))]}: matminer has no Magpie features of this; leave it out")
    return parts[0][0], values


def _featurize(formulas: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return names and values of the features; runs in a process of its own where there are many."""
    from matminer.featurizers.composition import ElementProperty
    from pymatgen.core import Composition

    featurizer = ElementProperty.from_preset("magpie", impute_nan=True)
    values = [featurizer.featurize(Composition(formula)) for formula in formulas]
    return featurizer.feature_labels(), np.asarray(values, dtype=np.float64)


def _publish(folder: Path, names: list[str], values: np.ndarray) -> None:
    """Write names and values as a folder that appears complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building."))
    try:
        np.save(staging / FEATURES, values, allow_pickle=False)
        write_json(staging / NAMES, {"names": names, "matminer": version("matminer")})
        staging.chmod(0o755)
        staging.rename(folder)
    except OSError:
        if not (folder / FEATURES).exists():  # else another program finished the same features first
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
