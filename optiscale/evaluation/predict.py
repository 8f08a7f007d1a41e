"""Predictions of a trained network on a part of its data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from optiscale.config import RESOLVED, Study, load_study
from optiscale.dataset import OpticalDataset, open_source
from optiscale.dataset.split import Part
from optiscale.errors import UserError
from optiscale.io import read_json
from optiscale.networks import TargetSpec
from optiscale.training import Cell, cell_hash, make_network, target_spec
from optiscale.training.assemble import cell_data
from optiscale.training.record import RECORD
from optiscale.training.run import WEIGHTS


@dataclass(frozen=True)
class Predictions:
    """What a network says of B materials, beside the truth.

    Attributes
    ----------
    record
        The row of the run.
    part
        "validation" or "test".
    materials
        (B rows) of the data set.
    energies
        (n_omega,) eV.
    targets
        What is predicted.
    spectrum_true, spectrum_pred
        (B, n_omega, C), or None.
    scalars_true, scalars_pred
        (B, S), or None.
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

    def scalar(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return (B,) true and predicted values of a scalar target, or None if it is not predicted."""
        if name not in self.targets.scalars or self.scalars_true is None or self.scalars_pred is None:
            return None
        column = self.targets.scalars.index(name)
        return self.scalars_true[:, column], self.scalars_pred[:, column]


def predict(run: Path, *, part: Part) -> Predictions:
    """Load the best weights of a run and predict a part of its data set.

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
    network = make_network(study, cell, targets)
    network.load_state_dict(load_file(run / WEIGHTS))
    return _predict(study, cell, dataset, network.eval(), targets, part, record)


def _read_run(run: Path) -> tuple[Study, Cell, dict[str, object]]:
    if not (run / RECORD).exists():
        raise UserError(f"{run}: no run here ({RECORD} is missing); name a folder such as results/demo/cells/<cell>")
    if not (run / WEIGHTS).exists():
        raise UserError(f"{run}: the run kept no weights; set output.weights to best and run it again with --fresh")
    record = read_json(run / RECORD)
    study = load_study(run.parent.parent / RESOLVED)
    cell = Cell(record["model"], record["width"], record["D"], record["seed"], record["subset_seed"])
    if cell.model not in study.models or cell_hash(study, cell) != record["config_hash"]:
        raise UserError(f"{run}: made with another config than {run.parent.parent / RESOLVED}; run the study again")
    return study, cell, record


@torch.no_grad()
def _predict(
    study: Study,
    cell: Cell,
    dataset: OpticalDataset,
    network: torch.nn.Module,
    targets: TargetSpec,
    part: Part,
    record: dict[str, object],
) -> Predictions:
    data = cell_data(study, cell, dataset, network)
    data.setup()
    rows = data.rows[part]
    if len(rows) == 0:
        raise UserError(f"{dataset.folder}: the {part} part is empty; evaluate another part")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    loader = data.test_dataloader() if part == "test" else data.val_dataloader()
    outputs = [network(batch.to(device)) for batch in loader]
    spectra = [output.spectrum.float().cpu() for output in outputs if output.spectrum is not None]
    scalars = [output.scalars.float().cpu() for output in outputs if output.scalars is not None]
    components = [dataset.manifest.components.index(name) for name in targets.components]
    names = [scalar.name for scalar in dataset.manifest.scalars]
    return Predictions(
        record=record,
        part=part,
        materials=dataset.materials.iloc[rows].reset_index(drop=True),
        energies=dataset.energies,
        targets=targets,
        spectrum_true=np.asarray(dataset.spectrum[rows])[:, :, components] if spectra else None,
        spectrum_pred=torch.cat(spectra).numpy() if spectra else None,
        scalars_true=np.asarray(dataset.scalars[rows])[:, [names.index(name) for name in targets.scalars]]
        if scalars
        else None,
        scalars_pred=torch.cat(scalars).numpy() if scalars else None,
    )
