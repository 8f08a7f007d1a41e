"""Losses and tables published with arXiv:2602.05702, as data; see README.md in this folder."""

from __future__ import annotations

from importlib import resources

import pandas as pd

from optiscale.laws.losses import read_losses

_FOLDER = resources.files(__name__)


def load_published() -> pd.DataFrame:
    """Load the published means over three seeds: study, model, D, width, N, n_seeds, val_loss_mean, val_loss_std."""
    with resources.as_file(_FOLDER / "published_losses.csv") as path:
        return read_losses(path)


def load_published_tables() -> pd.DataFrame:
    """Load every number published for the laws fitted to them: source, study, model, law, quantity, printed (text)."""
    with resources.as_file(_FOLDER / "published_tables.csv") as path:
        return pd.read_csv(path, dtype=str)
