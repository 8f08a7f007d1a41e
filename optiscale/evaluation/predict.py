"""Predictions of a trained network, or of a baseline, on a part of its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from optiscale.config import RESOLVED, Study, load_study
from optiscale.datamodule import rows_of
from optiscale.dataset import OpticalDataset, open_source
from optiscale.dataset.split import Part
from optiscale.errors import UserError
from optiscale.io import read_json
from optiscale.networks import TargetSpec
from optiscale.training import Cell, cell_hash, make_network, target_spec
from optiscale.training.baseline import fit_baseline, true_targets
from optiscale.training.record import RECORD, WEIGHTS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Predictions:
    """What a network or a baseline says of B materials, beside the truth.

    Attributes
    ----------
    record
        The row of the run.
    part
        "validation" or "test".
    materials
        (B rows) of the data set.
    energies
        (n_omega,) eV; empty in a data set without spectra.
    targets
        What is predicted.
    spectrum_true, spectrum_pred
        (B, n_omega, C), or None.
    scalars_true, scalars_pred
        (B, S), or None.
    units
        Of the scalar targets.
    """

    record: dict[str, object]
    part: Part
    materials: pd.DataFrame
    energies: np.ndarray
    targets: TargetSpec
    spectrum_true: np.ndarray | None
    spectrum_pred: np.ndarray | None
    scalars_true: np.ndarray | None
    scalars_pred: np.ndarray | None
    units: Mapping[str, str] = field(default_factory=dict)

    def scalar(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return (B,) true and predicted values of a scalar target, or None if it is not predicted."""
        if name not in self.targets.scalars or self.scalars_true is None or self.scalars_pred is None:
            return None
        column = self.targets.scalars.index(name)
        return self.scalars_true[:, column], self.scalars_pred[:, column]


def predict(run: Path, *, part: Part) -> Predictions:
    """Predict a part of a run's data set with its best weights; a baseline, which keeps none, is fitted again.

    Parameters
    ----------
    run
        Folder of a run, `results/<study>/cells/<cell>`.
    part
        "validation" or "test".

    Raises
    ------
    UserError
        If the run kept no weights, or its data set changed since.
    """
    run = run.resolve()
    study, cell, record = _read_run(run)
    dataset = open_source(study.data.source)
    if dataset.hash != record["data_hash"]:
        raise UserError(
            f"{run}: trained on data set {record['data_hash']}, {study.data.source} is now {dataset.hash}; "
            "run the study again, or point data.source at the old data set"
        )
    targets = target_spec(study.models[cell.model], dataset.manifest)
    rows = rows_of(dataset, study.data)[part]
    if len(rows) == 0:
        raise UserError(f"{dataset.folder}: the {part} part is empty; evaluate another part")
    if study.models[cell.model].baseline is not None:
        said = fit_baseline(study, cell, dataset, threads=study.sweep.threads).predict(rows)
    else:
        from safetensors.torch import load_file

        network = make_network(study, cell, targets)
        network.load_state_dict(load_file(run / WEIGHTS))
        said = _say(study, cell, dataset, network.eval(), part)
    true = true_targets(dataset, targets, rows)
    shape = (len(rows), targets.n_omega, len(targets.components))
    return Predictions(
        record=record,
        part=part,
        materials=dataset.materials.iloc[rows].reset_index(drop=True),
        energies=dataset.energies,
        targets=targets,
        spectrum_true=None if said[0] is None or true[0] is None else true[0].reshape(shape),
        spectrum_pred=None if said[0] is None else said[0].reshape(shape),
        scalars_true=None if said[1] is None else true[1],
        scalars_pred=said[1],
        units={scalar.name: scalar.unit for scalar in dataset.manifest.scalars},
    )


def can_predict(run: Path) -> bool:
    """Whether a run kept its weights, or is a baseline of a study that asks for them."""
    if (run / WEIGHTS).exists():
        return True
    study = load_study(run.parent.parent / RESOLVED)
    model = study.models.get(read_json(run / RECORD)["model"])
    return study.output.weights == "best" and model is not None and model.baseline is not None


def _read_run(run: Path) -> tuple[Study, Cell, dict[str, object]]:
    if not (run / RECORD).exists():
        raise UserError(f"{run}: no run here ({RECORD} is missing); name a folder such as results/demo/cells/<cell>")
    record = read_json(run / RECORD)
    study = load_study(run.parent.parent / RESOLVED)
    cell = Cell(record["model"], record["width"], record["D"], record["seed"], record["subset_seed"])
    if cell.model not in study.models or cell_hash(study, cell) != record["config_hash"]:
        raise UserError(f"{run}: made with another config than {run.parent.parent / RESOLVED}; run the study again")
    if study.models[cell.model].baseline is None and not (run / WEIGHTS).exists():
        raise UserError(f"{run}: the run kept no weights; set output.weights to best and run it again with --fresh")
    return study, cell, record


def _say(
    study: Study, cell: Cell, dataset: OpticalDataset, network: torch.nn.Module, part: Part
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the network's spectra (B, n_omega, C) and scalars (B, S) of a part."""
    import torch

    from optiscale.training.assemble import cell_data  # torch and Lightning: of no use to the page of a baseline

    data = cell_data(study, cell, dataset, network)
    data.setup()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    loader = data.test_dataloader() if part == "test" else data.val_dataloader()
    with torch.no_grad():
        outputs = [network(batch.to(device)) for batch in loader]
    spectra = [output.spectrum.float().cpu() for output in outputs if output.spectrum is not None]
    scalars = [output.scalars.float().cpu() for output in outputs if output.scalars is not None]
    return torch.cat(spectra).numpy() if spectra else None, torch.cat(scalars).numpy() if scalars else None
