"""A baseline in place of a network: fitted in one go, judged by the same loss on the same parts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from optiscale.baselines import MagpieBaseline, magpie_features
from optiscale.config import Study
from optiscale.datamodule import rows_of, subset_rows
from optiscale.dataset import OpticalDataset
from optiscale.dataset.split import Part
from optiscale.networks import TargetSpec
from optiscale.training.cell import Cell, baseline_config, parameters_of, places, target_spec
from optiscale.training.record import cpu_name, peak_memory_mb, reset_peak_memory

_CHUNK = 1024  # materials judged at once: their spectra are float64


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A baseline that has learnt from the subset of a cell.

    Attributes
    ----------
    model
        The estimator.
    dataset, targets
        What it learnt from, and what it predicts of it.
    rows
        Of each part; "train" is the subset of size D.
    """

    model: MagpieBaseline
    dataset: OpticalDataset
    targets: TargetSpec
    rows: dict[Part, np.ndarray]
    features: np.ndarray

    def truth(self, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return spectra (B, n_omega C) and scalars (B, S) of materials, as far as they are targets."""
        return true_targets(self.dataset, self.targets, rows)

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return predicted spectra (B, n_omega C) and scalars (B, S)."""
        return self.model.predict(self.features[rows])

    def losses(self, part: Part) -> tuple[float, float]:
        """Return the mean absolute error of the spectra and that summed over the scalars; NaN without such a target.

        They are exact means over the part, as those of a network.
        """
        rows = self.rows[part]
        sums = np.zeros(2)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            for place, (true, said) in enumerate(zip(self.truth(chunk), self.predict(chunk), strict=True)):
                if true is not None and said is not None:
                    error = np.abs(said - true.astype(np.float64))
                    sums[place] += error.mean(axis=1).sum() if place == 0 else error.sum()
        eps, scalars = (sums / len(rows)).tolist()
        return eps if self.targets.components else math.nan, scalars if self.targets.scalars else math.nan


def true_targets(
    dataset: OpticalDataset, targets: TargetSpec, rows: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return spectra (B, n_omega C) and scalars (B, S) of rows of a data set; None for what is no target."""
    components, scalars = places(dataset.manifest, targets)
    spectrum = np.asarray(dataset.spectrum[rows])[:, :, components].reshape(len(rows), -1) if components else None
    return spectrum, np.asarray(dataset.scalars[rows])[:, scalars] if scalars else None


def fit_baseline(study: Study, cell: Cell, dataset: OpticalDataset, *, threads: int | None = None) -> FittedBaseline:
    """Fit the baseline of a cell to its subset of the training part, on some threads, or as many as torch may use."""
    targets = target_spec(study.models[cell.model], dataset.manifest)
    parts = rows_of(dataset, study.data)
    train = subset_rows(
        dataset, parts["train"], D=cell.D, subset_seed=cell.subset_seed, stratify=study.data.subset.stratify
    )
    features = magpie_features(dataset)
    model = MagpieBaseline(baseline_config(study, cell), seed=cell.seed, threads=threads or torch_threads())
    nonnegative = np.isin(targets.scalars, targets.nonnegative)
    model.fit(features[train], *true_targets(dataset, targets, train), nonnegative=nonnegative)
    return FittedBaseline(model, dataset, targets, {**parts, "train": train}, features)


def torch_threads() -> int:
    """Return how many threads torch takes where nobody says it; a study that says so needs no torch."""
    import torch

    return torch.get_num_threads()


def baseline_result(study: Study, cell: Cell, dataset: OpticalDataset, *, threads: int | None = None) -> dict[str, Any]:
    """Fit the baseline of a cell and return the part of its record that says how it went."""
    magpie_features(dataset)  # computed once for all cells: no part of the time of this one
    threads = threads or torch_threads()
    reset_peak_memory(None)
    began = time.perf_counter()
    fitted = fit_baseline(study, cell, dataset, threads=threads)
    eps, scalars = fitted.losses("validation")
    return {
        "N": parameters_of(study, cell, fitted.targets),
        "message_passing": "",
        "val_loss": float(np.nansum([eps, scalars])),
        "val_eps_loss": eps,
        "val_drude_loss": scalars,
        "train_loss": float(np.nansum(fitted.losses("train"))),
        "wall_s": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(None),
        "device": cpu_name(threads),
    }
