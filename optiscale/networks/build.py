"""From a study file's `network:` section to a torch module."""

from __future__ import annotations

import importlib
import inspect
from typing import Protocol, cast

from torch import nn

from optiscale.config.network import NetworkConfig
from optiscale.errors import UserError
from optiscale.graphs.batch import CrystalBatch
from optiscale.networks import embeddings, messages, optimate, optimetal, pooling  # noqa: F401 - they register names
from optiscale.networks.check import check_config
from optiscale.networks.registry import NETWORKS
from optiscale.networks.targets import Prediction, TargetSpec


class Network(Protocol):
    """What training asks of a network, beside being a torch module."""

    needs_angles: bool

    def __call__(self, batch: CrystalBatch) -> Prediction:
        """Predict the targets of every crystal of `batch`."""


def build_network(config: NetworkConfig, targets: TargetSpec, *, cutoff: float, angle_cutoff: float) -> nn.Module:
    """Build a network with fresh weights from torch's global random state: set the seed first.

    Parameters
    ----------
    config
        Which network. Its `type` may name one's own torch module, ``package.module:Class``. The class is then
        constructed as ``Class(width=..., targets=..., cutoff=..., angle_cutoff=..., **options)``, `width` being None if
        the study gives none. Its ``forward(batch)`` gets a `CrystalBatch` of B crystals and returns a `Prediction`
        (or a tuple like it): `spectrum` (B, targets.n_omega, len(targets.components)) and `scalars`
        (B, len(targets.scalars)), None where the targets have none. A class attribute ``needs_angles = False`` says
        that it does not read angles, which are then not computed; without the attribute they are.
    targets
        What the data set holds.
    cutoff, angle_cutoff
        Longest edge, and longest edge that takes part in an angle, Å.

    Returns
    -------
    torch.nn.Module
        ``network(batch)`` is a `Prediction`; ``network.needs_angles`` is a bool.

    Raises
    ------
    UserError
        If a name is unknown, fields do not go together, or one's own module cannot be found or built.

    Notes
    -----
    Under ``with torch.device("meta")`` nothing is allocated: quick for counting the parameters of large networks.
    """
    check_config(config)
    if config.is_own:
        return _build_own(config, targets, cutoff=cutoff, angle_cutoff=angle_cutoff)
    network = NETWORKS[config.type].from_config(config, targets, cutoff=cutoff, angle_cutoff=angle_cutoff)
    return cast(nn.Module, network)


def count_parameters(network: nn.Module) -> int:
    """Count N, the number of values that training changes."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _build_own(config: NetworkConfig, targets: TargetSpec, *, cutoff: float, angle_cutoff: float) -> nn.Module:
    own = _import_own(config.type)
    arguments = {"width": config.width, "targets": targets, "cutoff": cutoff, "angle_cutoff": angle_cutoff}
    for name in arguments.keys() & config.options.keys():
        raise UserError(f"network.options.{name}: {config.type} gets {name} anyway; remove it from options")
    try:
        inspect.signature(own).bind(**arguments, **config.options)
    except TypeError as error:
        raise UserError(
            f"network.options: {config.type} cannot be called with these: {error}; correct options"
        ) from error
    network = own(**arguments, **config.options)
    if not hasattr(network, "needs_angles"):
        setattr(network, "needs_angles", True)  # noqa: B010 - a torch module declares tensors and modules only
    return network


def _import_own(path: str) -> type[nn.Module]:
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise UserError(f"network.type: {path!r} is no import path; write package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # a module missing inside the user's own is the user's bug and keeps its traceback
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"network.type: no module {error.name!r} for {path!r}; install it or run from the folder that holds it"
        ) from error
    own = getattr(module, class_name, None)
    if not (isinstance(own, type) and issubclass(own, nn.Module)):
        raise UserError(f"network.type: {module_name} has no torch module class {class_name!r}; correct the name")
    return own
