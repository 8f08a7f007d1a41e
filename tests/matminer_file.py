"""A file as matminer publishes its dielectric_constant set, of made-up crystals, in place of the real one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matminer.datasets import dataset_retrieval
from matminer.datasets.utils import _load_dataset_dict
from matminer.utils.io import store_dataframe_as_json
from pymatgen.io.ase import AseAtomsAdaptor
from small import small_crystals

from optiscale.io import file_hash

NAME = "dielectric_constant"
FILE = f"{NAME}.json.gz"


def dielectric_frame(n: int = 40) -> pd.DataFrame:
    """Refractive indices that follow from composition and volume, in the columns of the set."""
    crystals = small_crystals(n)
    index = [1.2 + atoms.numbers.mean() / 20 + 10 / atoms.get_volume() for atoms in crystals]
    return pd.DataFrame(
        {
            "material_id": [f"mp-{100 + row}" for row in range(n)],
            "formula": [atoms.get_chemical_formula() for atoms in crystals],
            "nsites": [len(atoms) for atoms in crystals],
            "structure": [AseAtomsAdaptor.get_structure(atoms) for atoms in crystals],
            "n": index,
            "band_gap": 0.5,
            "e_electronic": [(np.eye(3) * value**2).tolist() for value in index],
            "poly_electronic": np.square(index),
            "poly_total": np.square(index) + 3,
        }
    )


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame | None = None, **metadata: Any) -> Path:
    """Write the file where the loader looks, with matminer's own writer, and tell matminer that its hash is right."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    store_dataframe_as_json(dielectric_frame() if frame is None else frame, str(path), compression="gz", pbar=False)
    monkeypatch.setenv("MATMINER_DATA", str(folder))
    describe(monkeypatch, hash=file_hash(path), **metadata)
    return path


def describe(monkeypatch: pytest.MonkeyPatch, **metadata: Any) -> None:
    """Change what matminer knows of the set."""
    known = copy.deepcopy(_load_dataset_dict())
    known[NAME] |= metadata
    monkeypatch.setattr(dataset_retrieval, "_dataset_dict", known)
