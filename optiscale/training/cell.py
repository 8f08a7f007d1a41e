"""One cell of a study: a network of width W, or a baseline, that learns from D materials with one seed."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optiscale.baselines import n_parameters
from optiscale.config import BaselineConfig, MagpieForest, Model, NetworkConfig, Optimizer, Study
from optiscale.dataset import Manifest
from optiscale.errors import UserError
from optiscale.io import file_hash, value_hash
from optiscale.networks import TargetSpec

if TYPE_CHECKING:
    import torch

#: goes up when a change of ours gives other losses for the same study
RESULTS_VERSION = 2


@dataclass(frozen=True, order=True)
class Cell:
    """What distinguishes a run from the others of its study.

    `width` is the hidden width, or the trees of a forest; None takes that of the model.
    """

    model: str
    width: int | None
    D: int
    seed: int
    subset_seed: int

    @property
    def id(self) -> str:
        """Name of the cell's folder."""
        width = "" if self.width is None else f"_W{self.width}"
        return f"{self.model}{width}_D{self.D}_s{self.seed}_t{self.subset_seed}"


def network_config(study: Study, cell: Cell) -> NetworkConfig:
    """Return the network of a cell, with its width."""
    config = study.models[cell.model].network
    if config is None:
        raise UserError(f"models.{cell.model}: a baseline has no network; name a model with a network")
    return config if cell.width is None else config.model_copy(update={"width": cell.width})


def baseline_config(study: Study, cell: Cell) -> BaselineConfig:
    """Return the baseline of a cell, with its number of trees."""
    config = study.models[cell.model].baseline
    if config is None:
        raise UserError(f"models.{cell.model}: a network is no baseline; name a model with a baseline")
    if isinstance(config, MagpieForest) and cell.width is not None:
        return config.model_copy(update={"trees": cell.width})
    return config


def optimizer_config(study: Study, cell: Cell) -> Optimizer:
    """Return the optimizer of a cell's network."""
    optimizer = study.models[cell.model].optimizer
    if optimizer is None:
        raise UserError(f"models.{cell.model}: a baseline has no optimizer; name a model with a network")
    return optimizer


def cell_hash(study: Study, cell: Cell) -> str:
    """Return the config hash: it changes with every field that can change the result, and with no other.

    The device is not part of it: runs of one study may come from several machines; every row says which.
    """
    model = study.models[cell.model]
    common = {
        "version": RESULTS_VERSION,
        "cell": asdict(cell),
        "split": study.data.split.model_dump(mode="json"),
        "stratify": study.data.subset.stratify,
        "targets": [model.components, model.scalars],
    }
    if model.baseline is not None:
        return value_hash({**common, "baseline": baseline_config(study, cell).model_dump(mode="json")})
    network = network_config(study, cell)
    return value_hash(
        {
            **common,
            "own_code": _own_code(network),
            "graph": study.graph.model_dump(mode="json"),
            "network": network.model_dump(mode="json"),
            "optimizer": optimizer_config(study, cell).model_dump(mode="json"),
            "training": model.training.model_dump(mode="json", exclude={"device", "path"}),
        }
    )


def fingerprint(study: Study, cell: Cell, data_hash: str) -> str:
    """Return what a checkpoint must agree on with the run that goes on from it."""
    return f"config {cell_hash(study, cell)}, data {data_hash}"


def _own_code(network: NetworkConfig) -> str:
    """Return the hash of the file that holds a user's own network, or "" for one of ours."""
    if not network.is_own:
        return ""
    try:
        spec = importlib.util.find_spec(network.type.partition(":")[0])
    except (ImportError, ValueError):
        return ""  # building the network will say what is wrong
    return file_hash(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).exists() else ""


def target_spec(model: Model, manifest: Manifest) -> TargetSpec:
    """Return what a model predicts of a data set: everything, unless the study names less.

    Raises
    ------
    UserError
        If the study names a target that the data set does not have.
    """
    names = [scalar.name for scalar in manifest.scalars]
    components = _chosen("components", model.components, list(manifest.components))
    scalars = _chosen("scalars", model.scalars, names)
    return TargetSpec(
        n_omega=manifest.energy.n if components and manifest.energy else 0,
        components=tuple(components),
        scalars=tuple(scalars),
        nonnegative=tuple(scalar.name for scalar in manifest.scalars if scalar.nonnegative),
    )


def _chosen(field: str, wanted: list[str] | None, known: list[str]) -> list[str]:
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            raise UserError(f"models: {field} names {name!r}; the data set has {', '.join(known) or 'none'}")
    return wanted


def places(manifest: Manifest, targets: TargetSpec) -> tuple[list[int], list[int]]:
    """Return where the components and the scalars of the targets stand in the arrays of the data set."""
    names = [scalar.name for scalar in manifest.scalars]
    components = [manifest.components.index(name) for name in targets.components]
    return components, [names.index(name) for name in targets.scalars]


def make_network(study: Study, cell: Cell, targets: TargetSpec) -> torch.nn.Module:
    """Build the network of a cell; seed before calling it."""
    from optiscale.networks import build_network

    return build_network(
        network_config(study, cell), targets, cutoff=study.graph.cutoff, angle_cutoff=study.graph.angle_cutoff
    )


def parameters_of(study: Study, cell: Cell, targets: TargetSpec) -> int:
    """Return N of a cell without allocating its weights."""
    if study.models[cell.model].baseline is not None:
        n_values = targets.n_omega * len(targets.components)
        return n_parameters(baseline_config(study, cell), n_values=n_values, n_scalars=len(targets.scalars))
    import torch

    from optiscale.networks import count_parameters

    with torch.device("meta"):
        return count_parameters(make_network(study, cell, targets))


def learning_rate(study: Study, cell: Cell, targets: TargetSpec) -> float:
    """Return the base learning rate at the width of a cell (see `optiscale.config.study.Optimizer`)."""
    optimizer = optimizer_config(study, cell)
    rate = optimizer.lr
    if optimizer.lr_rule == "inverse_parameters" and cell.width is not None:
        reference = Cell(cell.model, optimizer.reference_width, cell.D, cell.seed, cell.subset_seed)
        rate *= parameters_of(study, reference, targets) / parameters_of(study, cell, targets)
    return min(rate, optimizer.max_lr or math.inf)
